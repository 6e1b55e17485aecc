"""What a verification has found sound so far, kept on this machine: one that is interrupted goes on from there.

A line for each unit, written when it is known to be sound; what is damaged is looked at again. A line counts once it is
whole, so that a process may die at any moment. Where nothing can be kept, as beside a lake that is only read, all is
done anew.
"""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from laion_assets.common.digests import text_digest
from laion_assets.common.locks import try_lock
from laion_assets.delta.errors import LakeError

_FRESH_SECONDS = 7 * 86_400


class Checked:
    """The units that are known to be sound; a context manager that keeps others out."""

    def __init__(self, folder: Path, scope: str, *, trust_finished: bool = False) -> None:
        """Nothing is read yet.

        Args:
            folder: where it is kept.
            scope: what is verified; another scope knows nothing of this one.
            trust_finished: go on from a verification that came to its end, too, if that was this week.
        """
        digest = text_digest(scope, digits=16)
        self._path = folder / f"{digest}.sound"
        self._finished = folder / f"{digest}.finished"
        self._trust_finished = trust_finished
        self._known: set[bytes] = set()
        self._file: IO[str] | None = None
        self.taken_over = 0
        """Units that need not be looked at again."""

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._trust_finished and _is_fresh(self._finished) and not self._path.exists():
                self._finished.replace(self._path)
            lock = try_lock(self._path, make=True)
        except OSError:
            return self
        if lock is None:
            raise LakeError("another process verifies the same of this lake: let it finish")
        self._file = os.fdopen(lock, "r+")
        for line in self._file:
            if line.endswith("\n"):
                self._known.add(bytes.fromhex(line.strip()) if len(line) == 33 else b"")
        self._file.write("\n")  # what was torn ends here
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def knows(self, unit: str, basis: object) -> bool:
        """Whether a unit was found sound, when it was what it is now."""
        found = _digest(unit, basis) in self._known
        self.taken_over += found
        return found

    def sound(self, unit: str, basis: object) -> None:
        """Note that a unit is."""
        if self._file is not None:
            with suppress(OSError):  # a full disk: it will be looked at again
                self._file.write(_digest(unit, basis).hex() + "\n")
                self._file.flush()

    def finish(self) -> None:
        """All was looked at: the next verification begins anew."""
        with suppress(OSError):
            self._path.replace(self._finished)


def _digest(unit: str, basis: object) -> bytes:
    return hashlib.sha256(f"{unit}\n{basis!r}".encode()).digest()[:16]


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime < _FRESH_SECONDS  # noqa: PTH116
    except FileNotFoundError:
        return False
