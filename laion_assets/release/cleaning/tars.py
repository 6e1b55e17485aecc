"""Tars of samples: which are listed, and the same tar without some, every other byte of it as it was."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from laion_assets.release.cleaning.faults import CannotClean
from laion_assets.release.cleaning.matching import Matcher
from laion_assets.release.cleaning.said import Said, listed, said
from laion_assets.webdataset.reader import Member, TarReader
from laion_assets.webdataset.samples import PICTURE_EXTENSIONS, key_and_extension
from laion_assets.webdataset.writer import member_size, tar_size

_AT_ONCE: Final = 8192
_CHUNK: Final = 8 * 2**20
_TEXT: Final = 2**20
_JSON: Final = msgspec.json.Decoder(dict[str, Any])


class _Row(NamedTuple):
    number: int
    key: str
    said: Said


@dataclass
class Samples:
    """Some samples of a tar."""

    count: int = 0
    """Of the whole tar."""
    numbers: set[int] = field(default_factory=set)
    """Theirs, from 0."""
    keys: set[str] = field(default_factory=set)
    """Theirs, without folders."""
    pair_ids: set[int] = field(default_factory=set)
    looked_up: frozenset[str] = frozenset()
    """The kinds of removals that every sample of the tar can be found by, from what is in the tar."""


def listed_samples(tar: Path, matcher: Matcher, keys: frozenset[str] = frozenset()) -> Samples:
    """The samples of a tar that are listed: by what their json says, by their text, or by the bytes of their picture.

    Args:
        tar: the file.
        matcher: finds them.
        keys: of samples, without folders, that are listed wherever they stand.

    Raises:
        TarError: the tar cannot be read to its end.
        CannotClean: a sample's json cannot be read.
    """
    found = Samples(looked_up=frozenset({"url", "domain", "pair_id", "sha256"}))
    rows: list[_Row] = []
    with TarReader(tar) as reader:
        for number, key, members in _samples(reader):
            found.count = number + 1
            rows.append(_Row(number, key, _said(reader, members, hashes="sha256" in matcher.kinds)))
            if len(rows) == _AT_ONCE:
                _look(rows, matcher, keys, found)
                rows = []
    _look(rows, matcher, keys, found)
    return found


def write_without(tar: Path, numbers: set[int], fresh: Path) -> None:
    """Write a tar again without some samples: every other member as it is, with its header, in its order.

    Raises:
        TarError: the tar cannot be read to its end.
    """
    with TarReader(tar) as reader, fresh.open("wb") as file:
        for start, end in _kept(reader, numbers):
            for at in range(start, end, _CHUNK):
                file.write(reader.read(at, min(_CHUNK, end - at)))
        file.truncate(tar_size(file.tell()))


def _look(rows: list[_Row], matcher: Matcher, keys: frozenset[str], found: Samples) -> None:
    """Add to what was found what of some samples is listed."""
    by_key = [place for place, row in enumerate(rows) if row.key in keys]
    those = listed([row.said for row in rows], matcher, by_key)
    found.looked_up &= those.looked_up
    found.pair_ids |= those.pair_ids
    found.numbers |= {rows[place].number for place in those.places}
    found.keys |= {rows[place].key for place in those.places}


def _samples(reader: TarReader) -> Iterator[tuple[int, str, list[tuple[str, Member]]]]:
    """Number, key without folders, and members by extension of every sample."""
    number, before = -1, None
    members: list[tuple[str, Member]] = []
    for member in reader.members():
        key, extension = key_and_extension(member.name) or (None, "")
        if key is None:
            continue
        if key != before:
            if before is not None:
                yield number, before.rpartition("/")[2], members
            number, before, members = number + 1, key, []
        members.append((extension, member))
    if before is not None:
        yield number, before.rpartition("/")[2], members


def _kept(reader: TarReader, numbers: set[int]) -> Iterator[tuple[int, int]]:
    """The ranges of bytes that stay: of each member from the end of the one before, with all headers that it has."""
    number, before, start, at = -1, None, 0, 0
    for member in reader.members():
        end = member.offset + member_size(member.size) - member_size(0)
        key, _ = key_and_extension(member.name) or (None, "")
        if key is not None and key != before:
            number, before = number + 1, key
        if key is not None and number in numbers:
            if at > start:
                yield start, at
            start = end
        at = end
    if at > start:
        yield start, at


def _said(reader: TarReader, members: list[tuple[str, Member]], *, hashes: bool) -> Said:
    told: Said = {}
    for extension, member in members:
        if extension == "json":
            told |= said(_json(reader, member))
        elif extension == "txt" and member.size <= _TEXT:
            told["text"] = reader.read(member.offset, member.size).decode(errors="replace")
        elif extension in PICTURE_EXTENSIONS and hashes:
            digest = hashlib.sha256()
            for at in range(0, member.size, _CHUNK):
                digest.update(reader.read(member.offset + at, min(_CHUNK, member.size - at)))
            told["image_sha256"] = digest.hexdigest()
    return told


def _json(reader: TarReader, member: Member) -> dict[str, Any]:
    try:
        return _JSON.decode(reader.read(member.offset, member.size))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CannotClean(f"{member.name} in it is no JSON object: {error}") from error
