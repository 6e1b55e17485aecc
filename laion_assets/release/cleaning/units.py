"""What a copy consists of: files that change together, and files that are looked at alone."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laion_assets.release.cleaning.lists import is_list
from laion_assets.release.cleaning.staging import RECEIPT, RECORDS, is_staged
from laion_assets.release.feed import FEED

MANIFEST: Final = "manifest.json"
CROISSANT: Final = "croissant.json"

_ABOUT: Final = frozenset({MANIFEST, CROISSANT, FEED, RECEIPT})
"""Files about the others, directly in a copy: they are looked at last."""
_PROSE: Final = frozenset({".md", ".txt", ".html", ".htm", ".json", ".yaml", ".yml", ".cff", ".bib", ""})
_NO_ROWS: Final = re.compile(
    r"(?:^|.*/)(?:\.gitattributes|\.gitignore|_SUCCESS|\.cache/huggingface/.*\.(?:metadata|lock|TAG))"
)
_NUMBERED: Final = re.compile(r"(?P<name>.*)_(?P<number>\d+)\.(?:npy|parquet)")


@dataclass(frozen=True)
class Shard:
    """A tar as img2dataset writes it, with what stands beside it."""

    tar: str
    table: str | None
    counts: str | None


@dataclass(frozen=True)
class Vectors:
    """A table, and files of vectors whose rows are its rows."""

    table: str
    arrays: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A Parquet file."""

    path: str


@dataclass(frozen=True)
class Links:
    """A list of links as text."""

    path: str


@dataclass(frozen=True)
class Prose:
    """A text for people, or about the data."""

    path: str


@dataclass(frozen=True)
class Strange:
    """Something that is not understood."""

    path: str
    reason: str


Unit = Shard | Vectors | Table | Links | Prose | Strange


def survey(copy: Path) -> list[Unit]:
    """What a copy consists of, in the order of names. Its manifest, feed, receipt and Croissant file are left out.

    Args:
        copy: its folder.
    """
    files, strange = dict.fromkeys(sorted(_files(copy))), list[Unit]()
    for path in [path for path in files if (copy / path).is_symlink()]:
        strange.append(Strange(path, "it is a link: clean what it leads to, or put the file itself in its place"))
        del files[path]
    units: list[Unit] = [*strange, *_together(files)]
    units += [_alone(copy, path) for path in files]
    if (copy / ".git").exists():
        reason = "a history keeps what files were before: make a new one, and have the hub delete the old files"
        units.append(Strange(".git", reason))
    return sorted(units, key=path_of)


def path_of(unit: Unit) -> str:
    """What a unit is called: its first file."""
    if isinstance(unit, Shard):
        return unit.tar
    return unit.table if isinstance(unit, Vectors) else unit.path


def files_of(unit: Unit) -> list[str]:
    """The files of a unit."""
    if isinstance(unit, Shard):
        return [path for path in (unit.tar, unit.table, unit.counts) if path is not None]
    return [unit.table, *unit.arrays] if isinstance(unit, Vectors) else [path_of(unit)]


def _files(copy: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(copy):
        here = Path(folder).relative_to(copy)
        if here == Path():
            folders[:] = [name for name in folders if name not in (RECORDS, ".git")]
            names = [name for name in names if name not in _ABOUT]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*names, *links]:
            path = (here / name).as_posix()
            if not _NO_ROWS.fullmatch(path) and not is_staged(name):
                yield path


def _together(files: dict[str, None]) -> Iterator[Unit]:
    """The units of several files; takes their files out."""
    for tar in [path for path in files if path.endswith(".tar")]:
        table, counts = (
            name if (name := tar.removesuffix(".tar") + end) in files else None for end in (".parquet", "_stats.json")
        )
        unit = Shard(tar, table, counts)
        for path in files_of(unit):
            del files[path]
        yield unit
    arrays: dict[tuple[str, str], list[str]] = {}
    for path in files:
        if path.endswith(".npy") and (found := _NUMBERED.fullmatch(path)):
            arrays.setdefault((str(Path(path).parent.parent), found["number"]), []).append(path)
    tables = [path for path in files if path.endswith(".parquet")]
    for table in sorted(tables, key=lambda path: not Path(path).name.startswith("metadata")):
        found = _NUMBERED.fullmatch(table)
        beside = arrays.pop((str(Path(table).parent.parent), found["number"]), []) if found else []
        if beside:
            for path in (table, *beside):
                del files[path]
            yield Vectors(table, tuple(beside))


def _alone(copy: Path, path: str) -> Unit:
    suffix = Path(path).suffix.lower()
    if not (copy / path).stat().st_size:
        return Prose(path)
    if suffix == ".parquet":
        return Table(path)
    if is_list(copy / path):
        return Links(path)
    if suffix in _PROSE:
        return Prose(path)
    if suffix == ".npy":
        return Strange(path, "vectors without the table that says whose they are (expected …_NUMBER.parquet beside)")
    if suffix == ".index":
        return Strange(path, "an index of vectors: build it again from the cleaned vectors, or delete it")
    return Strange(path, "no kind of file that can be searched: delete it, or clean it by hand")
