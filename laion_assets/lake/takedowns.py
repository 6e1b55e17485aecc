"""Entering removal requests, withdrawing them, and writing down what became of them.

What they mean for rows is decided where rows are made.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from laion_assets.common.duck import number
from laion_assets.consent.removals import in_force
from laion_assets.delta.build import PartitionBuild, lake_build
from laion_assets.delta.commits import Commit, Provenance
from laion_assets.delta.errors import PartitionChanged
from laion_assets.delta.lake import Lake
from laion_assets.tables.catalogue import TABLES

_TABLE = "takedowns"
_ATTEMPTS = 10


def request_takedowns(lake: Lake, kind: str, reasons: Mapping[str, str | None]) -> Commit:
    """Add requests of one kind to ``takedowns``; one that stands keeps all but its reason, where another is given.

    One that was withdrawn counts from now on, and what was written down of it before is forgotten.

    Args:
        lake: the lake.
        kind: url, domain, sha256 or pair_id.
        reasons: by what is to be removed, in the form that its kind has, why; for people.

    Raises:
        PartitionBusy: another process is entering a request of the same kind; try again.
        ValidationFailed: there is no such kind.
    """
    return _enter(lake, kind, reasons)


def request_takedown(lake: Lake, kind: str, value: str, reason: str | None) -> Commit:
    """One request; see :func:`request_takedowns`."""
    return request_takedowns(lake, kind, {value: reason})


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
    return _enter(lake, "withdrawal", {f"{kind} {value}": reason for value in values})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one request."""

    value: str
    """As it stands in the request."""
    requested_at: datetime
    """As it stands there: what is said of a request counts no more once it was entered again."""
    rows_removed: Mapping[str, int] | None
    """By table; None: nobody can say any more."""
    tainted_checkpoints: Sequence[str]
    """``RECIPE epoch N SHA256`` of those that learned from it: whose weights they are."""
    completed_at: datetime | None
    """When nothing was left; None: something is."""


def settle_takedowns(lake: Lake, kind: str, outcomes: Sequence[Outcome]) -> Commit | None:
    """Write down what became of requests of one kind. What is there already, and requests that changed since, stay.

    Args:
        lake: the lake.
        kind: of the requests.
        outcomes: by request.

    Returns:
        None where there is nothing to write.

    Raises:
        PartitionBusy: another process is entering a request of the same kind; look again later.
    """
    names = ["value", "requested_at", *_SETTLED]
    schema = pa.schema([TABLES[_TABLE].schema.field(name) for name in names])
    told = [{name: getattr(outcome, name) for name in names} for outcome in outcomes]
    for row in told:
        row["rows_removed"] = None if row["rows_removed"] is None else [*row["rows_removed"].items()]
    with _entering(lake, kind) as build:
        build.con.register("found", pa.Table.from_pylist(told, schema=schema))
        both = (
            "FROM own_rows AS own LEFT JOIN found ON own.value = found.value AND own.requested_at = found.requested_at"
        )
        news = " OR ".join(f"own.{name} IS DISTINCT FROM ({now})" for name, now in _SETTLED.items())
        if not number(build.con, f"SELECT count(*) {both} WHERE {news}"):
            return None
        settled = ", ".join(f"{now} AS {name}" for name, now in _SETTLED.items())
        rows = build.con.execute(f"SELECT own.* REPLACE ({settled}) {both}").pl()
        build.add(rows.select(build.schema.names))
        build.rows_in = rows.height
        return build.publish(only_over_read=True)


def counts_of(written: Any) -> dict[str, int] | None:
    """``rows_removed`` of a row, whether its reader gives maps as such or as lists of entries."""
    if written is None or isinstance(written, dict):
        return written
    return {entry["key"]: entry["value"] for entry in written}


_SETTLED = {
    "rows_removed": "coalesce(own.rows_removed, found.rows_removed)",
    "tainted_checkpoints": """CASE
        WHEN own.tainted_checkpoints IS NULL OR found.tainted_checkpoints IS NULL
        THEN coalesce(own.tainted_checkpoints, found.tainted_checkpoints)
        ELSE list_concat(own.tainted_checkpoints, list_filter(
            found.tainted_checkpoints, lambda one: NOT list_contains(own.tainted_checkpoints, one)
        )) END""",
    "completed_at": "coalesce(own.completed_at, found.completed_at)",
}
"""What is written down of requests, of what is there (``own``) and what was ``found``: checkpoints can still come."""


def _enter(lake: Lake, kind: str, reasons: Mapping[str, str | None]) -> Commit:
    for _ in range(_ATTEMPTS - 1):
        with suppress(PartitionChanged):  # on another machine, whose locks are others
            return _enter_once(lake, kind, reasons)
    return _enter_once(lake, kind, reasons)


def _enter_once(lake: Lake, kind: str, reasons: Mapping[str, str | None]) -> Commit:
    with _entering(lake, kind) as build:
        own = build.con.execute("SELECT * FROM own_rows").pl()
        again = own["value"].is_in([*reasons])
        earlier = own.filter(~again)
        told = pl.DataFrame([*reasons.items()], schema={"value": pl.String, "reason": pl.String}, orient="row")
        stands = own.filter(again & own["value"].is_in(_standing(lake, kind)))
        kept = stands.join(told.rename({"reason": "new"}), on="value").with_columns(reason=pl.coalesce("new", "reason"))
        entered = told.join(stands, on="value", how="anti").with_columns(
            requested_at=pl.lit(datetime.now(UTC)),
            rows_removed=pl.lit(None),
            tainted_checkpoints=pl.lit(None),
            completed_at=pl.lit(None),
        )
        names = build.schema.names
        for rows in (earlier, kept, entered):
            build.add(rows.select(names))
        build.rows_in = earlier.height + kept.height + entered.height
        return build.publish(only_over_read=True)


def _standing(lake: Lake, kind: str) -> list[str]:
    """The requests of a kind that nobody withdrew."""
    if not lake.exists(_TABLE):
        return []
    return [str(value) for _, of, value in in_force(lake.scan(_TABLE).collect()) if of == kind]


@contextmanager
def _entering(lake: Lake, kind: str) -> Iterator[PartitionBuild]:
    """The requests of one kind being written anew, with those that are there in the view ``own_rows``."""
    provenance = Provenance(run_id="", code_version=TABLES[_TABLE].code_version, settings_digest="")
    with lake_build(lake, _TABLE, {"kind": kind}, provenance) as build:
        build.resumable("requests")  # held from reading to writing, so that others of this machine wait
        build.own_earlier_rows("own_rows")
        yield build
