"""What steps left in a machine's staging: folders of live ones, and of those that died."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from laion_assets.delta.errors import PartitionBusy
from laion_assets.delta.staging import StagingFolder, staging_of


@dataclass(frozen=True)
class Leftover:
    """A staging folder that nobody holds and nobody will go on from."""

    path: Path
    bytes: int

    def remove(self) -> bool:
        """Remove it; false where a step took it in the meantime."""
        if not self.path.is_dir():
            return True
        try:
            with StagingFolder(self.path.parent, self.path.name) as folder:
                folder.remove()
        except PartitionBusy:
            return False
        return True


def left_over(scratch: Path, *, before: datetime, fresh_before: datetime) -> list[Leftover]:
    """The staging folders of dead steps.

    Args:
        scratch: the lake's staging on this machine.
        before: folders that somebody could go on from are left over if nothing in them is younger than this.
        fresh_before: the same for folders that only their dead process knew of.
    """
    found = []
    for folder in _folders(scratch):
        owner = _owner(folder)
        if owner is not None and _began(owner) is not None:
            continue
        size, newest = _measured(folder)
        if newest < (fresh_before if owner is not None else before).timestamp():
            found.append(Leftover(folder, size))
    return found


def oldest_live_step(scratch: Path) -> datetime | None:
    """When the oldest process began that stages rows on this machine now; None: none does."""
    owners = {_owner(folder) for folder in _folders(scratch)} - {None}
    began = [began for owner in owners if owner and (began := _began(owner)) is not None]
    return datetime.fromtimestamp(min(began), UTC) if began else None


def is_being_built(scratch: Path, table: str, partition: str) -> bool:
    """Whether a process of this machine holds work on a partition that nobody else could go on with meanwhile."""
    for folder in staging_of(scratch, table, partition).glob("*"):
        if folder.is_dir() and _owner(folder) is None and StagingFolder(folder.parent, folder.name).is_held():
            return True
    return False


def marks(scratch: Path) -> set[str]:
    """What files are published under by work that is staged on this machine, at it now or to be gone on with."""
    return {mark.read_text() for mark in scratch.glob("*/*/*/mark")}


def _folders(scratch: Path) -> Iterator[Path]:
    """``<table>/<partition>/<token>``."""
    return (folder for folder in sorted(scratch.glob("*/*/*")) if folder.is_dir())


def _owner(folder: Path) -> int | None:
    """The process that a folder's name tells of; None: it is named after work that any process may go on with."""
    process, _, rest = folder.name.partition("-")
    return int(process) if rest and process.isdigit() else None


def _began(process: int) -> float | None:
    """When a process of this machine began, in seconds since 1970; None: it is no more."""
    try:
        return Path(f"/proc/{process}").stat().st_ctime
    except FileNotFoundError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0.0  # it lives, and this system does not say since when


def _measured(folder: Path) -> tuple[int, float]:
    """Bytes below a folder, and when anything in it changed last, in seconds since 1970."""
    size, newest = 0, 0.0
    for path in (folder, *folder.rglob("*")):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return size, float("inf")  # somebody is at it
        size += found.st_size if not path.is_dir() else 0
        newest = max(newest, found.st_mtime)
    return size, newest
