"""Where a lake's files lie: a folder of this machine, or a prefix of a bucket.

Names are relative to the lake, with ``/`` between their parts, whatever the lake is. Whoever computes works on files of
this machine: they are fetched (:meth:`Storage.mirror`) and published (:meth:`Storage.publish`) around the work.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from laion_assets.delta.errors import LakeError


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
    def replace(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Write a small file, whether it is there or not; readers see the old content or the new.

        ``durable``: it outlives a loss of power once the call returns, as in a bucket everything does.
        """

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


def plain_name(name: str) -> str:
    """A name as it is.

    Raises:
        LakeError: it would lead out of the lake.
    """
    parts = PurePosixPath(name).parts
    if ".." in parts or parts[:1] == ("/",):  # a table that somebody else wrote may say anything
        raise LakeError(f"{name!r} is no name of a file in a lake")
    return name
