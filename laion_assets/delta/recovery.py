"""Writing a lost ``lake.json`` again, from what the tables say of the lake they lie in.

Commits name the lake's shards and buckets. Those of the first lakes do not: there the numbers follow from the rows,
where only one number fits them, since a shard is a file's number modulo the shards, and a bucket the url's modulo the
buckets. Nothing is guessed.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from laion_assets.delta.errors import LakeError, MarkerDamaged
from laion_assets.delta.marker import LAKE_KEY, LOG, MARKER, MOST_PARTITIONS, Marker, new_marker, read_marker, tables_in
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


def restore_marker(storage: Storage, *, shards: int | None = None, buckets: int | None = None) -> tuple[Marker, bool]:
    """Write ``lake.json`` again from what the tables say.

    Args:
        storage: of the lake.
        shards: the number, where the tables do not tell it; must agree with them.
        buckets: the same.

    Returns:
        What it says, and whether it had to be written.

    Raises:
        LakeError: there are no tables, they do not tell a number that was not given, they tell another than was given,
            or the lake is of a newer format.
    """
    try:
        sound = read_marker(storage)
    except MarkerDamaged:
        sound = None
    else:
        if sound is None:
            raise LakeError(f"there is no lake at {storage.uri}, nor tables of one: --lake names another")
    if sound is not None:
        if (shards or sound.shards, buckets or sound.buckets) != (sound.shards, sound.buckets):
            raise LakeError(
                f"{MARKER} of {storage.uri} is sound and says {sound.shards} shards and {sound.buckets} buckets: they "
                "cannot be changed"
            )
        return sound, False
    found = {"shards": _Numbers(), "buckets": _Numbers()}
    oldest = _stated(storage, found)
    given = {"shards": shards, "buckets": buckets}
    if not all(numbers.stated for numbers in found.values()):
        _read_rows(storage, found)
    numbers = {name: _settled(storage, name, found, given) for name in found}
    marker = new_marker(numbers["shards"], numbers["buckets"])
    if oldest is not None:
        marker = Marker(marker.shards, marker.buckets, oldest)
    storage.replace(MARKER, marker.to_bytes())
    return marker, True


def _settled(storage: Storage, name: str, found: Mapping[str, _Numbers], given: Mapping[str, int | None]) -> int:
    numbers, asked = found[name], given[name]
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
    for line in content.splitlines():
        try:
            action = json.loads(line)
        except ValueError:
            continue
        if isinstance(action, dict) and isinstance(action.get("commitInfo"), dict):
            return dict(action["commitInfo"])
    return {}


def _stated(storage: Storage, found: Mapping[str, _Numbers]) -> str | None:
    """Take in what commits state; gives the time of the oldest entry."""
    oldest: float | None = None
    for table in tables_in(storage):
        entries = log_entries(storage, table)
        for place, name in enumerate(reversed(entries)):
            info = commit_info(storage.read(name))
            said = _numbers_in(info)
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


def _numbers_in(info: Mapping[str, Any]) -> dict[str, int]:
    try:
        lake = json.loads(info[LAKE_KEY])
        return {"shards": int(lake["shards"]), "buckets": int(lake["buckets"])}
    except (KeyError, ValueError, TypeError):
        pass
    try:  # deduplication reads every shard of its crawl, and its record counts them
        record = json.loads(info["laion"])
        if record["table"] == "unique_pairs":
            return {"shards": int(record["upstreams"]["candidate_pairs"]["partitions"])}
    except (KeyError, ValueError, TypeError):
        pass
    return {}


_TOLD_BY = (
    ("shards", "wat_files", "file_number", "shard"),
    ("buckets", "candidate_pairs", "url_id", "bucket"),
    ("buckets", "unique_pairs", "url_id", "bucket"),
)


def _read_rows(storage: Storage, found: Mapping[str, _Numbers]) -> None:
    for what, table, number, place in _TOLD_BY:
        for rows in _rows(storage, table, number, place):
            if found[what].stated or len(found[what].fitting) == 1:
                break
            found[what].see(rows[number], rows[place])


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
