"""Finding a few rows in a version of a table: by partition, by the log's statistics, by row group, in that order."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from laion_assets.common.duck import identifier
from laion_assets.delta.engine import open_engine
from laion_assets.delta.history import DataFile, LakeHistory, Snapshot, lost
from laion_assets.delta.partition import literal

_FILE = "__file"

Facts = Mapping[str, Any]
"""What rows must hold: a value by column."""


@dataclass
class Found:
    """Rows of one partition."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """The first of them in the order of the table's key, partition columns included, vectors left out: as many as the
    finder returns at most."""
    total: int = 0
    """How many there are."""
    version: int = -1
    """The version they were read at."""
    gone: bool = False
    """Whether files of the version asked for were vacuumed away. If there are rows all the same, they come from
    :attr:`version`, where the partition has the same content digest."""


class RowFinder:
    """Looks rows up; a context manager that gives the engine's memory back."""

    def __init__(self, history: LakeHistory, *, most: int = 20) -> None:
        """Make a finder.

        Args:
            history: the lake's logs.
            most: how many rows one search returns at most, the first in the order of the key; all are counted.
        """
        self._history = history
        self._most = most
        self._spill = tempfile.TemporaryDirectory(prefix="laion-rows-")
        self._con = open_engine(Path(self._spill.name), history.lake.storage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._con.close()
        self._spill.cleanup()

    def find(self, table: str, version: int, facts: Facts, partitions: Iterable[str] | None = None) -> dict[str, Found]:
        """The rows of ``table`` at ``version`` that hold ``facts``, by partition.

        Args:
            table: the table.
            version: the version to read.
            facts: values by column. Columns the table does not have, and values that are None, are passed over; if
                nothing is left, nothing is found.
            partitions: where to look; None: everywhere.

        Returns:
            Partitions that hold such rows, and those that cannot be read any more and could have.

        Raises:
            LakeError: there is no such version.
        """
        snapshot = self._history.snapshot(table, version)
        known = {c: v for c, v in facts.items() if c in snapshot.schema.names and v is not None}
        wanted = {c: v for c, v in known.items() if c not in snapshot.partition_by}
        if not wanted and not known:
            return {}
        places = None if partitions is None else set(partitions)
        files = [
            file
            for file in snapshot.files
            if (places is None or file.partition in places) and _may_hold(file, known, snapshot.partition_by)
        ]
        missing = {file.partition for file in lost(self._history.lake, files)}
        found = self._read(snapshot, [f for f in files if f.partition not in missing], wanted)
        for partition in missing:
            found[partition] = self._elsewhere(table, version, partition, facts)
        return found

    def _elsewhere(self, table: str, version: int, partition: str, facts: Facts) -> Found:
        """The rows of a partition whose files are gone, from the newest version if its content is still the same."""
        history = self._history.of(table)
        then, now = history.commit_at(partition, version), history.commit_at(partition, history.version)
        gone = Found(gone=True)
        untouched = now is not None and not history.foreign_between(now.version, history.version)
        if then is None or now is None or then.content_digest != now.content_digest or not untouched:
            return gone
        newest = self._history.snapshot(table, history.version)
        if version == history.version or lost(self._history.lake, newest.of({partition})):
            return gone
        found = self.find(table, history.version, facts, [partition]).get(partition, gone)
        found.gone = True
        return found

    def _read(self, snapshot: Snapshot, files: list[DataFile], wanted: Facts) -> dict[str, Found]:
        if not files:
            return {}
        known = {name: value if isinstance(value, int) else str(value) for name, value in wanted.items()}
        condition = " AND ".join(f"{identifier(name)} = {literal(value)}" for name, value in known.items()) or "true"
        source = _source(files)
        present = {row[0] for row in self._con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        if not set(wanted) <= present:  # in the schema, but null in all of these files
            return {}
        counts = self._con.execute(f"SELECT {_FILE}, count(*) FROM {source} WHERE {condition} GROUP BY ALL").fetchall()
        by_path = {file.path: file for file in files}
        found: dict[str, Found] = {}
        for path, rows in counts:
            found.setdefault(by_path[path].partition, Found(version=snapshot.version)).total += rows
        shown = [f.name for f in snapshot.schema if f.name in present and f.name not in snapshot.vectors]
        declared = self._history.lake.catalogue.tables.get(snapshot.table)
        key = [column for column in (declared.key if declared is not None else ()) if column in shown]
        found_in = [by_path[path] for path, _ in counts]
        result = self._con.execute(
            f"SELECT {', '.join([_FILE, *map(identifier, shown)])} FROM {_source(found_in)}"
            f" WHERE {condition} ORDER BY {', '.join(map(identifier, key or shown))} LIMIT {self._most}"
            if counts
            else "SELECT NULL WHERE false"
        )
        for path, *values in result.fetchall():
            file = by_path[path]
            row = {**file.values, **dict(zip(shown, values, strict=True))}
            found[file.partition].rows.append({f.name: row.get(f.name) for f in snapshot.schema if f.name in row})
        return found


def _source(files: list[DataFile]) -> str:
    names = ", ".join(literal(file.path) for file in files)
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = true, filename = {literal(_FILE)})"


def _may_hold(file: DataFile, known: Facts, partition_by: tuple[str, ...]) -> bool:
    if any(column in known and str(file.values[column]) != str(known[column]) for column in partition_by):
        return False
    numbers = ((known[column], ends) for column, ends in file.ranges.items() if isinstance(known.get(column), int))
    return all(smallest <= number <= largest for number, (smallest, largest) in numbers)
