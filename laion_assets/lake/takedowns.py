"""Entering a removal request. What it means for rows is decided where rows are made: dedup, download and filter."""

from datetime import UTC, datetime

import polars as pl

from laion_assets.lake.build import lake_build
from laion_assets.lake.commits import Commit, Provenance
from laion_assets.lake.lake import Lake
from laion_assets.lake.stages import STAGES

_TABLE = "takedowns"


def request_takedown(lake: Lake, kind: str, value: str, reason: str | None) -> Commit:
    """Add a request to ``takedowns``; the same one again changes nothing but its reason.

    Args:
        lake: the lake.
        kind: url, domain, sha256 or pair_id.
        value: what to remove, in the form that kind has.
        reason: why, for people.

    Raises:
        PartitionBusy: another process is entering a request of the same kind; try again.
        ValidationFailed: there is no such kind.
    """
    provenance = Provenance(run_id="", code_version=STAGES[_TABLE].code_version, settings_digest="")
    with lake_build(lake, _TABLE, {"kind": kind}, provenance) as build:
        build.resumable("requests")  # held from reading to writing, so that no request is written over
        build.own_earlier_rows("own_rows")
        earlier = build.con.execute("SELECT * FROM own_rows WHERE value <> ?", [value]).pl()
        request = pl.DataFrame(
            {
                "requested_at": [datetime.now(UTC)],
                "value": [value],
                "reason": [reason],
                "rows_removed": [None],
                "tainted_checkpoints": [None],
                "completed_at": [None],
            }
        )
        names = build.schema.names
        build.add(earlier.select(names))
        build.add(request.select(names))
        build.rows_in = earlier.height + 1
        return build.publish()
