"""Writing tars of always the same bytes: in order, or every member at its place."""

import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

BLOCK: Final = 512
"""Bytes; a header has one block, and contents are filled up to whole ones."""
_RECORD: Final = 20 * BLOCK
_LARGEST: Final = 8**11 - 1  # bytes; what eleven octal digits can say

# Between name and size: mode 644, owner and group 0. After the size: modified at 0. After the checksum: a file, ustar.
_OWNER: Final = b"0000644\0" + b"0000000\0" * 2
_TIME: Final = b"00000000000\0"
_KIND: Final = (b"0" + bytes(100) + b"ustar\x0000").ljust(BLOCK - 156, b"\0")
_SUM: Final = sum(_OWNER) + sum(_TIME) + sum(_KIND) + 8 * ord(" ")


def member(name: str, content: bytes) -> bytes:
    """A file in a tar: the header and the content in whole blocks, the same bytes for ever.

    The header is ustar's; a name or a size that it cannot hold stands in a pax header before it.
    """
    return b"".join((_header(name, len(content)), content, bytes(-len(content) % BLOCK)))


def member_size(content_size: int) -> int:
    """Bytes that ``member`` takes for a content of so many bytes and a name of at most 100 ASCII characters."""
    return BLOCK + content_size + -content_size % BLOCK


def tar_size(members_size: int) -> int:
    """Bytes of a whole tar whose members take so many: two empty blocks end it, and it is a whole number of records."""
    ended = members_size + 2 * BLOCK
    return ended + -ended % _RECORD


def write_samples(tar: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write a tar of samples, in order; the same samples give the same bytes.

    Args:
        tar: the file.
        samples: key, and content by extension.
    """
    with tar.open("wb") as file:
        for key, members in samples:
            for extension, content in members.items():
                file.write(member(f"{key}.{extension}", content))
        file.truncate(tar_size(file.tell()))


def write_at(file: int, content: bytes, start: int) -> None:
    """Write all of the content: a nearly full disk takes a part of it before it says that it is full."""
    written = os.pwrite(file, content, start)
    while written < len(content):
        written += os.pwrite(file, content[written:], start + written)


def _header(name: str, size: int) -> bytes:
    encoded = name.encode()
    if not name.isascii() or len(encoded) > 100 or size > _LARGEST:
        info = tarfile.TarInfo(name)  # owner, group and time are 0 in it
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT)
    digits = b"%011o\0" % size
    checksum = b"%06o\0 " % (sum(encoded) + sum(digits) + _SUM)
    return b"".join((encoded.ljust(100, b"\0"), _OWNER, digits, _TIME, checksum, _KIND))
