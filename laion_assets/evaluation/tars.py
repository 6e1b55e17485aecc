"""Webdataset's tars: files beside each other that share a name up to its first dot are one sample.

Read to the very end: a damaged or cut off tar is an error, never a shorter one. What a sample means is `benchmark`'s.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

# webdataset's own rules (`tariterators.py`): what a member's name says, and which members are not data.
_MEMBER: Final = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_META: Final = re.compile(r"__[^/]*__($|/)")


class DamagedTar(Exception):
    """A tar that is not whole. The message says what was expected, what was found and what to do."""


def read_samples(tar: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of a tar, in order: key, and content by extension in lower case.

    Members without an extension, and webdataset's own (`__…__`), are no data.

    Raises:
        DamagedTar: it cannot be read to its end, or a sample has two files of one extension.
    """
    key: str | None = None
    members: dict[str, bytes] = {}
    for name, content in _members(tar):
        match = None if _META.match(name) else _MEMBER.match(name)
        if match is None:
            continue
        prefix, extension = match[1], match[2].lower()
        if prefix != key:
            if key is not None:
                yield key, members
            key, members = prefix, {}
        if extension in members:
            raise DamagedTar(f"{tar}, sample {key}: expected one file .{extension}, found two; write the tar again")
        members[extension] = content
    if key is not None:
        yield key, members


def is_key(name: str) -> bool:
    """Whether a sample so named is read again under that name."""
    match = _MEMBER.match(f"{name}.x")
    return match is not None and match[1] == name and not _META.match(name)


def add_sample(tar: tarfile.TarFile, key: str, members: Mapping[str, bytes]) -> None:
    """Append a sample to a tar; the same sample gives the same bytes."""
    for extension, content in members.items():
        member = tarfile.TarInfo(f"{key}.{extension}")  # owner, group and time are 0 in it
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def _members(tar: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a tar's regular files, up to its end mark.

    Python's reader takes whatever is no header for the end, and would pass over all that follows a damaged one.
    """
    try:
        with tarfile.open(tar) as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep the header of every member read
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content.read()
            stream = archive.fileobj
            if stream is None:
                raise tarfile.ReadError("it was closed")
            stream.seek(archive.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no end mark at byte {archive.offset}")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DamagedTar(
            f"{tar}: expected a whole tar, and it is damaged or cut off: {error}; fetch or convert it again"
        ) from error
