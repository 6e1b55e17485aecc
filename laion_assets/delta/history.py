"""What the Delta logs of a lake say: every commit of every table, as of any version, and the files of any version.

Needs no declarations: tables are the subfolders that hold a Delta log, partition columns are those of its metadata.
Every log and every version's list of files is read once.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake.exceptions import DeltaError

from laion_assets.delta.commits import Commit, Ledger, parse
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name, partition_values


@dataclass(frozen=True)
class LogEntry:
    """One version of a table: what made it."""

    version: int
    operation: str
    timestamp_ms: int
    commit: Commit | None
    """The record of the partition that was published, where there is one."""
    foreign: bool
    """Whether rows were written without a record: which ones cannot be known from the log's records."""


@dataclass
class TableHistory:
    """Every commit of one table, oldest first, up to :attr:`version`."""

    table: str
    version: int
    entries: list[LogEntry] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    """Versions that replaced the table: no partition written before is there after."""
    commits: dict[str, list[Commit]] = field(default_factory=dict)
    """By partition, its commits in the order of their versions."""
    _groups: dict[tuple[str, ...], dict[tuple[str, ...], list[str]]] = field(default_factory=dict, repr=False)

    def commit_at(self, partition: str, version: int) -> Commit | None:
        """The record that ``partition`` had at ``version``: the last one up to it."""
        made = self.commits.get(partition, [])
        place = bisect_right(made, version, key=lambda commit: commit.version)
        if place == 0 or self._reset_between(made[place - 1].version, version):
            return None
        return made[place - 1]

    def partitions_at(self, version: int) -> list[Commit]:
        """The records of all partitions at ``version``, by name."""
        found = (self.commit_at(name, version) for name in sorted(self.commits))
        return [commit for commit in found if commit is not None]

    def replaced_in(self, commit: Commit) -> int | None:
        """The version that wrote the same partition anew, or replaced the table; None where the commit is live."""
        made = self.commits[commit.partition]
        later = [c.version for c in made[bisect_right(made, commit.version, key=lambda c: c.version) :][:1]]
        later += self.resets[bisect_right(self.resets, commit.version) :][:1]
        return min(later, default=None)

    def foreign_between(self, after: int, version: int) -> tuple[LogEntry, ...]:
        """Writes without a record in the versions after ``after``, up to ``version``."""
        return tuple(e for e in self.foreign if after < e.version <= version)

    @cached_property
    def foreign(self) -> tuple[LogEntry, ...]:
        """All writes without a record."""
        return tuple(entry for entry in self.entries if entry.foreign)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The partition columns that the names of partitions tell of."""
        return tuple(dict.fromkeys(column for name in self.commits for column in partition_values(name)))

    def entry(self, version: int) -> LogEntry:
        """What made ``version``.

        Raises:
            LakeError: there is no such version.
        """
        oldest = self.entries[0].version if self.entries else 0
        if not oldest <= version <= self.version:
            raise LakeError(f"{self.table} has no version {version}: its versions are {oldest} to {self.version}")
        return self.entries[version - oldest]

    def groups(self, columns: Sequence[str]) -> Mapping[tuple[str, ...], list[str]]:
        """The names of all partitions there ever were, by their values of ``columns``."""
        wanted = tuple(columns)
        if wanted not in self._groups:
            found: dict[tuple[str, ...], list[str]] = defaultdict(list)
            for name in self.commits:
                values = partition_values(name)
                if all(column in values for column in wanted):
                    found[tuple(values[column] for column in wanted)].append(name)
            self._groups[wanted] = dict(found)
        return self._groups[wanted]

    def _reset_between(self, after: int, version: int) -> bool:
        return bisect_right(self.resets, version) > bisect_right(self.resets, after)


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of one version of a table."""

    partition: str
    values: Mapping[str, Any]
    """Value of every partition column."""
    name: str
    """Of the file, in the lake."""
    path: str
    """Where DuckDB and polars read it."""
    rows: int | None
    ranges: Mapping[str, tuple[int, int]]
    """By column, the smallest and the largest number in it, of numbers that are keys and of which the log says so."""
    bytes: int | None = None
    """Its size, where the log says so."""


