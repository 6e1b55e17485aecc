"""Reading tars by their headers, to the very end: a damaged or cut off tar is an error, never a shorter one.

Python's ``tarfile`` takes whatever is no header for the end and passes over all that follows it, keeps every header in
memory, and takes three times as long, which matters for millions of members.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

from laion_assets.common.files import BrokenFile
from laion_assets.webdataset.writer import BLOCK, member_size

_FILE_KINDS: Final = (b"0", b"\0")
_PAX, _GNU_NAME = b"x", b"L"
_PAX_PATH: Final = re.compile(rb"^\d+ path=(.*)$", re.MULTILINE)
_CHECKSUM: Final = slice(148, 156)
_COMPRESSED: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))


class TarError(BrokenFile):
    """A tar is not whole, or does not hold what it should. The message names the tar and says what was found."""


class Member(NamedTuple):
    """A file in a tar, and where its bytes lie."""

    name: str
    offset: int
    """Of its content; its header is the block before."""
    size: int
    modified: int = 0
    """Seconds since 1970 as the header says; 0 where it does not."""


class TarBytes(Protocol):
    """The bytes of a tar, wherever it lies."""

    @property
    def size(self) -> int | None:
        """How many there are; None where that is seen only when they end."""

    def pread(self, size: int, offset: int) -> bytes:
        """So many bytes from an offset, fewer only where the tar ends."""

    def close(self) -> None:
        """Nothing will be read any more."""


class TarReader:
    """A tar that is open for reading, until the block is left; nothing of it is kept in memory.

    Args:
        tar: the file, which may be read in any thread.
        content: its bytes, where it is no file of this machine; whether threads may share them is theirs to say.

    Raises:
        TarError: it cannot be opened.
    """

    def __init__(self, tar: Path | str, content: TarBytes | None = None) -> None:
        self.tar = tar
        self._content = content or _LocalBytes(Path(tar))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()

    def members(self) -> Iterator[Member]:
        """The files in it, in order, found by reading headers alone.

        Raises:
            TarError: it cannot be read up to its end mark.
        """
        end, at, long_name = self._content.size, 0, ""
        while header := self._content.pread(BLOCK, at):
            if header == bytes(BLOCK):
                return
            found = self._member(header, at, long_name)
            kind, at, last = header[156:157], at + member_size(found.size), found.offset + found.size
            if end is not None and last > end:
                raise TarError(f"{self.tar} is cut off: {found.name} should end at byte {last}, the file ends at {end}")
            if kind in _FILE_KINDS:
                yield found
            long_name = _long_name(kind, self.read(found.offset, found.size)) if kind in (_PAX, _GNU_NAME) else ""
        raise TarError(f"{self.tar} is cut off: it has no end mark at byte {at}")

    def member_at(self, offset: int) -> Member:
        """The file whose header begins at an offset; of a long name only what stands in that header.

        Raises:
            TarError: no header of a file begins there.
        """
        header = self._content.pread(BLOCK, offset)
        if header[156:157] not in _FILE_KINDS:
            raise TarError(f"{self.tar} is not what it was: no header of a member at byte {offset}")
        return self._member(header, offset, "")

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from an offset.

        Raises:
            TarError: there are fewer.
        """
        content = self._content.pread(size, offset)
        if len(content) != size:
            raise TarError(f"{self.tar} was cut off while it was read, before byte {offset + size}")
        return content

    def _member(self, header: bytes, at: int, long_name: str) -> Member:
        with suppress(ValueError):
            told, size = (int(field.strip(b" \0"), 8) for field in (header[_CHECKSUM], header[124:136]))
            if told == sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
                return Member(long_name or _name(header), at + BLOCK, size, _seconds(header[136:148]))
        packed = next((kind for start, kind in _COMPRESSED if at == 0 and header.startswith(start)), None)
        if packed is not None:
            raise TarError(f"{self.tar} is compressed with {packed}: unpack it, members are read where they lie")
        raise TarError(f"{self.tar} is damaged: no header of a member at byte {at}")


class _LocalBytes:
    """A file of this machine, for any thread."""

    def __init__(self, tar: Path) -> None:
        self._tar = tar
        try:
            self._file = os.open(tar, os.O_RDONLY)
        except OSError as error:
            raise TarError(f"{tar} cannot be opened: {error.strerror}") from error

    @property
    def size(self) -> int:
        return os.fstat(self._file).st_size

    def pread(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError as error:
            raise TarError(f"{self._tar} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._file)


def _name(header: bytes) -> str:
    """What a header says itself; one of POSIX' ustar has a second field for the folders of a long name."""
    name, folders = _text(header[:100]), _text(header[345:500])
    return f"{folders}/{name}" if folders and header[257:263] == b"ustar\0" else name


def _seconds(field: bytes) -> int:
    """When a file was changed; other ways to write it than octal digits are not worth an error."""
    digits = field.strip(b" \0")
    return int(digits, 8) if digits.isdigit() and not set(digits) & {56, 57} else 0


def _long_name(kind: bytes, content: bytes) -> str:
    """The name that an extended header gives to the member after it; empty, if it speaks of other things."""
    if kind == _GNU_NAME:
        return _text(content)
    path = _PAX_PATH.search(content)
    return _text(path[1]) if path else ""


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
