"""Reading tars by their headers, to the very end: a damaged or cut off tar is an error, never a shorter one.

Python's ``tarfile`` takes whatever is no header for the end and passes over all that follows it, keeps every header in
memory, and takes three times as long, which matters for millions of members.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from laion_assets.common.files import BrokenFile
from laion_assets.webdataset.writer import BLOCK, member_size

_FILE_KINDS: Final = (b"0", b"\0")
_PAX, _GNU_NAME = b"x", b"L"
_PAX_PATH: Final = re.compile(rb"^\d+ path=(.*)$", re.MULTILINE)
_CHECKSUM: Final = slice(148, 156)


class TarError(BrokenFile):
    """A tar is not whole, or does not hold what it should. The message names the tar and says what was found."""


class Member(NamedTuple):
    """A file in a tar, and where its bytes lie."""

    name: str
    offset: int
    size: int


class TarReader:
    """A tar that is open for reading, in any thread, until the block is left; nothing of it is kept in memory.

    Args:
        tar: the file.

    Raises:
        TarError: it cannot be opened.
    """

    def __init__(self, tar: Path) -> None:
        self.tar = tar
        try:
            self._file = os.open(tar, os.O_RDONLY)
        except OSError as error:
            raise TarError(f"{tar} cannot be opened: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def members(self) -> Iterator[Member]:
        """The files in it, in order, found by reading headers alone.

        Raises:
            TarError: it cannot be read up to its end mark.
        """
        end, at, long_name = os.fstat(self._file).st_size, 0, ""
        while header := self._pread(at, BLOCK):
            if header == bytes(BLOCK):
                return
            size = self._size(header, at)
            kind, name = header[156:157], long_name or _name(header)
            data, at = at + BLOCK, at + member_size(size)
            if data + size > end:
                raise TarError(
                    f"{self.tar} is cut off: {name} should end at byte {data + size}, the file ends at {end}"
                )
            if kind in _FILE_KINDS:
                yield Member(name, data, size)
            long_name = _long_name(kind, self._pread(data, size)) if kind in (_PAX, _GNU_NAME) else ""
        raise TarError(f"{self.tar} is cut off: it has no end mark at byte {at}")

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from an offset.

        Raises:
            TarError: there are fewer.
        """
        content = self._pread(offset, size)
        if len(content) != size:
            raise TarError(f"{self.tar} was cut off while it was read, before byte {offset + size}")
        return content

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError as error:
            raise TarError(f"{self.tar} cannot be read: {error.strerror}") from error

    def _size(self, header: bytes, at: int) -> int:
        with suppress(ValueError):
            told, size = (int(field.strip(b" \0"), 8) for field in (header[_CHECKSUM], header[124:136]))
            if told == sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
                return size
        raise TarError(f"{self.tar} is damaged: no header of a member at byte {at}")


def _name(header: bytes) -> str:
    """What a header says itself; one of POSIX' ustar has a second field for the folders of a long name."""
    name, folders = _text(header[:100]), _text(header[345:500])
    return f"{folders}/{name}" if folders and header[257:263] == b"ustar\0" else name


def _long_name(kind: bytes, content: bytes) -> str:
    """The name that an extended header gives to the member after it; empty, if it speaks of other things."""
    if kind == _GNU_NAME:
        return _text(content)
    path = _PAX_PATH.search(content)
    return _text(path[1]) if path else ""


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
