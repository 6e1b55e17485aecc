"""Where a lake's files lie: a folder of this machine, or a prefix of a bucket.

Names are relative to the lake, with ``/`` between their parts, whatever the lake is. Whoever computes works on files of
this machine: they are fetched (:meth:`Storage.mirror`) and published (:meth:`Storage.publish`) around the work.
"""

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from laion_assets.common.files import fresh_path, write_file
from laion_assets.delta.errors import LakeError
from laion_assets.delta.space import disk_trouble

# delta-rs makes a url of a table's path: with some of these it panics, with others it goes elsewhere. DuckDB expands
# patterns, takes `name=value` for a partition, and decodes what delta-rs has encoded twice, whatever follows a `%`.
_UNUSABLE = re.compile(r"[\[\]{}^|*?#=%\x00-\x1f\x7f\ud800-\udfff]|\\")
_SCRATCH = ".staging"


@dataclass(frozen=True)
class StoredFile:
    """One file of a lake."""

    name: str
    bytes: int
    modified_at: datetime
    """With its time zone."""


class Storage(ABC):
    """The files of one lake. What cannot pass raises :class:`LakeError`, what is not there ``FileNotFoundError``."""

    uri: str
    """The lake as people name it."""
    scratch: Path
    """Folder of this machine for work in progress; none of it is part of the lake. It may not be there yet."""

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """Whether the files lie on this machine."""

    @property
    @abstractmethod
    def delta_options(self) -> dict[str, str]:
        """``storage_options`` for delta-rs. Ask anew for each table that is opened: credentials expire."""

    @property
    @abstractmethod
    def polars_options(self) -> dict[str, Any]:
        """``storage_options`` for polars, which it wants in types of its own; asked anew like the others."""

    @abstractmethod
    def address(self, name: str) -> str:
        """What delta-rs, polars and DuckDB call a file or folder."""

    def holds(self, path: Path) -> bool:
        """Whether a path of this machine is in the lake."""
        return self.is_local and path.resolve().is_relative_to(self.uri)

    @abstractmethod
    def admit(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let a DuckDB connection read the lake's files by their addresses."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A small file's content."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write a small file that is not there; false, and nothing is written, where somebody was first."""

    @abstractmethod
    def replace(self, name: str, content: bytes) -> None:
        """Write a small file, whether it is there or not; readers see the old content or the new."""

    @abstractmethod
    def files(self, folder: str = "") -> Iterator[StoredFile]:
        """Every file in ``folder`` and the folders below; of the whole lake where none is named."""

    @abstractmethod
    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders directly in ``folder``, from the lake on, sorted."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are passed over."""

    @abstractmethod
    def publish(self, local: Path, name: str) -> None:
        """Let a finished file of this machine appear whole under ``name``. ``local`` stays, and must not change after.

        The name must be one that nobody reads yet: a file of that name, left by a process that died, is replaced.
        """

    @abstractmethod
    def mirror(self, names: Iterable[str]) -> AbstractContextManager[Path]:
        """A folder of this machine with these files under their names, for reading, while the context lasts.

        What is not in the lake is not in the folder either: whoever reads it finds that out.
        """

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """One file as one of this machine, for reading, while the context lasts; see :meth:`mirror`."""
        with self.mirror([name]) as root:
            yield root / name

    @abstractmethod
    def copy_of(self, folder: str) -> Path:
        """A folder of this machine that holds what ``folder`` holds now; it stays, and is brought up to date."""


class FolderStorage(Storage):
    """A lake in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)
        self.scratch = root / _SCRATCH

    @property
    def is_local(self) -> bool:
        return True

    @property
    def delta_options(self) -> dict[str, str]:
        return {}

    @property
    def polars_options(self) -> dict[str, Any]:
        return {}

    def address(self, name: str) -> str:
        return str(self._path(name))

    def admit(self, con: duckdb.DuckDBPyConnection) -> None:
        """Nothing is needed."""

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def read(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except NotADirectoryError as error:  # a file lies where the lake should be a folder
            raise FileNotFoundError(str(error)) from error

    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        fresh = _fresh(path)
        try:
            fresh.write_bytes(content)
            os.link(fresh, path)  # fails if the name exists: of two creators one wins
        except FileExistsError:
            return False
        finally:
            fresh.unlink(missing_ok=True)
        return True

    def replace(self, name: str, content: bytes) -> None:
        path = self._path(name)
        _make_folder(path.parent)
        write_file(path, content)

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        for parent, folders, names in os.walk(self._path(folder)):
            if Path(parent) == self.root:
                folders[:] = [name for name in folders if name != _SCRATCH]
            for name in sorted(names):
                path = Path(parent) / name
                try:
                    found = path.stat()
                except FileNotFoundError:  # removed while this goes on
                    continue
                modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
                yield StoredFile(path.relative_to(self.root).as_posix(), found.st_size, modified_at)

    def folders(self, folder: str = "") -> list[str]:
        path = self._path(folder)
        found = [p for p in path.iterdir() if p.is_dir() and p != self.scratch] if path.is_dir() else []
        return sorted(p.relative_to(self.root).as_posix() for p in found)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self._path(name)
            path.unlink(missing_ok=True)
            for parent in path.parents:  # a bucket has no empty folders either
                if parent == self.root or not _remove_empty(parent):
                    break

    def publish(self, local: Path, name: str) -> None:
        os.utime(local)  # as in a bucket, a file is as old as it has been published
        while True:
            try:
                return _link(local, self._path(name))
            except FileNotFoundError:
                if not local.exists():
                    raise
                # its folder was empty, and somebody who cleans up removed it

    @contextmanager
    def mirror(self, names: Iterable[str]) -> Iterator[Path]:
        for name in names:
            plain_name(name)
        yield self.root

    def copy_of(self, folder: str) -> Path:
        return self._path(folder)

    def _path(self, name: str) -> Path:
        return self.root / plain_name(name)


def open_storage(uri: str) -> Storage:
    """The files of the lake at ``uri``: a path, ``file://…`` or ``s3://bucket/prefix``. Nothing is asked or made yet.

    Raises:
        LakeError: no lake can be there.
    """
    scheme, _, rest = uri.rpartition("://")
    if scheme not in ("", "file", "s3"):
        raise LakeError(f"a lake is a folder or s3://bucket/prefix, not {uri!r}: set LAION_LAKE to one of them")
    root = str(Path(rest).expanduser().resolve()) if scheme != "s3" else f"s3://{rest.strip('/')}"
    unusable = _UNUSABLE.search(root)
    if unusable is not None:
        raise LakeError(
            f"tables cannot be written below {root!r}: {unusable[0]!r} in it; choose another path for the lake"
        )
    if scheme != "s3":
        return FolderStorage(Path(root))
    from laion_assets.delta.bucket import BucketStorage  # its clients are of no use to a lake in a folder

    return BucketStorage(root)


def plain_name(name: str) -> str:
    """A name as it is.

    Raises:
        LakeError: it would lead out of the lake.
    """
    parts = PurePosixPath(name).parts
    if ".." in parts or parts[:1] == ("/",):  # a table that somebody else wrote may say anything
        raise LakeError(f"{name!r} is no name of a file in a lake")
    return name


def _fresh(path: Path) -> Path:
    _make_folder(path.parent)
    return fresh_path(path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(disk_trouble(error) or f"cannot write to {folder}: {error}") from error


def _link(source: Path, target: Path) -> None:
    """Let ``target`` be the same file, or where that cannot be a copy."""
    fresh = _fresh(target)
    try:
        os.link(source, fresh)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, fresh)
    fresh.replace(target)
    fresh.unlink(missing_ok=True)  # renaming a link to what it links to leaves both


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
