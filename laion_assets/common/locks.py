"""Locks between processes of one machine, on a file or a folder: the kernel's own, flock(2).

A lock belongs to an open descriptor: it is given back by closing that, and in any case when its process ends, however
it does. A program started meanwhile does not get it; a fork shares it, until both have closed it or ended.

The library ``filelock``, which others have installed here, is not used: it locks no folders, shares no locks but by way
of an SQLite database, and unlocks where this closes, which would take the lock from forks that share it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.01


def try_lock(path: Path, *, make: bool = False, shared: bool = False) -> int | None:
    """Lock a file or folder now.

    Args:
        path: what to lock.
        make: make a file of that name if there is nothing.
        shared: keep out only those who want it alone.

    Returns:
        the open descriptor that holds the lock; None where others hold it, or removed what was opened meanwhile: a lock
        on what has no name any more keeps nobody out.

    Raises:
        OSError: it cannot be opened, or not be locked on this file system.
    """
    try:
        try:
            lock = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o666)
        except IsADirectoryError:
            lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        if make:
            raise
        return None
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), path.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


@contextmanager
def locked(path: Path, *, wait_seconds: float = 0.0) -> Iterator[int | None]:
    """Hold the lock of a file, which is made if absent, or of a folder while the block lasts.

    Gives the descriptor that holds it; None where somebody else still has it after ``wait_seconds``.
    """
    give_up = time.monotonic() + wait_seconds
    while (lock := try_lock(path, make=True)) is None and time.monotonic() < give_up:
        time.sleep(_LOOK_SECONDS)
    try:
        yield lock
    finally:
        if lock is not None:
            os.close(lock)


def share(lock: int) -> None:
    """Let others share a lock that was held alone; still nobody can have it alone."""
    fcntl.flock(lock, fcntl.LOCK_SH)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file or folder that is there."""
    lock = try_lock(path)
    if lock is not None:
        os.close(lock)
    return lock is None and path.exists()
