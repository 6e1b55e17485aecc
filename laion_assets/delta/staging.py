"""Rows on their way into a partition: Parquet parts in a locked local folder.

A folder belongs to one piece of work (``token``). Steps that can go on where a killed process stopped give the same
token for the same inputs and find their finished parts again; others get a fresh one. The lock dies with its process,
so whatever lies unlocked beside it is left over and may go.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.common.files import fresh_path, put_into_place, remove_unfinished, write_file
from laion_assets.common.locks import is_locked, try_lock
from laion_assets.delta.errors import PartitionBusy

_MARK_DIGITS = 16
_NOTE = "laion_note"
_GLANCE_SECONDS = 0.3
"""So long somebody may hold a lock who does not work under it: who asks whether it is held, or clears leftovers."""


class Part:
    """One Parquet part being written. It counts only once :meth:`finish` has renamed it into place."""

    def __init__(self, final: Path, schema: pa.Schema) -> None:
        self._final = final
        self._fresh = fresh_path(final)
        self._schema = schema
        self._writer = pq.ParquetWriter(self._fresh, schema, compression="zstd", compression_level=1)

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows; columns are taken by name, in the table's types.

        Raises:
            polars.exceptions.PolarsError, pyarrow.ArrowInvalid: the frame lacks a column or a value does not fit.
        """
        table = frame.select(self._schema.names).to_arrow()
        self._writer.write_table(table.cast(self._schema))

    def finish(self, note: str | None = None) -> None:
        """Make the part count, with a note such as its counts in its footer; somebody goes on from one with a note."""
        if note is not None:
            self._writer.add_key_value_metadata({_NOTE: note})
        self._writer.close()
        put_into_place(self._fresh, self._final, durable=note is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if kind is None and self._fresh.exists():
            self.finish()


def staging_of(scratch: Path, table: str, partition: str) -> Path:
    """The folder of everything that is staged for one partition."""
    return scratch / table / partition.replace("/", "__")


class StagingFolder:
    """The folder in which one partition is staged; a context manager that holds its lock."""

    def __init__(self, parent: Path, token: str) -> None:
        self.path = parent / token
        self._parent = parent
        self._lock: int | None = None

    def __enter__(self) -> Self:
        give_up = time.monotonic() + _GLANCE_SECONDS
        while self._lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = try_lock(self.path)
            if self._lock is None:
                if time.monotonic() > give_up:
                    raise PartitionBusy(
                        f"another process is building this partition now (it holds {self.path}): when that one is "
                        "done, the same command builds what is still missing"
                    )
                time.sleep(0.01)
        remove_unfinished(self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_held(self) -> bool:
        """Whether a process holds its lock."""
        return is_locked(self.path)

    @property
    def mark(self) -> str:
        """A name no other folder has, on any machine; the same for as long as this one is there.

        For files that are published before the commit: two machines at the same work must not write each other's.
        """
        file = self.path / "mark"
        if not file.is_file() or len(file.read_bytes()) != _MARK_DIGITS:  # power may have been lost
            write_file(file, uuid.uuid4().hex[:_MARK_DIGITS], durable=True)
        return file.read_text()

    def part(self, name: str, schema: pa.Schema) -> Part:
        """Begin the part called ``name``."""
        return Part(self.path / f"{name}.parquet", schema)

    def note(self, name: str) -> str | None:
        """The note that the part was finished with, by this process or one before it; None where it is not whole."""
        try:
            told = pq.read_metadata(self.path / f"{name}.parquet").metadata or {}
        except (OSError, pa.ArrowInvalid):
            return None
        return told[_NOTE.encode()].decode() if _NOTE.encode() in told else None

    def parts(self) -> list[Path]:
        """All finished parts, by name."""
        return sorted(self.path.glob("*.parquet"))

    def remove(self) -> None:
        """Remove this folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def clear(self) -> None:
        """Remove this folder and every folder of the same partition that no live process holds."""
        for folder in sorted(self._parent.iterdir()):
            with _held(folder, self.path) as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path, own: Path) -> Iterator[bool]:
    if folder == own:
        yield True
        return
    lock = try_lock(folder)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)
