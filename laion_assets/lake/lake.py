"""The lake: a folder of Delta tables, created once with fixed numbers of shards and buckets."""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from laion_assets.lake.catalogue import Table
from laion_assets.lake.commits import REPLACED, Commit, Ledger
from laion_assets.lake.errors import LakeError, LakeMismatch
from laion_assets.lake.partition import Partition, ordered, partition_name
from laion_assets.lake.tables import TABLES

_MARKER = "lake.json"
# delta-rs makes a url of a table's path: with some of these it panics, with others it goes elsewhere. DuckDB expands
# patterns, and takes `name=value` for a partition.
_UNUSABLE = re.compile(r"[\[\]{}^|*?#=]|\\|%[0-9A-Fa-f]{2}")
_CONFIGURATION = {
    # Without this the log entries, and the lineage in them, would be deleted after 30 days.
    "delta.enableExpiredLogCleanup": "false",
}


@dataclass
class Lake:
    """An opened lake. Get one by :meth:`open`."""

    root: Path
    shards: int
    buckets: int
    tables: dict[str, Table] = field(default_factory=lambda: dict(TABLES), repr=False)
    """The declared tables by name: the catalogue's, and those that :meth:`declare` added."""
    _ledgers: dict[str, Ledger] = field(default_factory=dict, repr=False)
    _still: bool = field(default=False, repr=False)

    @classmethod
    def open(cls, uri: str, *, shards: int = 4, buckets: int = 4, create: bool = True) -> "Lake":
        """Open the lake at ``uri``, a local folder; make it first where there is none and ``create`` is true.

        Raises:
            LakeMismatch: the lake was created with other numbers of shards or buckets.
            LakeError: there is no lake and ``create`` is false, or ``uri`` cannot hold one.
        """
        root = _local_root(uri)
        marker = root / _MARKER
        if not marker.is_file():
            if not create:
                raise LakeError(
                    f"there is no lake at {root}: `laion build` or `laion demo` makes one, --lake names another"
                )
            _write_marker(marker, shards, buckets)
        recorded = json.loads(marker.read_text())
        if (recorded["shards"], recorded["buckets"]) != (shards, buckets):
            raise LakeMismatch(
                f"the lake at {root} was created with {recorded['shards']} shards and {recorded['buckets']} buckets, "
                f"the settings say {shards} and {buckets}: set LAION_SHARDS={recorded['shards']} "
                f"LAION_BUCKETS={recorded['buckets']}, or name another lake"
            )
        lake = cls(root=root, shards=shards, buckets=buckets)
        lake.table("takedowns")  # there from the first day, so that nobody can forget to read it
        return lake

    @classmethod
    def recorded_shape(cls, uri: str) -> tuple[int, int] | None:
        """(shards, buckets) of the lake at ``uri``, or None where there is none."""
        marker = _local_root(uri) / _MARKER
        if not marker.is_file():
            return None
        recorded = json.loads(marker.read_text())
        return recorded["shards"], recorded["buckets"]

    @classmethod
    def at(cls, uri: str) -> "Lake":
        """Open an existing lake, whatever its shape.

        Raises:
            LakeError: there is none.
        """
        shards, buckets = cls.recorded_shape(uri) or (4, 4)
        return cls.open(uri, shards=shards, buckets=buckets, create=False)

    def declare(self, tables: Iterable[Table]) -> None:
        """Make tables known that the catalogue does not declare, such as those of SQL models.

        Raises:
            LakeError: the catalogue has a table of that name.
        """
        for table in tables:
            if table.name in TABLES:
                raise LakeError(f"the catalogue declares {table.name} already: choose another name")
            self.tables[table.name] = table

    def path(self, table: str) -> str:
        """Where the table lies, for any Delta reader."""
        return str(self.root / table)

    @property
    def files(self) -> Path:
        """Folder of what lies beside the tables: tars, encoders."""
        return self.root / "files"

    @property
    def staging(self) -> Path:
        """Folder of rows on their way into a table, and of what an interrupted step will go on from."""
        return self.root / ".staging"

    def exists(self, table: str) -> bool:
        """Whether the table was created."""
        return DeltaTable.is_deltatable(self.path(table))

    def table(self, name: str, version: int | None = None) -> DeltaTable:
        """The Delta table, created with its declared schema if nobody did. Safe to race."""
        path = self.path(name)
        if not self.exists(name):
            self._create(name)
        return DeltaTable(path, version=version)

    def _create(self, name: str, attempts: int = 50) -> None:
        # Racing creators fail with one of several errors, and only one of them made the table: look, then try again.
        last: Exception | None = None
        for attempt in range(attempts):
            try:
                self._create_table(name, mode="error")
            except (DeltaError, OSError) as error:
                last = error
                if self.exists(name):
                    return
                time.sleep(0.01 * (attempt + 1))
            else:
                return
        raise LakeError(f"could not create {name} at {self.path(name)}: {last}") from last

    def _create_table(self, name: str, mode: Literal["error", "overwrite"]) -> None:
        declared = self.tables[name]
        DeltaTable.create(
            self.path(name),
            schema=declared.schema,
            partition_by=list(declared.partition_by),
            mode=mode,
            name=name,
            description=declared.description,
            configuration=_CONFIGURATION,
            commit_properties=CommitProperties(custom_metadata={REPLACED: "true"}) if mode == "overwrite" else None,
        )

    def conform(self, name: str) -> None:
        """Give a table the columns that are declared for it now. Where they differ, all its partitions go.

        The versions before stay readable. Only for tables of SQL models: their columns are what their SQL says.
        """
        if not self.exists(name) or _same_columns(DeltaTable(self.path(name)), self.tables[name]):
            return
        self.staging.mkdir(parents=True, exist_ok=True)
        with (self.staging / f"{name}.columns.lock").open("w") as lock:
            # Without the lock a second process could replace what a first has already replaced and filled.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _same_columns(DeltaTable(self.path(name)), self.tables[name]):
                self._create_table(name, mode="overwrite")

    def ledger(self, table: str) -> Ledger:
        """The last commit of every partition of ``table``, brought up to date."""
        if self._still and table in self._ledgers:
            return self._ledgers[table]
        ledger = self._ledgers.setdefault(table, Ledger())
        if self.exists(table):
            delta = DeltaTable(self.path(table))
            version = delta.version()
            if version > ledger.version:
                # history() goes back from the newest entry of the log, which may be younger than the version that was
                # loaded, and yet numbers from that version down: take the oldest entries and number them anew.
                count = version - ledger.version
                entries = delta.history(limit=count)[-count:]
                numbered = [{**entry, "version": version - place} for place, entry in enumerate(entries)]
                ledger.advance(reversed(numbered), version)
        return ledger

    def ledger_at(self, table: str, version: int) -> Ledger:
        """The last commit of every partition of ``table`` as it was at ``version``; -1: before it was made.

        Raises:
            LakeError: the table has no such version.
        """
        newest = self.table(table).version() if self.exists(table) else -1
        if not -1 <= version <= newest:
            has = f"has the versions 0 to {newest}" if newest >= 0 else "was never built"
            raise LakeError(f"{table} {has}, and its version {version} was asked for")
        ledger = Ledger()
        if version < 0:
            return ledger
        entries = self.table(table, version).history()
        numbered = [{**entry, "version": version - place} for place, entry in enumerate(entries[-(version + 1) :])]
        ledger.advance(reversed(numbered), version)
        return ledger

    def at_rest(self) -> "Lake":
        """The lake as it is now, for a judgement over many partitions: later commits are not seen."""
        ledgers = {name: self.ledger(name).snapshot() for name in self.tables}
        return Lake(self.root, self.shards, self.buckets, self.tables, ledgers, _still=True)

    def commit(self, table: str, partition: Partition) -> Commit | None:
        """The last commit of one partition, or None where it was never built."""
        return self.ledger(table).commits.get(partition_name(ordered(self.tables[table], partition)))

    def partition_files(self, table: str, partitions: Iterable[Partition], version: int) -> list[str]:
        """Paths of the Parquet files that hold exactly these partitions at ``version``."""
        wanted = {partition_name(ordered(self.tables[table], p)) for p in partitions}
        return [path for name, path, _ in self._data_files(table, version) if name in wanted] if wanted else []

    def partition_sizes(self, table: str, partition: Partition) -> list[tuple[str, int]]:
        """(path, bytes) of each file of one partition as it is now."""
        wanted = partition_name(ordered(self.tables[table], partition))
        return [(path, size) for name, path, size in self._data_files(table, None) if name == wanted]

    def _data_files(self, table: str, version: int | None) -> Iterator[tuple[str, str, int]]:
        actions = pa.table(self.table(table, version).get_add_actions(flatten=True))
        columns = self.tables[table].partition_by
        paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
        fixed = [actions.column(f"partition.{c}").to_pylist() for c in columns]
        values = zip(*fixed, strict=True) if fixed else [()] * len(paths)
        for path, size, partition in zip(paths, sizes, values, strict=True):
            name = partition_name(dict(zip(columns, partition, strict=True)))
            yield name, str(self.root / table / unquote(path)), size

    def rows(
        self, table: str, partition: Partition, columns: Sequence[str], *, first: int | None = None
    ) -> pl.DataFrame:
        """Some columns of one partition as it is now, the ``first`` rows or all; none where it was never built."""
        files = [path for path, _ in self.partition_sizes(table, partition)] if self.exists(table) else []
        if not files:
            return pl.DataFrame(schema=list(columns))
        return pl.read_parquet(files, columns=list(columns), n_rows=first, hive_partitioning=False)

    def sizes(self, table: str) -> Mapping[str, int]:
        """Version, partitions, files, rows and bytes of a table as it is now."""
        if not self.exists(table):
            return {"version": -1, "partitions": 0, "files": 0, "rows": 0, "bytes": 0}
        delta = self.table(table)
        actions = pa.table(delta.get_add_actions(flatten=True))
        return {
            "version": delta.version(),
            "partitions": len(self.ledger(table).commits),
            "files": actions.num_rows,
            "rows": sum(n or 0 for n in actions.column("num_records").to_pylist()),
            "bytes": sum(actions.column("size_bytes").to_pylist()),
        }


def _same_columns(table: DeltaTable, declared: Table) -> bool:
    found = pa.schema(table.schema().to_arrow())
    return {f.name: f.type for f in found} == {f.name: f.type for f in declared.schema} and tuple(
        table.metadata().partition_columns
    ) == declared.partition_by


def _local_root(uri: str) -> Path:
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    if "://" in uri:
        raise LakeError(f"a lake is a local folder so far, not {uri!r}: set LAION_LAKE to a path")
    root = Path(uri).expanduser().resolve()
    unusable = _UNUSABLE.search(str(root))
    if unusable is not None:
        raise LakeError(
            f"tables cannot be written below {root}: {unusable[0]!r} in it; choose another path for the lake"
        )
    return root


def _write_marker(marker: Path, shards: int, buckets: int) -> None:
    # Linking fails if the name exists: of two creators one wins, and both then read the same numbers.
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(f"cannot make a lake at {marker.parent}: {error}") from error
    fresh = marker.with_name(f"{_MARKER}.{os.getpid()}")
    content = {"shards": shards, "buckets": buckets, "created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    fresh.write_text(json.dumps(content) + "\n")
    try:
        os.link(fresh, marker)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
