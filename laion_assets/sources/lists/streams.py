"""The bytes of lists, wherever they lie: streamed, decompressed on the way, read at any place, told apart, digested."""

import bz2
import gzip
import hashlib
import io
import lzma
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import pyarrow as pa

from laion_assets.common.digests import file_sha256
from laion_assets.sources.lists.errors import ListError
from laion_assets.sources.sources import Source, SourceError, SourceNotFound, SourceUnreachable

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4", ".xz": "xz"}
"""By ending of a name, what compressed the file."""

_CHUNK_BYTES = 1 << 20
_SKIPPED_BYTES = 1 << 20
"""So much is read and thrown away rather than asked for anew."""

OpenSource = Callable[[str], Source]
"""Opens the place that a remote file lies in: ``s3://bucket/folder``, ``https://host/folder``."""


@dataclass(frozen=True)
class Stamp:
    """What tells a file from others without reading it."""

    bytes: int
    mark: str
    """Time of modification of a file of this machine, ETag of others; empty where there is none."""


class Files:
    """Files of this machine by their paths, others by their addresses."""

    def __init__(self, open_source: OpenSource) -> None:
        """Keep what opens sources; nothing is asked for yet."""
        self._open_source = open_source

    def open(self, uri: str, *, offset: int = 0) -> BinaryIO:
        """The bytes of a file, from an offset on.

        Raises:
            SourceError: it is not there, or cannot be read.
        """
        if is_remote(uri):
            folder, _, name = uri.rpartition("/")
            return self._open_source(folder).open(unquote(name) if uri.startswith("http") else name, offset=offset)
        try:
            stream = Path(uri).open("rb")  # noqa: SIM115 - whoever asked closes it
            stream.seek(offset)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise SourceNotFound(f"there is no file {uri}") from error
        except OSError as error:
            raise SourceUnreachable(f"{uri} cannot be opened: {error.strerror}") from error
        return stream

    def stamp(self, uri: str) -> Stamp:
        """Size and mark of a file, as it is now.

        Raises:
            SourceError: it is not there, or does not say how large it is.
        """
        if not is_remote(uri):
            with self.open(uri):
                found = Path(uri).stat()
            return Stamp(found.st_size, str(found.st_mtime_ns))
        with closing(self.open(uri)) as stream:
            size: int | None = getattr(stream, "total_bytes", None)
            mark: str | None = getattr(stream, "version", None)
        if size is None:
            raise ListError(f"{uri} does not say how large it is: download it, and import the file")
        return Stamp(size, mark or "")

    def sha256(self, uri: str) -> str:
        """The SHA-256 of a file, hex.

        Raises:
            SourceError: it is not there, or cannot be read.
        """
        if not is_remote(uri):
            with self.open(uri):
                return file_sha256(Path(uri))
        digest = hashlib.sha256()
        with closing(self.open(uri)) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def plain(self, uri: str, compression: str) -> pa.NativeFile:
        """The content of a file, decompressed, for Arrow's readers to stream."""
        return pa.PythonFile(_Decompressed(uri, self.open(uri), compression), mode="r")

    def seekable(self, uri: str) -> pa.NativeFile:
        """A file that can be read at any place."""
        if not is_remote(uri):
            with self.open(uri):  # says in our words that it is not there
                return pa.memory_map(uri) if Path(uri).stat().st_size else pa.BufferReader(b"")
        return pa.PythonFile(_Ranged(self, uri, self.stamp(uri).bytes), mode="r")


def is_remote(uri: str) -> bool:
    """Whether a file lies on another machine."""
    return uri.startswith(("s3://", "https://", "http://"))


class _Decompressed(io.RawIOBase):
    """What a compressed file holds; whatever is wrong with it is told in one line."""

    def __init__(self, uri: str, raw: BinaryIO, compression: str) -> None:
        super().__init__()
        self._uri = uri
        self._raw = raw
        self._stream = _decompressor(raw, compression)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._stream.read(size if size >= 0 else None) or b"")
        except SourceError:
            raise
        except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
            told = " ".join(str(error).split())
            raise ListError(f"{self._uri} cannot be decompressed: {told}; is it whole?") from error

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def _decompressor(raw: BinaryIO, compression: str) -> Any:
    match compression:
        case "":
            return raw
        case "gzip":
            return gzip.GzipFile(fileobj=raw)
        case "bz2":
            return bz2.BZ2File(raw)
        case "xz":
            return lzma.LZMAFile(raw)
        case _:
            return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), compression)


class _Ranged(io.RawIOBase):
    """A remote file that can be read at any place: a short way on it reads, otherwise it asks anew."""

    def __init__(self, files: Files, uri: str, size: int) -> None:
        super().__init__()
        self._files = files
        self._uri = uri
        self._size = size
        self._place = 0
        self._stream: BinaryIO | None = None
        self._reached = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        size = self._size - self._place if size < 0 else min(size, self._size - self._place)
        if size <= 0:
            return b""
        stream = self._at_place()
        chunks = []
        while size > 0 and (chunk := stream.read(min(size, _CHUNK_BYTES))):
            chunks.append(chunk)
            size -= len(chunk)
            self._place += len(chunk)
        self._reached = self._place
        return b"".join(chunks)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()

    def _at_place(self) -> BinaryIO:
        ahead = self._place - self._reached
        if self._stream is not None and 0 <= ahead <= _SKIPPED_BYTES:
            while ahead > 0 and (skipped := self._stream.read(min(ahead, _CHUNK_BYTES))):
                ahead -= len(skipped)
            return self._stream
        if self._stream is not None:
            self._stream.close()
        self._stream = self._files.open(self._uri, offset=self._place)
        return self._stream
