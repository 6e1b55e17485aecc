"""How a table is declared: columns with types and meanings, key, partitions, what it is built from.

One declaration gives the Delta schema, the validation before every commit, the content digest, Dagster's column
metadata, its edges, staleness and the table reference. The declarations themselves are given to a lake when it is
opened.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias

import pyarrow as pa

from laion_assets.delta.commits import Commit

LastCommit: TypeAlias = Callable[[str, Mapping[str, str | int]], Commit | None]
"""Gives the last commit of a partition of a table; None where it was never built."""


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """That a column holds numbers from 0 on, as many as the lake was made with: rows are spread over them."""

    count: str
    """What the lake calls how many there are; fixed when it is made."""
    of: str
    """The column whose remainder it is, where a table has that."""


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """Files beside the tables that a column names, by their names in the lake."""

    folder: str
    """The folder below ``files`` that they are published in."""
    sha256: str | None = None
    """The column that has the SHA-256 of the file, where there is one."""
    member: str | None = None
    """Where rows name members of an archive: the column that has the member's key."""
    member_sha256: str | None = None
    """The column that has the SHA-256 of what the member was made from."""


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, meaning, and what every row of it must satisfy."""

    name: str
    type: pa.DataType
    description: str
    _: KW_ONLY
    nullable: bool = False
    accepted: tuple[str, ...] = ()
    digested: bool = True
    """Whether the column counts as content. Where bytes lie and when they came does not: nothing built on the
    partition changes with it. Vectors do not either: the similarity beside them speaks for them."""
    file: NamedFile | None = None
    """What it names, where that is a file beside the tables: it stays while a row names it."""
    added: bool = False
    """Whether lakes of earlier versions have the table without it. It is null there, and counts as content only in
    partitions in which some row has a value: those that were built before are what they were."""
    is_period: bool = False
    """Whether its values are periods, one after the other in the order that ``Lake.order`` knows: that of their names,
    but for those that people enter, which stand where they were entered. Tables that are partitioned by it grow period
    by period, and may be built on what earlier periods left."""
    is_digest: bool = False
    """Whether its numbers are made of what something holds, and tell it from everything else."""
    numbered: Numbered | None = None
    """How its numbers come about, if it spreads rows over a fixed number of partitions."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """One table that goes into another, and of which periods. See ``flow`` for the partitions this comes to."""

    table: str
    periods: Literal["same", "earlier", "all"] = "same"
    judged: bool = True
    """Whether what was built on it is stale once it has other content; False where an input outside of tables says
    which of its changes count. The commit records what was read all the same."""


Refusal: TypeAlias = Callable[[LastCommit, Mapping[str, str | int], str], str | None]
"""Why nobody must build on a partition, as the end of a sentence that begins with it; None: nothing speaks against it.

Called with what finds commits, the partition, and the content digest of its rows."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One Delta table of the lake."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    """Sort order of the rows inside a partition's files; empty: the order in which they were staged."""

    model: bool = False
    """Whether a SQL model's query fills it: then its own tests take the place of the checks of staged rows."""
    refusal: Refusal | None = None
    """What may speak against building on its partitions."""
    pins_sources: bool = False
    """Whether what it was made from stays readable at the versions that were read, so that it can be made again."""

    code_version: str = ""
    """Raise it when the rows would come out differently: every partition built before becomes stale."""
    reads: tuple[Read, ...] = ()
    """What it is built from."""
    group: str = ""
    """Where the graph shows it."""
    remake: str = ""
    """What makes a partition again, for people: "`build {month}` makes it again"; ``{month}`` is the partition's value
    of that column, or its name in capitals where all of the table is meant."""
    remake_whole: str = ""
    """The same for all of the table; empty: the same words."""
    optional: bool = False
    """Whether a lake is complete without it: a partition that was never built, and that nobody wants, is neither an
    input nor missed."""
    entered: str = ""
    """What its rows are, in words, where people enter them. No build makes them again: the table is there from the
    first day, and its seals keep copies. Empty: steps build it."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with every column's meaning as the ``comment`` Delta readers show."""
        return pa.schema(
            [pa.field(c.name, c.type, c.nullable, metadata={"comment": c.description.encode()}) for c in self.columns]
        )

    @property
    def staged_schema(self) -> pa.Schema:
        """The schema of staged rows: all columns but those that the partition fixes."""
        return pa.schema([pa.field(c.name, c.type) for c in self.columns if c.name not in self.partition_by])

    @property
    def bounded(self) -> tuple[str, ...]:
        """The columns of which the log keeps, for each file, the least and the largest value.

        Log entries are kept for good, and nothing that somebody may ask to remove may stand in them: numbers and
        times, and texts out of a fixed vocabulary. Never other texts, addresses or digests; not the partition's
        columns, which every file has anyway. Delta allows neither truth values nor nested ones.
        """
        free = [c for c in self.columns if c.name not in self.partition_by and not c.is_digest]
        return tuple(c.name for c in free if c.accepted or _is_a_number(c.type))

    @property
    def configuration(self) -> dict[str, str]:
        """The properties of the Delta table."""
        bounded = {"delta.dataSkippingStatsColumns": ",".join(self.bounded)}
        return {
            # Without this the log entries, and the lineage in them, would be deleted after 30 days.
            "delta.enableExpiredLogCleanup": "false",
            **(bounded if self.bounded else {"delta.dataSkippingNumIndexedCols": "0"}),
        }

    def column(self, name: str) -> Column:
        """The declaration of the column called ``name``."""
        return next(c for c in self.columns if c.name == name)

    def read(self, table: str, periods: str | None = None) -> Read:
        """The declared read of ``table``: of ``periods`` where it is read in several ways, the first otherwise."""
        return next(r for r in self.reads if r.table == table and periods in (None, r.periods))


def _is_a_number(type_: pa.DataType) -> bool:
    return any(is_such(type_) for is_such in (pa.types.is_integer, pa.types.is_floating, pa.types.is_temporal))
