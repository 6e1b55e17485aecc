"""What a removal request has removed, what remains of it and until when: a document that can be held against a lake.

It holds no clock but the lake's own, and no address: made again of the same lake it is the same, to its digest.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from laion_assets.common.digests import json_digest
from laion_assets.consent.changes import as_kept, merged
from laion_assets.consent.removals import Removals
from laion_assets.delta.engine import open_engine
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.orchestration.automation.maintenance import Survey
from laion_assets.orchestration.planning.completion import Look, Request
from laion_assets.settings import Settings
from laion_assets.sql.removed import AS_CRAWLED, Found, found_at, holding, release_selections

FORMAT: Final = "laion-removal-receipt/1"
DIGEST: Final = "sha256"


def receipt(lake: Lake, settings: Settings, request: Request, survey: Survey) -> dict[str, Any]:
    """The receipt of a request that stands.

    Args:
        lake: the lake.
        settings: of it.
        request: what was asked for.
        survey: which old versions stay readable, and for whom.

    Returns:
        What JSON can hold, with a digest: see :func:`receipt_digest`.
    """
    look, models = Look(lake, settings), settings.models
    before = found_at(lake, models, request.removals, look.versions_at(request.requested_at))
    now = found_at(lake, models, request.removals, {})
    wanted = merged(request.removals, before.things) if before is not None else request.removals
    rows = {} if now is None else {name: count for name, count in now.rows.items() if name != AS_CRAWLED}
    days = settings.retention.days
    replaced = _in_files(lake, survey.plan.replaced, wanted)
    told: dict[str, Any] = {
        "format": FORMAT,
        "request": _named(request.removals),
        "requested_at": _time(request.requested_at),
        "completed_at": _time(request.completed_at),
        "removed": {
            "rows": request.rows_removed,
            "bytes of pictures": None if before is None else before.picture_bytes - (now.picture_bytes if now else 0),
        },
        "remains": {
            "rows": rows,
            "rows as crawled": {} if now is None else {AS_CRAWLED: now.rows.get(AS_CRAWLED, 0)},
            "replaced versions": replaced,
            "replaced versions stay until": _until(request, days) if replaced else None,
            "versions for which time is up": _in_files(
                lake, survey.plan.doomed.filter(pl.col("work").is_null()), wanted
            ),
            "pinned versions": _in_files(lake, survey.plan.held, wanted),
            "pinned by": sorted({pin.reader for pin in survey.plan.pins}),
            "tars": _tars(lake, before, now),
            "training sets": dict(look.training_sets(request)),
            "releases": dict(holding(lake, models, request.removals, release_selections(lake, models))),
            "checkpoints": [*look.checkpoints(request)],
        },
    }
    return {**told, DIGEST: receipt_digest(told)}


def receipt_digest(told: Mapping[str, Any]) -> str:
    """The SHA-256 of a receipt without its digest, as JSON in ASCII with sorted keys, a blank after comma and colon."""
    return json_digest({name: value for name, value in told.items() if name != DIGEST}, sort_keys=True)


def _named(removals: Removals) -> dict[str, str]:
    """What was asked for, as the removals feed has it: of an address the digest."""
    [(kind, value)] = as_kept(removals).frame.rows()
    return {str(kind): str(value)}


def _until(request: Request, days: float) -> str | None:
    """When the last version is given up that was replaced before the request was done with."""
    return None if request.completed_at is None else _time(request.completed_at + timedelta(days=days))


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _in_files(lake: Lake, files: pl.DataFrame, removals: Removals) -> dict[str, dict[str, int]]:
    """By table, the files in which rows are found, these rows, and the bytes of the files."""
    found: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory(prefix="laion-receipt-") as spill, open_engine(Path(spill), lake.storage) as con:
        known = removals.register(con)
        for (table,), of in files.partition_by("area", as_dict=True).items():
            columns = {*lake.tables[table].schema.names} if table in lake.tables else set()
            by = {name: name if name in columns else None for name in ("url", "final_url", "pair_id", "sha256")}
            if not columns or not any(by.values()):
                continue
            addresses = {lake.storage.address(name): name for name in of["name"]}
            names = ", ".join(name for name in by.values() if name)
            told = ", ".join(map(literal, addresses))
            rows = f"(SELECT filename, {names} FROM read_parquet([{told}], hive_partitioning = false, filename = true))"
            removed = f"FROM ({known.annotate(rows, **by)}) WHERE removal IS NOT NULL"
            hit = con.execute(f"SELECT filename, count(*) {removed} GROUP BY 1").fetchall()
            if hit:
                found[table] = {
                    "rows": sum(count for _, count in hit),
                    "files": len(hit),
                    "bytes": _bytes(lake, [addresses[name] for name, _ in hit]),
                }
    return found


def _tars(lake: Lake, before: Found | None, now: Found | None) -> dict[str, int] | None:
    """The tars that still hold the pictures, because rows of other pictures name them; None where nobody can say."""
    if before is None:
        return None
    there = [name for name in {*before.tars, *(now.tars if now else ())} if lake.storage.exists(name)]
    return {"files": len(there), "bytes": _bytes(lake, there)}


def _bytes(lake: Lake, names: Sequence[str]) -> int:
    wanted, folders = {*names}, {name.rpartition("/")[0] for name in names}
    sizes: Iterator[int] = (
        file.bytes for folder in folders for file in lake.storage.files(folder) if file.name in wanted
    )
    return sum(sizes)
