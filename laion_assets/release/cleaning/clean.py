"""Cleaning a copy of a release by a removals feed.

A copy is a folder of somebody's: Parquet, tars as img2dataset writes them, vectors as clip-retrieval has them, a folder
of a hub, lists of links, or all of these. Files are looked at one after the other, in bounded memory; those that hold
nothing listed are not touched. What cannot be searched is named, never passed over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from laion_assets.common.files import BrokenFile
from laion_assets.common.locks import locked
from laion_assets.common.progress import Progress
from laion_assets.release.cleaning.about import changes_about
from laion_assets.release.cleaning.faults import CopyError
from laion_assets.release.cleaning.matching import Matcher
from laion_assets.release.cleaning.plans import Plan, is_of_ids_only, plan
from laion_assets.release.cleaning.receipt import Fault, cleaning_of, write_receipt
from laion_assets.release.cleaning.staging import Staging
from laion_assets.release.cleaning.units import Unit, path_of, survey
from laion_assets.release.feed import Feed


@dataclass
class Outcome:
    """What cleaning a copy came to."""

    removed: dict[str, int] = field(default_factory=dict)
    """By file, the rows (samples, vectors) that it lost, or would lose."""
    mended: list[str] = field(default_factory=list)
    """Files without rows that were brought into line: counts, card, manifest, feed."""
    faults: list[Fault] = field(default_factory=list)
    """What was not cleaned, or not of everything, and why."""
    units: int = 0
    """Files, or files that belong together, that were looked at."""
    rows: int = 0
    """That were looked at."""


def clean(copy: Path, feed: Feed, *, dry_run: bool = False) -> Outcome:
    """Take everything that a feed lists out of a copy, and write a receipt.

    Killed at any point and run again it ends with the same bytes, the receipt's included.

    Args:
        copy: its folder.
        feed: what is to be removed.
        dry_run: only say what would go; nothing is written.

    Raises:
        CopyError: there is no such folder, another process is cleaning it, or its receipt is none.
        OSError: a file cannot be read or written; all that belongs to it is as it was.
    """
    if not copy.is_dir():
        raise CopyError(f"{copy}: expected the folder of a copy, found {'a file' if copy.exists() else 'nothing'}")
    with locked(copy) as lock:
        if lock is None:
            raise CopyError(f"{copy} is being cleaned by another process")
        return _Cleaning(copy, feed, dry_run).run()


class _Cleaning:
    def __init__(self, copy: Path, feed: Feed, dry_run: bool) -> None:
        self._copy, self._feed, self._dry_run = copy, feed, dry_run
        self._staging = Staging(copy)
        self._outcome = Outcome()
        self._followed: set[int] = set()

    def run(self) -> Outcome:
        if not self._dry_run:
            self._staging.recover()
        units = survey(self._copy)
        if not units:
            raise CopyError(f"{self._copy}: expected a copy of a release, found an empty folder")
        self._progress = Progress("cleaning", len(units), "files")
        of_ids = [unit for unit in units if is_of_ids_only(self._copy, unit)]
        others = [unit for unit in units if unit not in of_ids]
        with Matcher(self._feed) as matcher:
            self._look(others, matcher)
        self._followed |= {one for record in self._staging.records() for one in record.pair_ids}
        if of_ids:
            with Matcher(self._feed, self._followed if others else None) as matcher:
                self._look(of_ids, matcher)
        if not self._dry_run:
            self._finish()
        return self._outcome

    def _look(self, units: Iterable[Unit], matcher: Matcher) -> None:
        for unit in units:
            found = plan(self._copy, unit, matcher)
            if not self._dry_run and found.changes:
                found = self._carried_out(unit, found)
            self._count(found)
            self._progress()

    def _carried_out(self, unit: Unit, found: Plan) -> Plan:
        try:
            self._staging.carry_out(found.changes)
        except BrokenFile as error:
            return Plan(faults=[*found.faults, Fault(path_of(unit), str(error))], rows=found.rows)
        return found

    def _count(self, found: Plan) -> None:
        self._outcome.units += 1
        self._outcome.rows += found.rows
        self._outcome.faults += found.faults
        for change in found.changes:
            self._followed |= {*change.pair_ids}
            if change.rows is None:
                self._outcome.mended.append(change.path)
            else:
                self._outcome.removed[change.path] = change.removed

    def _finish(self) -> None:
        """Bring what speaks of other files into line, write the receipt, and forget how far this was."""
        changes = changes_about(self._copy, self._staging.records(), self._feed)
        if changes:
            self._staging.carry_out(changes)
            self._outcome.mended += [change.path for change in changes]
        records = self._staging.records()
        self._outcome.removed = {one.path: one.removed for one in records if one.rows is not None}
        write_receipt(self._copy, cleaning_of(self._feed, records, self._outcome.faults))
        self._staging.forget()
