"""Entering removal requests and withdrawing them. What they mean for rows is decided where rows are made."""

from collections.abc import Collection
from datetime import UTC, datetime

import polars as pl

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Commit, Provenance
from laion_assets.delta.lake import Lake
from laion_assets.tables.catalogue import TABLES

_TABLE = "takedowns"


def request_takedown(lake: Lake, kind: str, value: str, reason: str | None) -> Commit:
    """Add a request to ``takedowns``; the same one again changes nothing but its reason and when it was made.

    Args:
        lake: the lake.
        kind: url, domain, sha256 or pair_id.
        value: what to remove, in the form that kind has.
        reason: why, for people.

    Raises:
        PartitionBusy: another process is entering a request of the same kind; try again.
        ValidationFailed: there is no such kind.
    """
    return _enter(lake, kind, [value], reason)


def withdraw_takedowns(lake: Lake, kind: str, values: Collection[str], reason: str | None) -> Commit:
    """Withdraw requests of one kind: a row of ``takedowns`` for each, beside the request, which stays to be read.

    Args:
        lake: the lake.
        kind: of the requests.
        values: as they stand in the requests.
        reason: why, for people.

    Raises:
        PartitionBusy: another process is withdrawing a request; try again.
    """
    return _enter(lake, "withdrawal", [f"{kind} {value}" for value in values], reason)


def _enter(lake: Lake, kind: str, values: Collection[str], reason: str | None) -> Commit:
    provenance = Provenance(run_id="", code_version=TABLES[_TABLE].code_version, settings_digest="")
    with lake_build(lake, _TABLE, {"kind": kind}, provenance) as build:
        build.resumable("requests")  # held from reading to writing, so that no request is written over
        build.own_earlier_rows("own_rows")
        earlier = build.con.execute("SELECT * FROM own_rows WHERE value NOT IN (SELECT unnest(?))", [[*values]]).pl()
        entered = pl.DataFrame({"value": [*values]}).with_columns(
            requested_at=pl.lit(datetime.now(UTC)),
            reason=pl.lit(reason),
            rows_removed=pl.lit(None),
            tainted_checkpoints=pl.lit(None),
            completed_at=pl.lit(None),
        )
        names = build.schema.names
        build.add(earlier.select(names))
        build.add(entered.select(names))
        build.rows_in = earlier.height + entered.height
        return build.publish()
