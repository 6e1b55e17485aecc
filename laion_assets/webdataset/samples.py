"""Samples and their pictures: members beside each other that share a name up to its first dot."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from laion_assets.webdataset.reader import TarError, TarReader

# webdataset's own rules (`tariterators.py`): what a member's name says, and which members are not data.
_MEMBER: Final = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_META: Final = re.compile(r"__[^/]*__($|/)")

PICTURE_EXTENSIONS: Final = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp"}
"""Extensions of pictures, and what they are called here."""


class PicturePlace(NamedTuple):
    """Where the bytes of a picture lie in a tar."""

    offset: int
    size: int
    extension: str
    """``jpg, png`` or ``webp``."""


def key_and_extension(name: str) -> tuple[str, str] | None:
    """A sample's key, with its folders, and what of the sample the member is, in lower case.

    Returns:
        None for members without an extension, and webdataset's own (``__…__``): they are no data.
    """
    match = None if _META.match(name) else _MEMBER.match(name)
    return None if match is None else (match[1], match[2].lower())


def is_key(name: str) -> bool:
    """Whether a sample so named is read again under that name."""
    return key_and_extension(f"{name}.x") == (name, "x")


def read_samples(tar: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of a tar, in order: key, and content by extension in lower case.

    Raises:
        TarError: it cannot be read to its end, or a sample has two files of one extension.
    """
    key: str | None = None
    contents: dict[str, bytes] = {}
    with TarReader(tar) as reader:
        for member in reader.members():
            found = key_and_extension(member.name)
            if found is None:
                continue
            if found[0] != key:
                if key is not None:
                    yield key, contents
                key, contents = found[0], {}
            if found[1] in contents:
                raise TarError(f"{tar}, sample {key}: expected one file .{found[1]}, found two")
            contents[found[1]] = reader.read(member.offset, member.size)
    if key is not None:
        yield key, contents


def pictures_of(tar: Path) -> dict[str, PicturePlace]:
    """Where every picture of a tar lies, by its sample key without folders. Only headers are read.

    Where a key has several pictures the last counts.

    Raises:
        TarError: the tar is absent, or cannot be read to its end.
    """
    with TarReader(tar) as reader:
        return dict(_pictures(reader))


def read_pictures(tar: Path, keys: Iterable[str]) -> dict[str, bytes]:
    """The pictures of a tar by sample key, the first of each; keys that it lacks are left out.

    Raises:
        TarError: the tar is absent, or cannot be read as far as the last of them.
    """
    wanted, found = set(keys), dict[str, bytes]()
    with TarReader(tar) as reader:
        for key, place in _pictures(reader):
            if key in wanted:
                found[key] = reader.read(place.offset, place.size)
                wanted.remove(key)
            if not wanted:
                break
    return found


def _pictures(reader: TarReader) -> Iterator[tuple[str, PicturePlace]]:
    for member in reader.members():
        key, extension = key_and_extension(member.name) or ("", "")
        if extension in PICTURE_EXTENSIONS:
            yield key.rpartition("/")[2], PicturePlace(member.offset, member.size, PICTURE_EXTENSIONS[extension])
