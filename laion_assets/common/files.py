"""Files and folders that appear whole: written beside their place under a name of their own, and renamed to it.

Readers see what was there before, or all of what is new. A writer that fails leaves nothing; one that is killed leaves
something whose name ends in ``.unfinished``, which whoever keeps others out of the folder may remove.

A rename alone is no promise that outlives a loss of power. Where somebody goes on from a file without looking into it
(a record of finished work, the weights that it names) it is written ``durable``: it and its folder are on the disk when
the call returns. Caches, reports and answers are not: they are made again.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished"
"""How names end of what is being written, or was when its process died."""


class BrokenFile(Exception):
    """Base of what libraries of ours say where a file is not whole, or does not hold what it should."""


def fresh_path(path: Path) -> Path:
    """A name beside ``path`` that nobody else writes to, for what is to be renamed to it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{UNFINISHED}")


@contextmanager
def appearing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A file to write to, which takes the place of ``path`` at the end of the block, or goes if that fails.

    Whoever the umask lets may read it, whatever mode the library that writes it gives its files.

    Raises:
        OSError: it cannot be made in its folder, or not be put into place.
    """
    fresh = fresh_path(path)
    fresh.touch()
    mode = fresh.stat().st_mode
    try:
        yield fresh
        if fresh.stat().st_mode != mode:
            fresh.chmod(mode & 0o777)
        put_into_place(fresh, path, durable=durable)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write a file that appears whole; text in UTF-8, with the ends of lines that it has.

    Raises:
        OSError: it cannot be written; what was there before is.
    """
    with appearing(path, durable=durable) as fresh:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)


def put_into_place(written: Path, path: Path, *, durable: bool = False) -> None:
    """Rename a file that is written to its end, on the same file system, to the name that others read."""
    if durable:
        _flush(written)
    written.replace(path)
    if durable:
        _flush(path.parent)


@contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``path`` at the end of the block, or goes if that fails.

    No folder can be renamed over another: for a moment there is none, and a kill then leaves both beside their place.
    """
    fresh = fresh_path(path)
    replaced = fresh_path(path)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if path.exists():
            path.rename(replaced)
        fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if replaced.exists():
            replaced.rename(path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the files that dead writers left in a folder and those below; for whoever keeps living ones out."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(UNFINISHED):
                Path(parent, name).unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
