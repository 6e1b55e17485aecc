"""Removes what a retention plan decided, and nothing that came to be needed since.

Data files of tables need no second look: a file that no version lists and that is older than any write can be is never
listed again. Files beside the tables do: a step that goes on with the work of a dead one publishes under the same
names, and may begin while this goes on. On its own machine it finds the staging folder of that work held; on another
one its files are young by then. What was committed meanwhile is read before anything goes. Killed at any moment this
leaves a readable lake; the next plan finds what is left.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from laion_assets.common.locks import locked
from laion_assets.delta.bounds import forget_bounds
from laion_assets.delta.copies import forget_copies
from laion_assets.delta.errors import LakeError, PartitionBusy
from laion_assets.delta.lake import Lake
from laion_assets.delta.leftovers import left_over, marks
from laion_assets.delta.retention import LONGEST_WRITE, UNFINISHED, RetentionPlan
from laion_assets.delta.staging import StagingFolder, staging_of
from laion_assets.delta.storage import Storage

_AT_ONCE = 1_000
_FOLDERS_AT_ONCE = 50


@dataclass
class Swept:
    """What was removed."""

    files: Counter[str] = field(default_factory=Counter)
    """By area."""
    bytes: Counter[str] = field(default_factory=Counter)
    """By area."""
    spared: int = 0
    """Files that a step took into use after the plan was made."""
    entries: int = 0
    """Log entries that knew more of rows than they should."""
    complete: bool = True
    """False: time was up; what is left goes the next time."""

    def count(self, removed: pl.DataFrame) -> None:
        """Note files that were removed; columns area and bytes."""
        for area, files, size in removed.group_by("area").agg(pl.len(), pl.col("bytes").sum()).iter_rows():
            self.files[area] += files
            self.bytes[area] += size


def sweep(
    lake: Lake,
    plan: RetentionPlan,
    *,
    seconds: float = float("inf"),
    progress: Callable[[int], None] = lambda _: None,
) -> Swept:
    """Remove what a plan of this lake decided.

    Args:
        lake: the lake.
        plan: made by ``plan_retention``, with the same clock.
        seconds: how long to go on.
        progress: called with the number of files that were dealt with since the last call.

    Raises:
        LakeError: another sweep of this lake runs on this machine, or files cannot be removed.
    """
    storage = lake.storage
    swept, deadline = Swept(), time.monotonic() + seconds
    with _only_sweep(storage.scratch):
        for part in _parts(lake, plan, swept):
            if time.monotonic() > deadline:
                swept.complete = False
                break
            progress(part())
    return swept


def _parts(lake: Lake, plan: RetentionPlan, swept: Swept) -> Iterator[Callable[[], int]]:
    """The work, in pieces of seconds. Staging comes first: what is gone from there nobody goes on with."""
    storage = lake.storage
    yield lambda: _remove_staged(storage.scratch, plan, swept)
    data = plan.doomed.filter(pl.col("work").is_null())
    for some in data.iter_slices(_AT_ONCE):
        yield lambda some=some: _remove(storage, some, swept)  # type: ignore[misc]
    folders = plan.doomed.drop_nulls("work").sort("work").partition_by("work", maintain_order=True)
    for start in range(0, len(folders), _FOLDERS_AT_ONCE):
        group = folders[start : start + _FOLDERS_AT_ONCE]
        yield lambda group=group: _remove_work(storage, plan, group, swept)  # type: ignore[misc]
    for table in lake.tables:
        yield lambda table=table: _narrow(lake, table, swept)  # type: ignore[misc]


def _narrow(lake: Lake, table: str, swept: Swept) -> int:
    if lake.exists(table):
        swept.entries += forget_bounds(lake, table)
        forget_copies(lake, table)
    return 0


def _remove(storage: Storage, files: pl.DataFrame, swept: Swept) -> int:
    storage.delete(files["name"])
    swept.count(files)
    return files.height


def _remove_work(storage: Storage, plan: RetentionPlan, folders: list[pl.DataFrame], swept: Swept) -> int:
    going_on = marks(storage.scratch)
    with ExitStack() as held:
        free = [files for files in folders if _hold(held, storage, str(files["work"][0]), plan, going_on)]
        plan.names.refresh()
        if free:
            files = pl.concat(free)
            _remove(storage, files.filter(plan.names.why(files).is_null()), swept)
    total = sum(files.height for files in folders)
    swept.spared += total - sum(files.height for files in free)
    return total


def _hold(held: ExitStack, storage: Storage, work: str, plan: RetentionPlan, going_on: Collection[str]) -> bool:
    """Keep steps out of a work folder; false where one is at it, may go on with it, or wrote since the plan."""
    place = plan.names.published.place(f"{work}/")
    if place is None:
        return False
    (table, partition), name = place, work.rpartition("/")[2]
    folder = StagingFolder(staging_of(storage.scratch, table, partition), name)
    existed = folder.path.exists()
    try:
        held.enter_context(folder)
    except PartitionBusy:
        return False
    if not existed:
        held.callback(folder.remove)
    return name not in going_on and all(f.modified_at < plan.since - LONGEST_WRITE for f in storage.files(work))


def _remove_staged(scratch: Path, plan: RetentionPlan, swept: Swept) -> int:
    staged = left_over(scratch, before=plan.since - LONGEST_WRITE, fresh_before=plan.made_at - LONGEST_WRITE)
    for folder in staged:
        if folder.remove():
            swept.files[UNFINISHED] += 1
            swept.bytes[UNFINISHED] += folder.bytes
        else:
            swept.spared += 1
    return len(staged)


@contextmanager
def _only_sweep(scratch: Path) -> Iterator[None]:
    scratch.mkdir(parents=True, exist_ok=True)
    with locked(scratch / "sweep.lock") as lock:
        if lock is None:
            raise LakeError("another process removes what this lake may forget: let it finish")
        yield
