"""Tars as webdataset shards have them: finding pictures without reading them, and members of always the same bytes."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from laion_assets.clip.embed import IMAGE_EXTENSIONS

_BLOCK: Final = 512
_RECORD: Final = 20 * _BLOCK
_LARGEST: Final = 8**11 - 1  # bytes; what eleven octal digits can say

# Between name and size: mode 644, owner and group 0. After the size: modified at 0. After the checksum: a file, ustar.
_OWNER: Final = b"0000644\0" + b"0000000\0" * 2
_TIME: Final = b"00000000000\0"
_KIND: Final = (b"0" + bytes(100) + b"ustar\x0000").ljust(_BLOCK - 156, b"\0")
_SUM: Final = sum(_OWNER) + sum(_TIME) + sum(_KIND) + 8 * ord(" ")

_FILE_KINDS: Final = (b"0", b"\0")
_PAX, _GNU_NAME = b"x", b"L"
_PAX_PATH: Final = re.compile(rb"^\d+ path=(.*)$", re.MULTILINE)


class ShardError(Exception):
    """A tar does not hold what it should. The message names the tar, what was found, and what to do."""


class Picture(NamedTuple):
    """Where the bytes of a picture lie in a tar."""

    offset: int
    size: int
    extension: str
    """``jpg, png`` or ``webp``."""


def member(name: str, content: bytes) -> bytes:
    """A file in a tar, as ustar: the header and the content in whole blocks, the same bytes for ever."""
    encoded = name.encode()
    if len(encoded) > 100 or len(content) > _LARGEST:
        raise ShardError(
            f"{name} cannot be put into a tar: its name has more than 100 bytes, or it has more than 8 GiB"
        )
    size = b"%011o\0" % len(content)
    checksum = b"%06o\0 " % (sum(encoded) + sum(size) + _SUM)
    header = b"".join((encoded.ljust(100, b"\0"), _OWNER, size, _TIME, checksum, _KIND))
    return b"".join((header, content, bytes(-len(content) % _BLOCK)))


def member_size(content_size: int) -> int:
    """Bytes that ``member`` takes for a content of so many bytes."""
    return _BLOCK + content_size + -content_size % _BLOCK


def tar_size(members_size: int) -> int:
    """Bytes of a whole tar whose members take so many: two empty blocks end it, and it is a whole number of records."""
    ended = members_size + 2 * _BLOCK
    return ended + -ended % _RECORD


def pictures_of(tar: Path) -> dict[str, Picture]:
    """Find every picture of a tar by its sample key (the member's name without folder and extension).

    Only headers are read. Where a key has several pictures the last counts, as for ``clip.embed``.

    Raises:
        ShardError: The tar is absent, or cannot be read to its end.
    """
    pictures = {}
    for name, offset, size in _members(tar):
        key, _, extension = name.rpartition("/")[2].rpartition(".")
        if (extension := extension.lower()) in IMAGE_EXTENSIONS:
            pictures[key] = Picture(offset, size, "jpg" if extension == "jpeg" else extension)
    return pictures


@contextmanager
def reader(tar: Path) -> Iterator[Callable[[int, int], bytes]]:
    """A function that reads from an offset so many bytes of a tar, or raises ``ShardError``."""

    def read(start: int, size: int) -> bytes:
        content = os.pread(file, size, start)
        if len(content) != size:
            raise ShardError(
                f"{tar} was cut off while it was read, before byte {start + size}; download its partition again"
            )
        return content

    file = _open(tar)
    try:
        yield read
    finally:
        os.close(file)


def write_at(file: int, content: bytes, start: int) -> None:
    """Write all of the content: a nearly full disk takes a part of it before it says that it is full."""
    written = os.pwrite(file, content, start)
    while written < len(content):
        written += os.pwrite(file, content[written:], start + written)


def _members(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of each file. Many times faster than ``tarfile``, which matters for millions of members."""
    file = _open(tar)
    try:
        end, at, long_name = os.fstat(file).st_size, 0, ""
        while at < end:
            header = os.pread(file, _BLOCK, at)
            if not header.strip(b"\0"):
                return
            size = _size(tar, header, at)
            kind, name = header[156:157], long_name or _text(header[:100])
            data, at = at + _BLOCK, at + member_size(size)
            if data + size > end:
                raise ShardError(
                    f"{tar} is cut off: {name} should end at byte {data + size}, the file ends at {end}; "
                    "download its partition again"
                )
            if kind in _FILE_KINDS:
                yield name, data, size
            long_name = _long_name(kind, os.pread(file, size, data)) if kind in (_PAX, _GNU_NAME) else ""
    finally:
        os.close(file)


def _open(tar: Path) -> int:
    try:
        return os.open(tar, os.O_RDONLY)
    except OSError as error:
        raise ShardError(f"{tar} cannot be opened: {error.strerror}; download its partition again") from error


def _size(tar: Path, header: bytes, at: int) -> int:
    digits = header[124:136].strip(b" \0")
    if header[257:262] == b"ustar" and digits.isdigit():
        with suppress(ValueError):
            return int(digits, 8)
    raise ShardError(f"{tar} is damaged: no header of a member at byte {at}; download its partition again")


def _long_name(kind: bytes, content: bytes) -> str:
    """The name that an extended header gives to the member after it; empty, if it speaks of other things."""
    if kind == _GNU_NAME:
        return _text(content)
    path = _PAX_PATH.search(content)
    return _text(path[1]) if path else ""


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
