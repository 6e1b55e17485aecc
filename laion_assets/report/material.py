"""What sections are made from: a session over the lake, and the rows that were picked to be looked at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeAlias

import duckdb

from laion_assets.common.duck import records
from laion_assets.consent.removals import RemovalMatcher
from laion_assets.report.blocks import Block, Card, Note
from laion_assets.report.samples import FailedUrl, PairSamples
from laion_assets.tables.catalogue import TABLES

Row: TypeAlias = dict[str, Any]
Shows: TypeAlias = Callable[["Material"], Sequence[Block]]
"""What shows one subject of a lake."""

BUILD_MODELS = "laion models run"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A SQL model that selects pairs for a release."""

    name: str
    description: str
    disabled: str | None = None


@dataclass(frozen=True, kw_only=True)
class Material:
    """A session over one lake, with samples."""

    con: duckdb.DuckDBPyConnection
    removals: RemovalMatcher
    selections: Sequence[Selection] = ()
    pairs: PairSamples = field(default_factory=PairSamples)
    failures: Mapping[str, Sequence[FailedUrl]] = field(default_factory=dict)
    clusters: Sequence[Card] = ()

    def rows(self, query: str) -> list[Row]:
        """The rows of a query, as dictionaries."""
        return records(self.con.execute(query))

    def has(self, *names: str) -> bool:
        """Whether all these tables and models are there and hold rows."""
        return all(has_rows(self.con, name) for name in names)

    def lack(self, *names: str) -> Note | None:
        """What to say where one of these tables and models holds nothing; None where all hold something."""
        missing = next((name for name in names if not has_rows(self.con, name)), None)
        if missing is None:
            return None
        if missing in TABLES:
            return Note(
                text=f"Nothing to show yet: the table {missing} is empty. It is filled by", command="laion build"
            )
        if self.was_built(missing):
            return Note(text=f"Nothing to show: the SQL model {missing} was built, and holds no rows.")
        return Note(
            text=f"Nothing to show yet: the SQL model {missing} was not built. Do so with", command=BUILD_MODELS
        )

    def was_built(self, model: str) -> bool:
        """Whether a SQL model was written to the lake, with rows or without."""
        if not has_rows(self.con, "commits"):
            return False
        return bool(self.rows(f"SELECT 1 FROM commits WHERE table_name = '{model}' LIMIT 1"))


def needing(*names: str) -> Callable[[Shows], Shows]:
    """A section that says what is missing, and shows nothing else, where one of these holds no rows."""

    def decorate(section: Shows) -> Shows:
        @wraps(section)
        def shown(lake: Material) -> Sequence[Block]:
            lack = lake.lack(*names)
            return section(lake) if lack is None else [lack]

        return shown

    return decorate


def has_rows(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether a table or view of this name is there and holds a row."""
    known = con.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_name = ? AND table_schema = 'main'", [name]
    )
    return known.fetchone() is not None and con.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None
