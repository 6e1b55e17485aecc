"""Writing a lost ``lake.json`` again, from what the tables say of the lake they lie in.

Commits name the lake's shape. Those of the first lakes do not: there its numbers follow from the rows, where only one
fits them, since what rows are spread by is the remainder of another column. Nothing is guessed.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.commits import RECORD_KEY
from laion_assets.delta.errors import LakeError, MarkerDamaged
from laion_assets.delta.marker import (
    LAKE_KEY,
    LOG,
    MARKER,
    MOST_PARTITIONS,
    Marker,
    new_marker,
    read_marker,
    tables_in,
    told,
)
from laion_assets.delta.seals import entry_lines
from laion_assets.delta.storage import Storage

_ENTRY = re.compile(r"\d{20}\.json")


@dataclass
class _Numbers:
    """The numbers that fit every row seen so far."""

    divisor: int = 0
    largest: int = -1
    stated: set[int] = field(default_factory=set)
    """Numbers that commits state."""

    def see(self, ids: pl.Series, places: pl.Series) -> None:
        """Take in rows whose place is their id modulo the number sought."""
        for number, place in zip(ids.to_list(), places.to_list(), strict=True):
            self.divisor = math.gcd(self.divisor, (number % 2**64) - place)
            self.largest = max(self.largest, place)

    @property
    def fitting(self) -> list[int]:
        """What the number can be; empty where there is nothing to go by, or no number fits."""
        if self.stated:
            return sorted(self.stated)
        if self.divisor == 0:
            return []
        return [n for n in range(self.largest + 1, MOST_PARTITIONS + 1) if self.divisor % n == 0]

    def agree(self, number: int) -> bool:
        """Whether a number that somebody names fits all that is known."""
        if self.stated:
            return self.stated == {number}
        return number > self.largest and self.divisor % number == 0


def restore_marker(storage: Storage, catalogue: Catalogue, given: Mapping[str, int | None]) -> tuple[Marker, bool]:
    """Write ``lake.json`` again from what the tables say.

    Args:
        storage: of the lake.
        catalogue: the tables it is made for.
        given: the numbers of its shape, None where the tables are to tell them; what is given must agree with them.

    Returns:
        What it says, and whether it had to be written.

    Raises:
        LakeError: there are no tables, they do not tell a number that was not given, they tell another than was given,
            or the lake is of a newer format.
    """
    try:
        sound = read_marker(storage, catalogue)
    except MarkerDamaged:
        sound = None
    else:
        if sound is None:
            raise LakeError(f"there is no lake at {storage.uri}, nor tables of one: --lake names another")
    if sound is not None:
        if any(given.get(name) not in (None, number) for name, number in sound.shape.items()):
            raise LakeError(f"{MARKER} of {storage.uri} is sound and says {told(sound.shape)}: they cannot be changed")
        return sound, False
    found = {name: _Numbers() for name in catalogue.shape}
    oldest = _stated(storage, catalogue, found)
    if not all(numbers.stated for numbers in found.values()):
        _read_rows(storage, catalogue, found)
    marker = new_marker({name: _settled(storage, name, found, given) for name in found})
    if oldest is not None:
        marker = replace(marker, created_at=oldest)
    storage.replace(MARKER, marker.to_bytes())
    return marker, True


def _settled(storage: Storage, name: str, found: Mapping[str, _Numbers], given: Mapping[str, int | None]) -> int:
    numbers, asked = found[name], given.get(name)
    fitting = numbers.fitting
    if asked is not None:
        if not numbers.agree(asked):
            says = f"the tables say {fitting[0]}" if len(fitting) == 1 else "that does not fit their rows"
            raise LakeError(f"--{name} {asked}: {says}")
        return asked
    if len(fitting) == 1:
        return fitting[0]
    several = f"could be {', '.join(map(str, fitting[:5]))}{' …' if len(fitting) > 5 else ''}" if fitting else "unknown"
    raise LakeError(
        f"the tables at {storage.uri} do not tell how many {name} the lake has ({several}): give the number it was "
        f"made with, `laion restore --{name} N` (LAION_{name.upper()} then; the default is 4)"
    )


def log_entries(storage: Storage, table: str) -> list[str]:
    """The names of a table's log entries, oldest first."""
    names = (file.name for file in storage.files(f"{table}/{LOG}"))
    return sorted(name for name in names if _ENTRY.fullmatch(name.rpartition("/")[2]))


