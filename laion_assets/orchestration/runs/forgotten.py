"""What runs of earlier versions told Dagster of rows is taken out of its storage: texts, addresses, pictures.

Dagster has no way to change what it was told. So such runs are deleted with all they told, and the lake tells again
what it holds (``reported``). Their logs are lost.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import dagster as dg

from laion_assets.delta.lake import Lake
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.registration import register_built
from laion_assets.orchestration.runs.reported import report, unknown_to
from laion_assets.web.addresses import PREFIX

_SHOWN: Final = ("kept", "dropped", "first rows")
"""Entries of a materialisation that held rows; today they say where rows are to be seen."""
_SAMPLE: Final = "sample"
"""The entry of a check's evaluation that held rows."""
_DONE: Final = "laion: Dagster was told of no rows since"
_PAGE: Final = 50
_WAIT_SECONDS: Final = 10


def forget_rows(instance: dg.DagsterInstance, assets: Iterable[str]) -> int:
    """Delete the runs that told of rows, once for each storage. Killed in its midst, it begins again.

    Args:
        instance: whose storage it is.
        assets: the tables and SQL models of the lake.

    Returns:
        How many runs were deleted. The lake must tell again what they built.
    """
    notes = instance.daemon_cursor_storage
    if notes.get_cursor_values({_DONE}):
        return 0
    told: dict[str, set[str]] = {}
    for asset, run in (*_materialised(instance, assets), *_failed_checks(instance)):
        told.setdefault(asset, set()).add(run)
    runs = {run for of in told.values() for run in of}
    done = {run for run in runs if (found := instance.get_run_by_id(run)) is None or found.is_finished}
    for run in sorted(done):
        instance.compute_log_manager.delete_logs(prefix=[run])  # what it wrote to the screen
        instance.delete_run(run)
    # After the runs: of an asset that was wiped nobody finds the runs any more.
    wiped = [dg.AssetKey(asset) for asset, of in told.items() if of <= done]
    if wiped:
        instance.wipe_assets(wiped)
    if _compact(Path(instance.root_directory)) and done == runs:
        notes.set_cursor_values({_DONE: "yes"})
    return len(done)


def tell_anew(instance: dg.DagsterInstance, lake: Lake, partitions: Partitions) -> int:
    """Delete the runs that told of rows, and tell what the lake holds; gives how many were deleted."""
    forgotten = forget_rows(instance, lake.tables)
    if forgotten:
        register_built(instance, lake)
        for unknown in unknown_to(instance, lake, partitions):
            report(instance, unknown)
    return forgotten


def _materialised(instance: dg.DagsterInstance, assets: Iterable[str]) -> Iterator[tuple[str, str]]:
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


def _failed_checks(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """The same of checks that failed with a sample: the words of the failure held it too."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            event = entry.dagster_event
            evaluation = None if event is None else event.asset_check_evaluation_data
            if evaluation is not None and _SAMPLE in evaluation.metadata:
                yield evaluation.asset_key.to_user_string(), run.run_id


def _compact(home: Path) -> bool:
    """Write the databases anew, since SQLite leaves what was deleted where it was; false where one is in use."""
    whole = True
    for file in sorted(home.rglob("*.db")):
        try:
            with closing(sqlite3.connect(file, timeout=_WAIT_SECONDS)) as database:
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError:
            whole = False
    return whole
