"""Entering imports: which files make up a crawl of its own, and where it stands among the others."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import ordered
from laion_assets.delta.periods import AFTER, ORDINAL
from laion_assets.tables.catalogue import TABLES

IMPORTS = "imports"
_SNAPSHOT = re.compile(r"CC-MAIN-\d{4}")


@dataclass(frozen=True, kw_only=True)
class ImportedFile:
    """One file of an import; the columns of ``imports`` say what its fields mean."""

    uri: str
    kind: str
    format: str
    rows: int
    row_groups: int | None = None
    bytes: int
    sha256: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    stamp: str = ""


@dataclass(frozen=True)
class Registered:
    """What entering an import came to."""

    after: str
    """The crawl after which it stands; empty where there was none."""
    files_before: int | None
    """How many files it had before; None where it was not there."""
    is_changed: bool
    """Whether it has other files now, or the same with other contents or columns."""


def ensure_import_name(lake: Lake, name: str) -> None:
    """Make sure that a name can be an import's.

    Raises:
        LakeError: it cannot.
    """
    ordered(TABLES[IMPORTS], {"crawl": name})
    if _SNAPSHOT.match(name):
        raise LakeError(f"{name} is called like a snapshot of Common Crawl: choose another name for the import")
    if name not in lake.order.entered and name in lake.periods:
        raise LakeError(f"the lake has a crawl {name} already, which is no import: choose another name")


def register_import(lake: Lake, name: str, files: Sequence[ImportedFile]) -> Registered:
    """Enter an import, or the files that it has now. The same files again change nothing.

    It stands after all crawls that are in the lake when it is entered first, and keeps its place.

    Args:
        lake: the lake.
        name: what the crawl is called.
        files: its files, in their order.

    Raises:
        LakeError: the name cannot be an import's, or no row is in any file.
        PartitionBusy: another process is entering the same import; try again.
    """
    ensure_import_name(lake, name)
    if not any(file.rows for file in files):
        raise LakeError(f"the import {name} would have no row: none of its {len(files)} files holds any")
    earlier = lake.commit(IMPORTS, {"crawl": name})
    if earlier is not None:
        after, ordinal = earlier.externals.get(AFTER, ""), earlier.counts.get(ORDINAL, 0)
    else:
        after, ordinal = lake.order.next(lake.periods)
    provenance = Provenance(
        run_id="", code_version=TABLES[IMPORTS].code_version, settings_digest="", externals={AFTER: after}
    )
    with lake_build(lake, IMPORTS, {"crawl": name}, provenance) as build:
        build.resumable("entering")  # held, so that nothing is written over
        rows = _rows(files)
        build.own_earlier_rows("own_rows")
        before = build.con.execute("FROM own_rows ORDER BY file_number").pl()
        same = earlier is not None and before.select(rows.columns).drop("stamp").equals(rows.drop("stamp"))
        if same and before["stamp"].equals(rows["stamp"]):
            return Registered(after, before.height, is_changed=False)
        build.add(rows.with_columns(registered_at=pl.lit(datetime.now(UTC))))
        build.rows_in = rows.height
        build.counts[ORDINAL] = ordinal
        build.counts["rows"] = sum(file.rows for file in files)
        build.publish()
    return Registered(after, None if earlier is None else before.height, is_changed=not same)


def columns_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What the columns of a file are taken for, by a row of ``imports``."""
    return dict(json.loads(row["mapping"]))


def _rows(files: Sequence[ImportedFile]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "file_number": number, "uri": file.uri, "kind": file.kind, "format": file.format, "rows": file.rows,
                "row_groups": file.row_groups, "bytes": file.bytes, "sha256": file.sha256,
                "mapping": json.dumps(dict(file.mapping)), "left_out": list(file.left_out), "stamp": file.stamp,
            }
            for number, file in enumerate(files)
        ],
        schema={
            "file_number": pl.Int32, "uri": pl.String, "kind": pl.String, "format": pl.String, "rows": pl.Int64,
            "row_groups": pl.Int32, "bytes": pl.Int64, "sha256": pl.String, "mapping": pl.String,
            "left_out": pl.List(pl.String), "stamp": pl.String,
        },
    )  # fmt: skip