def commit_info(content: bytes) -> dict[str, Any]:
    """What an entry of a log says of its making; nothing where that cannot be read."""
    for line in entry_lines(content.decode(errors="replace")):
        try:
            action = json.loads(line)
        except ValueError:
            continue
        if isinstance(action, dict) and isinstance(action.get("commitInfo"), dict):
            return dict(action["commitInfo"])
    return {}


def _stated(storage: Storage, catalogue: Catalogue, found: Mapping[str, _Numbers]) -> str | None:
    """Take in what commits state; gives the time of the oldest entry."""
    oldest: float | None = None
    for table in tables_in(storage, catalogue):
        entries = log_entries(storage, table)
        for place, name in enumerate(reversed(entries)):
            info = commit_info(storage.read(name))
            said = _numbers_in(catalogue, info)
            for what, number in said.items():
                found[what].stated.add(number)
            if len(said) == len(found) or (place >= _LOOKED_AT and not said):
                break
        if entries:
            first = commit_info(storage.read(entries[0])).get("timestamp")
            if isinstance(first, int):
                oldest = min(first, oldest or first)
    for name, numbers in found.items():
        if len(numbers.stated) > 1:
            told = ", ".join(map(str, sorted(numbers.stated)))
            raise LakeError(f"the tables at {storage.uri} were written in lakes of different numbers of {name}: {told}")
    return datetime.fromtimestamp(oldest / 1000, UTC).isoformat(timespec="seconds") if oldest is not None else None


_LOOKED_AT = 50
"""Entries of a log that are read before it is taken for one that does not say what lake it is of."""


def _numbers_in(catalogue: Catalogue, info: Mapping[str, Any]) -> dict[str, int]:
    try:
        lake = json.loads(info[LAKE_KEY])
        return {name: int(lake[name]) for name in catalogue.shape}
    except (KeyError, ValueError, TypeError):
        pass
    try:  # what reads all partitions of its period counts them in its record
        record = json.loads(info[RECORD_KEY])
        counted = _counted(catalogue, record["table"])
        return {name: int(record["upstreams"][table]["partitions"]) for name, table in counted.items()}
    except (KeyError, ValueError, TypeError):
        pass
    return {}


def _counted(catalogue: Catalogue, table: str) -> dict[str, str]:
    """By number of the shape, what a table reads as many partitions of: those of its period, spread by that alone."""
    declared, found = catalogue.tables[table], {}
    for read in declared.reads:
        spread = {*catalogue.tables[read.table].partition_by} - {*declared.partition_by}
        if read.periods == "same" and len(spread) == 1 and spread <= catalogue.counts.keys():
            found[catalogue.counts[spread.pop()]] = read.table
    return found


def _read_rows(storage: Storage, catalogue: Catalogue, found: Mapping[str, _Numbers]) -> None:
    for table in catalogue.tables.values():
        for column in table.columns:
            if column.numbered is None or column.numbered.of not in table.schema.names:
                continue
            numbers = found[column.numbered.count]
            for rows in _rows(storage, table.name, column.numbered.of, column.name):
                if numbers.stated or len(numbers.fitting) == 1:
                    break
                numbers.see(rows[column.numbered.of], rows[column.name])


def _rows(storage: Storage, table: str, number: str, place: str) -> Iterator[pl.DataFrame]:
    """Two columns of every data file of a table; files that cannot be read are passed over."""
    for file in storage.files(table):
        path = file.name.removeprefix(f"{table}/")
        if not path.endswith(".parquet") or path.startswith("_"):
            continue
        fixed = re.search(rf"(?:^|/){place}=(\d+)/", path)
        try:
            with storage.local(file.name) as local:
                rows = pl.read_parquet(local, columns=[number, *(() if fixed else (place,))], hive_partitioning=False)
        except (OSError, pl.exceptions.PolarsError):
            continue
        yield rows.with_columns(pl.lit(int(fixed[1])).alias(place)) if fixed else rows