@dataclass(frozen=True)
class Snapshot:
    """The schema and the files of one version of a table."""

    table: str
    version: int
    schema: pa.Schema
    partition_by: tuple[str, ...]
    files: tuple[DataFile, ...]

    @property
    def vectors(self) -> frozenset[str]:
        """Columns that hold lists of real numbers: compared, but never shown."""
        return frozenset(f.name for f in self.schema if pa.types.is_list(f.type) and _is_real(f.type.value_type))

    def of(self, partitions: Collection[str]) -> list[DataFile]:
        """The files of these partitions."""
        return [file for file in self.files if file.partition in partitions]


@dataclass
class LakeHistory:
    """The logs of a lake's tables; each is read once."""

    lake: Lake
    _histories: dict[str, TableHistory] = field(default_factory=dict, repr=False)
    _snapshots: dict[tuple[str, int], Snapshot] = field(default_factory=dict, repr=False)

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Every Delta table in the lake: the catalogue's in the order in which data flows, then the others by name."""
        found = [name for name in self.lake.storage.folders() if self.lake.exists(name)]
        return tuple(sorted(found, key=self.lake.catalogue.place))

    def of(self, table: str) -> TableHistory:
        """The history of ``table``.

        Raises:
            LakeError: there is no such table.
        """
        if table not in self.tables:
            raise LakeError(
                f"{self.lake.uri} has no table {table}"
                + (", which has not been built yet" if table in self.lake.catalogue.tables else "")
                + f"; it has {', '.join(self.tables)}"
            )
        if table not in self._histories:
            self._histories[table] = _history(self.lake, table)
        return self._histories[table]

    def snapshot(self, table: str, version: int) -> Snapshot:
        """The files of ``table`` at ``version``. That they are listed does not mean that they are still there.

        Raises:
            LakeError: there is no such table or version.
        """
        self.of(table).entry(version)
        if (table, version) not in self._snapshots:
            self._snapshots[table, version] = _snapshot(self.lake, table, version)
        return self._snapshots[table, version]


def lost(lake: Lake, files: Iterable[DataFile]) -> list[DataFile]:
    """Those of the files that are no longer there: vacuumed away."""
    asked = list(files)
    folders = {str(PurePosixPath(file.name).parent) for file in asked}
    there = {found.name for folder in folders for found in lake.storage.files(folder)}
    return [file for file in asked if file.name not in there]


def _history(lake: Lake, table: str) -> TableHistory:
    delta = lake.opened(table)
    version = delta.version()
    history = TableHistory(table, version)
    ledger = Ledger()
    for entry in lake.entries(table, delta, version + 1):
        known, foreign = bool(ledger.commits), ledger.foreign_version
        with lake.reading(table):
            ledger.advance([entry], entry["version"], None)
            commit = parse(entry)
        if commit is not None:
            history.commits.setdefault(commit.partition, []).append(commit)
        elif known and not ledger.commits:
            history.resets.append(entry["version"])
        is_foreign = ledger.foreign_version != foreign
        history.entries.append(
            LogEntry(entry["version"], entry["operation"], entry.get("timestamp", 0), commit, is_foreign)
        )
    return history


def _snapshot(lake: Lake, table: str, version: int) -> Snapshot:
    try:
        delta = lake.opened(table, version)
        actions = pa.table(delta.get_add_actions(flatten=True))
    except DeltaError as error:
        raise LakeError(f"version {version} of {table} cannot be read: {error}") from error
    columns = tuple(delta.metadata().partition_columns)
    sought = [name for name in lake.catalogue.key_numbers if {f"min.{name}", f"max.{name}"} <= {*actions.column_names}]
    needed = {"path", "num_records", "size_bytes", *(f"partition.{column}" for column in columns)}
    needed |= {f"{end}.{name}" for name in sought for end in ("min", "max")}
    files = []
    for action in actions.select([name for name in actions.column_names if name in needed]).to_pylist():
        values = {column: action[f"partition.{column}"] for column in columns}
        ends = {name: (action[f"min.{name}"], action[f"max.{name}"]) for name in sought}
        ranges = {name: found for name, found in ends.items() if all(isinstance(end, int) for end in found)}
        name = f"{table}/{unquote(action['path'])}"
        at, rows, size = lake.storage.address(name), action["num_records"], action.get("size_bytes")
        files.append(DataFile(partition_name(values), values, name, at, rows, ranges, size))
    files.sort(key=lambda file: (file.partition, file.path))
    return Snapshot(table, version, pa.schema(delta.schema().to_arrow()), columns, tuple(files))


def _is_real(type_: pa.DataType) -> bool:
    return bool(pa.types.is_floating(type_))
