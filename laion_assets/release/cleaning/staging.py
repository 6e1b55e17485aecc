"""Putting cleaned files into the places of those before, all those of a unit or none, whenever the process dies.

Files that belong together (a tar and its table, vectors and what they are of) must change together: with only one of
them changed, nobody could find the rows of the others any more. New files are therefore written beside their places
and brought to the disk; then a record of the unit is written, and only then are they renamed. A record whose renames
were cut short is carried to its end by the next run, before it looks at anything. Records are kept until the receipt is
written, so that the receipt of a run that was killed and begun again says the same as that of one that was not.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from laion_assets.common.digests import file_sha256, text_digest
from laion_assets.common.files import UNFINISHED, appearing, put_into_place, write_file
from laion_assets.release.cleaning.faults import CopyError

RECEIPT: Final = "removals-receipt.json"
"""The receipt's name in a copy."""
RECORDS: Final = ".laion-clean"
"""The folder of records in a copy, while it is being cleaned."""

_STAGED: Final = ".cleaned"
_LEFT: Final = re.compile(r"\..*\.cleaned(\.\d+-[0-9a-f]{8}" + re.escape(UNFINISHED) + ")?")


@dataclass(frozen=True)
class Change:
    """What becomes of a file."""

    path: str
    """Below the copy, with ``/``."""
    write: Callable[[Path], None]
    """Writes the new file."""
    rows: int | None = None
    """Rows (samples of a tar) that it has; None for a file without rows of its own, such as counts."""
    removed: int = 0
    """Rows that it loses."""
    pair_ids: tuple[int, ...] = ()
    """Of the rows that it loses, as far as they are known."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was changed."""

    path: str
    rows: int | None
    """That it had."""
    removed: int
    before: str
    """SHA-256 of what was there."""
    after: str
    """SHA-256 of what is there now."""
    bytes_before: int
    bytes_after: int
    pair_ids: tuple[int, ...] = ()


def is_staged(name: str) -> bool:
    """Whether a file is so called that it is one to be renamed, or to be removed."""
    return _LEFT.fullmatch(name) is not None


class Staging:
    """The changes to one copy. Others are kept out by the caller."""

    def __init__(self, copy: Path) -> None:
        """Nothing is done yet.

        Args:
            copy: its folder.
        """
        self.copy = copy
        self._folder = copy / RECORDS

    def recover(self) -> None:
        """Carry unfinished renames to their end, and remove what was not finished before its record was written.

        Raises:
            CopyError: a record is none of ours.
        """
        for unit in self._units():
            self._rename(_read(unit))
        for left in [path for path in self.copy.rglob(".*") if is_staged(path.name)]:
            left.unlink(missing_ok=True)
        for left in [*self.copy.glob(f".{RECEIPT}.*{UNFINISHED}"), *self._folder.glob(f".*{UNFINISHED}")]:
            left.unlink(missing_ok=True)

    def carry_out(self, changes: Sequence[Change]) -> None:
        """Make the changes to the files of a unit, all or none.

        Raises:
            OSError: a file cannot be written; nothing of the unit has changed then.
        """
        records = []
        try:
            for change in changes:
                path = self.copy / change.path
                with appearing(_staged(path), durable=True) as fresh:
                    change.write(fresh)
                shutil.copymode(path, _staged(path))
                records.append(_record(change, path))
            self._folder.mkdir(exist_ok=True)
            unit = self._folder / f"{text_digest(changes[0].path)}.json"
            earlier = _read(unit) if unit.exists() else []
            write_file(unit, msgspec.json.encode(_merged(earlier, records)), durable=True)
        except BaseException:
            for change in changes:
                _staged(self.copy / change.path).unlink(missing_ok=True)
            raise
        self._rename(records)

    def records(self) -> list[Record]:
        """What was changed since the last receipt, by path."""
        found: dict[str, Record] = {}
        for unit in self._units():
            found |= {record.path: record for record in _read(unit)}
        return [found[path] for path in sorted(found)]

    def forget(self) -> None:
        """Remove the records: a receipt has taken them in."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _units(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _rename(self, records: Iterable[Record]) -> None:
        for record in records:
            staged = _staged(self.copy / record.path)
            if staged.exists():
                put_into_place(staged, self.copy / record.path, durable=True)


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}{_STAGED}")


def _record(change: Change, path: Path) -> Record:
    staged = _staged(path)
    return Record(
        path=change.path,
        rows=change.rows,
        removed=change.removed,
        before=file_sha256(path),
        after=file_sha256(staged),
        bytes_before=path.stat().st_size,
        bytes_after=staged.stat().st_size,
        pair_ids=change.pair_ids,
    )


def _read(unit: Path) -> list[Record]:
    """The files that a record names: of the copy alone, whoever wrote it.

    Raises:
        CopyError: it is no record of ours.
    """
    try:
        records = msgspec.json.decode(unit.read_bytes(), type=list[Record])
    except msgspec.DecodeError:
        records = None
    if records is None or any(PurePosixPath(r.path).is_absolute() or ".." in r.path.split("/") for r in records):
        raise CopyError(f"{unit} is no record of a cleaning: remove the folder {RECORDS}, and clean again")
    return records


def _merged(earlier: Iterable[Record], later: Iterable[Record]) -> list[Record]:
    """The records of a unit that was changed again before a receipt was written: from the first state to the last."""
    found = {record.path: record for record in earlier}
    for record in later:
        first = found.get(record.path, record)
        found[record.path] = (
            record
            if first is record
            else Record(
                path=record.path,
                rows=first.rows,
                removed=first.removed + record.removed,
                before=first.before,
                after=record.after,
                bytes_before=first.bytes_before,
                bytes_after=record.bytes_after,
                pair_ids=tuple(sorted({*first.pair_ids, *record.pair_ids})),
            )
        )
    return list(found.values())
