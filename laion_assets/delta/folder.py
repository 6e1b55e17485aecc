"""A lake in a folder of this machine."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from laion_assets.common.files import fresh_path, write_file
from laion_assets.delta.errors import LakeError
from laion_assets.delta.space import disk_trouble
from laion_assets.delta.storage import Storage, StoredFile, plain_name

_SCRATCH = ".staging"


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

    def replace(self, name: str, content: bytes, *, durable: bool = False) -> None:
        path = self._path(name)
        _make_folder(path.parent)
        write_file(path, content, durable=durable)

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
