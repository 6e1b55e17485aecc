"""Runs whose process died before it could tell Dagster.

Such a run would stay "started" for ever, and keep its place in a pool, for which the next build would wait for ever.
Every builder therefore holds a lock and tags its runs with it: the lock dies with its process, and whoever builds next
ends what is left. Runs without the tag, such as those the UI launches, and those of other machines are not ours to
judge.
"""

import logging
import math
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from laion_assets.common.locks import locked, try_lock

BUILDER_TAG = ".dagster/laion_builder"
"""A run's tag: the machine and the lock file of the process that executes it. Dagster's pages show no such tags."""

_LOOK_SECONDS = 5.0
_log = logging.getLogger(__name__)

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def builder_lock(folder: Path) -> Iterator[str]:
    """Hold a lock of this process' own in ``folder``; gives what its runs are tagged with."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex[:16]}.lock"
    with locked(path, wait_seconds=math.inf) as lock:  # others hold it for no longer than it takes to look
        assert lock is not None
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield f"{socket.gethostname()} {path}"
        finally:
            path.unlink(missing_ok=True)


def other_builders(folder: Path) -> list[str]:
    """Who else builds the same lake on this machine now; to be asked before :func:`builder_lock`."""
    return [path.read_text() for path in sorted(folder.glob("*.lock")) if not _left_behind(path)]


@contextmanager
def ending_abandoned_runs(instance: dg.DagsterInstance) -> Iterator[None]:
    """End what dead builders left, now and every few seconds of the block.

    A run of this process may wait for a place in a pool that Dagster gives to a builder that was killed meanwhile.
    """
    end_abandoned_runs(instance)
    if instance.is_ephemeral:  # no other process has runs in it
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            try:
                end_abandoned_runs(instance)
            except Exception:  # noqa: BLE001 - the runs themselves say what is wrong with the storage
                _log.debug("runs of dead builders could not be ended", exc_info=True)

    watch = threading.Thread(target=look, name="abandoned runs", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def end_abandoned_runs(instance: dg.DagsterInstance) -> int:
    """Report the runs of dead builders as failed and give their places in pools back; says how many there were."""
    ended = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        machine, _, path = run.tags.get(BUILDER_TAG, "").partition(" ")
        if run.parent_run_id:  # started again from a page, which copies tags
            continue
        if machine != socket.gethostname() or not _left_behind(Path(path)):
            continue
        instance.report_run_failed(run, message="the process that executed this run died")
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended += 1
    return ended


def _left_behind(path: Path) -> bool:
    """Whether nobody holds the lock; a file nobody holds is removed."""
    lock = try_lock(path)
    if lock is None:
        return not path.exists()
    path.unlink(missing_ok=True)
    os.close(lock)
    return True
