"""What runs of earlier versions told Dagster of rows is taken out of its storage: texts, addresses, pictures.

Dagster has no way to change what it was told. So such runs are deleted with all they told, and the lake tells again
what it holds (``reported``). Their logs are lost.

A home may hold runs of others. No run names its lake: one is taken for a run of this lake whose origin, where it has
one, is our code location, and of whose assets each is one of the lake's. All others stay.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg

from laion_assets.common.digests import text_digest
from laion_assets.delta.lake import Lake
from laion_assets.orchestration.assets.metadata import speaks_of_pairs
from laion_assets.orchestration.execution.origin import is_from_elsewhere
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.registration import register_built
from laion_assets.orchestration.runs.reported import report, unknown_to
from laion_assets.web.addresses import PREFIX

_SHOWN: Final = ("kept", "dropped", "first rows")
"""Entries of a materialisation that held rows; today they say where rows are to be seen."""
_SAMPLE: Final = "sample"
"""The entry of a check's evaluation that held rows."""
_DONE: Final = "laion: Dagster was told of no rows since"
_BEGUN: Final = "laion: assets of which runs that told of rows are deleted"
_PAGE: Final = 50
_WAIT_SECONDS: Final = 10
_DATABASES: Final = ("history/*.db", "history/runs/*.db", "schedules/*.db")
"""Where Dagster keeps what it is told, below its home. Whatever else lies there is somebody's own."""
_OF_ASSETS: Final = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


@dataclass(frozen=True)
class Forgotten:
    """What was taken out of Dagster's storage."""

    runs: int
    """How many were deleted."""
    was_settled: bool
    """Whether this lake was done with before: nothing was looked for."""
    settle: Callable[[], None]
    """To be called once Dagster was told what the lake holds; until then it is all done again."""


def forget_rows(
    instance: dg.DagsterInstance, uri: str, assets: Collection[str], told_still: Collection[str] = ()
) -> Forgotten:
    """Delete the runs that told of rows, once for each lake of a storage. Killed in its midst, it begins again.

    Args:
        instance: whose storage it is.
        uri: of the lake.
        assets: its tables and SQL models.
        told_still: those of them whose first rows Dagster is told today as well, since they speak of no pair.

    Returns:
        What was deleted. The lake must tell again what it holds, unless it was settled.
    """
    notes = instance.daemon_cursor_storage
    lake = text_digest(uri, digits=16)
    done_key, begun_key = f"{_DONE} ({lake})", f"{_BEGUN} ({lake})"
    noted = notes.get_cursor_values({done_key, begun_key})
    if done_key in noted:
        return Forgotten(0, was_settled=True, settle=_nothing)
    told: dict[str, set[str]] = {}
    for asset, run in (*_materialised(instance, {*assets} - {*told_still}), *_failed_checks(instance, assets)):
        told.setdefault(asset, set()).add(run)
    runs = {run for run in set().union(*told.values()) if _is_ours(instance, run, assets)}
    done = {run for run in runs if (found := instance.get_run_by_id(run)) is None or found.is_finished}
    # Noted before: of a run that was deleted nobody finds the assets any more.
    begun = {*json.loads(noted.get(begun_key, "[]"))} | {asset for asset, of in told.items() if of & done}
    notes.set_cursor_values({begun_key: json.dumps(sorted(begun))})
    for run in sorted(done):
        instance.compute_log_manager.delete_logs(prefix=[run])  # what it wrote to the screen
        instance.delete_run(run)
    # After the runs: of an asset that was wiped nobody finds the runs any more.
    wiped = {asset for asset in begun & {*assets} if told.get(asset, set()) <= done}
    if wiped:
        instance.wipe_assets([dg.AssetKey(asset) for asset in sorted(wiped)])
    is_whole = _compact(Path(instance.root_directory)) and done == runs
    return Forgotten(
        len(done), was_settled=False, settle=lambda: notes.set_cursor_values({done_key: "yes"}) if is_whole else None
    )


def forget_rows_of(instance: dg.DagsterInstance, lake: Lake) -> Forgotten:
    """The same for all tables and SQL models that a lake knows of."""
    told_still = [name for name, table in lake.tables.items() if not speaks_of_pairs(table)]
    return forget_rows(instance, lake.uri, lake.tables, told_still)


def tell_anew(instance: dg.DagsterInstance, lake: Lake, partitions: Partitions) -> int:
    """Delete the runs that told of rows, and tell what the lake holds; gives how many were deleted."""
    forgotten = forget_rows_of(instance, lake)
    if not forgotten.was_settled:
        register_built(instance, lake)
        for unknown in unknown_to(instance, lake, partitions):
            report(instance, unknown)
        forgotten.settle()
    return forgotten.runs


def _nothing() -> None:
    """There is nothing to settle."""


def _is_ours(instance: dg.DagsterInstance, run_id: str, assets: Collection[str]) -> bool:
    """Whether a run is one of this lake, as far as it can be known."""
    run = instance.get_run_by_id(run_id)
    if run is not None and is_from_elsewhere(run):
        return False
    keys = set() if run is None else {*(run.asset_selection or ())}
    for entry in instance.all_logs(run_id, of_type=_OF_ASSETS):
        event = entry.dagster_event
        if event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            keys.add(event.asset_check_evaluation_data.asset_key)
        elif event is not None and event.asset_key is not None:
            keys.add(event.asset_key)
    return all(_is_among(key, assets) for key in keys)


def _is_among(key: dg.AssetKey, assets: Collection[str]) -> bool:
    """Whether a key is that of an asset of the lake: those have one part."""
    return len(key.path) == 1 and key.path[0] in assets


def _materialised(instance: dg.DagsterInstance, assets: Collection[str]) -> Iterator[tuple[str, str]]:
    """(asset, run) of every materialisation that told of rows."""
    for asset in assets:
        cursor, more = None, True
        while more:
            found = instance.fetch_materializations(dg.AssetKey(asset), limit=_PAGE, cursor=cursor)
            cursor, more = found.cursor, found.has_more
            for record in found.records:
                event = record.asset_materialization
                metadata = {} if event is None else event.metadata
                if any(PREFIX not in str(metadata[name].value) for name in _SHOWN if name in metadata):
                    yield asset, record.run_id


def _failed_checks(instance: dg.DagsterInstance, assets: Collection[str]) -> Iterator[tuple[str, str]]:
    """The same of checks that failed with a sample: the words of the failure held it too."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            event = entry.dagster_event
            evaluation = None if event is None else event.asset_check_evaluation_data
            if evaluation is None or _SAMPLE not in evaluation.metadata:
                continue
            if _is_among(evaluation.asset_key, assets):
                yield evaluation.asset_key.path[0], run.run_id


def _compact(home: Path) -> bool:
    """Write the databases anew, since SQLite leaves what was deleted where it was; false where one cannot be."""
    whole = True
    for file in sorted(file for pattern in _DATABASES for file in home.glob(pattern)):
        try:
            with closing(sqlite3.connect(file, timeout=_WAIT_SECONDS)) as database:
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:  # it is in use, or none that SQLite can read
            whole = False
    return whole
