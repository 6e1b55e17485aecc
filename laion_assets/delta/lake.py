"""The lake: Delta tables in a folder or bucket, created once with fixed numbers of shards and buckets."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from laion_assets.delta.commits import REPLACED, Commit, Ledger, damage_mark
from laion_assets.delta.errors import LakeError, LakeMismatch
from laion_assets.delta.ledger_cache import entry_digest, keep_ledger, kept_ledger
from laion_assets.delta.logs import LogDamaged, damaged_log, has_emptied_entry, left_without_log
from laion_assets.delta.marker import MARKER, Marker, new_marker, read_marker
from laion_assets.delta.partition import Partition, ordered, partition_name
from laion_assets.delta.seals import write_seal
from laion_assets.delta.storage import FolderStorage, Storage, open_storage
from laion_assets.delta.table import Table
from laion_assets.tables.catalogue import TABLES

_CONFIGURATION = {
    # Without this the log entries, and the lineage in them, would be deleted after 30 days.
    "delta.enableExpiredLogCleanup": "false",
}


@dataclass
class Lake:
    """An opened lake. Get one by :meth:`open`."""

    storage: Storage
    shards: int
    buckets: int
    tables: dict[str, Table] = field(default_factory=lambda: dict(TABLES), repr=False)
    """The declared tables by name: the catalogue's, and those that :meth:`declare` added."""
    _ledgers: dict[str, Ledger] = field(default_factory=dict, repr=False)
    _still: bool = field(default=False, repr=False)
    _there: set[str] = field(default_factory=set, repr=False)
    _absent: set[str] = field(default_factory=set, repr=False)
    _opened: dict[str, tuple[dict[str, str], DeltaTable]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, uri: str, *, shards: int = 4, buckets: int = 4, create: bool = True) -> "Lake":
        """Open the lake at ``uri``, a folder or ``s3://bucket/prefix``; make it first if there is none and ``create``.

        Raises:
            LakeMismatch: the lake was created with other numbers of shards or buckets.
            MarkerDamaged: there are tables, and ``lake.json`` is lost or damaged.
            LakeError: there is no lake and ``create`` is false, ``uri`` cannot hold one, or it is of a newer format.
        """
        storage = open_storage(uri)
        recorded = read_marker(storage)
        if recorded is None:
            if not create:
                raise LakeError(
                    f"there is no lake at {storage.uri}: `laion build` or `laion demo` makes one, --lake names another"
                )
            # Of two creators one wins, and both read its numbers.
            storage.create(MARKER, new_marker(shards, buckets).to_bytes())
            recorded = read_marker(storage)
        if recorded is None or (recorded.shards, recorded.buckets) != (shards, buckets):
            has, have = (recorded.shards, recorded.buckets) if recorded else (0, 0)
            raise LakeMismatch(
                f"the lake at {storage.uri} was created with {has} shards and {have} buckets, "
                f"the settings say {shards} and {buckets}: set LAION_SHARDS={has} "
                f"LAION_BUCKETS={have}, or name another lake"
            )
        lake = cls(storage=storage, shards=shards, buckets=buckets)
        lake.table("takedowns")  # there from the first day, so that nobody can forget to read it
        return lake

    @classmethod
    def recorded_shape(cls, uri: str) -> tuple[int, int] | None:
        """(shards, buckets) of the lake at ``uri``, or None where there is none.

        Raises:
            MarkerDamaged: there are tables, and ``lake.json`` is lost or damaged.
            LakeError: the lake is of a newer format.
        """
        marker = read_marker(open_storage(uri))
        return None if marker is None else (marker.shards, marker.buckets)

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

    @property
    def uri(self) -> str:
        """The lake as people name it: its folder, or ``s3://bucket/prefix``."""
        return self.storage.uri

    @property
    def name(self) -> str:
        """What the lake is called: the last part of where it lies."""
        return self.uri.rpartition("/")[2]

    @property
    def root(self) -> Path:
        """The lake's folder.

        Raises:
            LakeError: it is in a bucket.
        """
        if not isinstance(self.storage, FolderStorage):
            raise LakeError(f"{self.uri} is no folder of this machine, and this needs one")
        return self.storage.root

    @property
    def metadata(self) -> dict[str, str]:
        """What every commit says of the lake it is made in."""
        return Marker(self.shards, self.buckets, "").metadata

    def path(self, table: str) -> str:
        """Where the table lies, for any Delta reader."""
        return self.storage.address(table)

    @property
    def staging(self) -> Path:
        """Folder of rows on their way into a table, and of what an interrupted step will go on from."""
        return self.storage.scratch

    def exists(self, table: str) -> bool:
        """Whether the table was created.

        Raises:
            LogDamaged: it was, and its log is gone.
        """
        if table in self._there:
            return True
        found = DeltaTable.is_deltatable(self.path(table), storage_options=self.storage.delta_options or None)
        if found and not self.storage.is_local:  # asked again and again, over the network
            self._there.add(table)
        if not found and table not in self._absent:
            if left_without_log(self.storage, table):
                raise damaged_log(self.storage, table) or LogDamaged(f"{table} has lost its log")
            self._absent.add(table)
        return found

    def ensure_whole(self, table: str) -> None:
        """Make sure that readers which know nothing of seals see all of a table: they pass over an emptied log entry.

        Only in a folder: what is written to a bucket is there whole, or not.

        Raises:
            LogDamaged: an entry of its log has no content.
        """
        if self.storage.is_local and has_emptied_entry(self.storage, table):
            raise damaged_log(self.storage, table) or LogDamaged(f"the log of {table} has an emptied entry")

    def table(self, name: str, version: int | None = None) -> DeltaTable:
        """The Delta table, created with its declared schema if nobody did. Safe to race."""
        if not self.exists(name):
            self._create(name)
        return self.opened(name, version)

    def opened(self, name: str, version: int | None = None) -> DeltaTable:
        """The Delta table, which has to be there.

        Raises:
            LogDamaged: its log cannot be read.
        """
        with self.reading(name):
            return DeltaTable(self.path(name), version=version, storage_options=self.storage.delta_options or None)

    @contextmanager
    def reading(self, table: str) -> Iterator[None]:
        """Say in one line what a block says in eighty where the log of a table, or a record in it, is damaged.

        Raises:
            LogDamaged: it is.
        """
        try:
            yield
        except (DeltaError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            damaged = damaged_log(self.storage, table)
            if damaged is None:
                raise
            raise damaged from error

    def entries(self, table: str, delta: DeltaTable, count: int) -> list[dict[str, Any]]:
        """The last ``count`` entries of a table's log up to the version that was loaded, oldest first.

        Raises:
            LogDamaged: they cannot all be read.
        """
        with self.reading(table):
            found = _entries(delta, count)
        newest = delta.version()
        read = range(newest - count + 1, newest + 1)
        if len(found) < count or (self.storage.is_local and has_emptied_entry(self.storage, table, read)):
            damaged = damaged_log(self.storage, table)  # an emptied entry is passed over without a word
            if damaged is not None:
                raise damaged
        return found

    def _create(self, name: str, attempts: int = 50) -> None:
        # Racing creators fail with one of several errors, and only one of them made the table: look, then try again.
        last: Exception | None = None
        for attempt in range(attempts):
            try:
                self._create_table(name)
            except (DeltaError, OSError) as error:
                last = error
                if self.exists(name):
                    return
                self._absent.discard(name)
                time.sleep(0.01 * (attempt + 1))
            else:
                return
        raise LakeError(f"could not create {name} at {self.path(name)}: {last}") from last

    def _create_table(self, name: str) -> None:
        declared = self.tables[name]
        DeltaTable.create(
            self.path(name),
            schema=declared.schema,
            partition_by=list(declared.partition_by),
            mode="error",
            name=name,
            description=declared.description,
            configuration=_CONFIGURATION,
            commit_properties=CommitProperties(custom_metadata=self.metadata),
            storage_options=self.storage.delta_options or None,
        )
        write_seal(self.storage, name, 0)

    def conform(self, name: str) -> None:
        """Give a table the columns that are declared for it now. Where they differ, all its partitions go.

        The versions before stay readable. Only for tables of SQL models: their columns are what their SQL says.
        """
        declared = self.tables[name]
        while self.exists(name) and not _same_columns(before := self.opened(name), declared):
            try:
                write_deltalake(
                    before,
                    pa.RecordBatchReader.from_batches(declared.schema, iter(())),
                    mode="overwrite",
                    schema_mode="overwrite",
                    partition_by=list(declared.partition_by),
                    name=name,
                    description=declared.description,
                    commit_properties=CommitProperties(custom_metadata={REPLACED: "true", **self.metadata}),
                )
            except CommitFailedError:  # another process wrote since: perhaps what was to be written here
                continue
            write_seal(self.storage, name, before.version() + 1)

    def mark_damaged(self, commit: Commit, files: Iterable[str] = ()) -> None:
        """Make a partition stale, since its bytes are not as they were written: the next build makes it again.

        Args:
            commit: its last commit; a mark does nothing where it was published again meanwhile.
            files: the damaged files beside the table; none where the rows themselves are damaged.
        """
        table, mark = commit.table, damage_mark(commit, files)
        delta = self.opened(table)
        columns = list(delta.metadata().partition_columns)
        properties = CommitProperties(custom_metadata={**mark, **self.metadata}, max_commit_retries=200)
        delta.create_write_transaction([], "append", delta.schema(), columns, commit_properties=properties)
        after = self.opened(table)
        for entry in self.entries(table, after, after.version() - commit.version):
            if mark.items() <= entry.items():
                write_seal(self.storage, table, entry["version"])

    def ledger(self, table: str) -> Ledger:
        """The last commit of every partition of ``table``, brought up to date."""
        if self._still and table in self._ledgers:
            return self._ledgers[table]
        ledger = self._ledgers.setdefault(table, Ledger())
        if self.exists(table):
            delta = self._newest(table)
            if delta.version() > ledger.version:
                ledger = self._ledgers[table] = self._brought_up_to_date(table, ledger, delta)
        return ledger

    def _brought_up_to_date(self, table: str, ledger: Ledger, delta: DeltaTable) -> Ledger:
        version, table_id = delta.version(), str(delta.metadata().id)
        kept = kept_ledger(self.path(table), table_id, version) if ledger.version < 0 else None
        if kept is not None:
            newest = self.entries(table, delta, version - kept[0].version + 1)[0]
            if entry_digest(newest) == kept[1]:
                ledger = kept[0]
        known = ledger.version
        entries = self.entries(table, delta, version - known)
        with self.reading(table):
            ledger.advance(entries, version)
        if entries:
            keep_ledger(self.path(table), table_id, ledger, entry_digest(entries[-1]), known)
        return ledger

    def _newest(self, table: str) -> DeltaTable:
        """The table as it is now. In a bucket one that was opened before reads only what came since."""
        options = self.storage.delta_options
        known = self._opened.get(table)
        if known is not None and known[0] == options:  # with credentials that still hold
            with self.reading(table):
                known[1].update_incremental()
            return known[1]
        delta = self.opened(table)
        if not self.storage.is_local:
            self._opened[table] = (options, delta)
        return delta

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
        entries = self.entries(table, self.table(table, version), version + 1)
        with self.reading(table):
            ledger.advance(entries, version)
        return ledger

    def at_rest(self) -> "Lake":
        """The lake as it is now, for a judgement over many partitions: later commits are not seen."""
        if self._still:
            return self
        ledgers = {name: self.ledger(name).snapshot() for name in self.tables}
        return Lake(self.storage, self.shards, self.buckets, self.tables, ledgers, _still=True)

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
        delta, columns = self.table(table, version), self.tables[table].partition_by
        for partition, name, size in data_files(table, delta, columns):
            yield partition, self.storage.address(name), size

    def rows(
        self, table: str, partition: Partition, columns: Sequence[str], *, first: int | None = None
    ) -> pl.DataFrame:
        """Some columns of one partition as it is now, the ``first`` rows or all; none where it was never built."""
        files = [path for path, _ in self.partition_sizes(table, partition)] if self.exists(table) else []
        if not files:
            return pl.DataFrame(schema=list(columns))
        return pl.read_parquet(
            files,
            columns=list(columns),
            n_rows=first,
            hive_partitioning=False,
            storage_options=self.storage.polars_options or None,
        )

    def scan(self, table: str) -> pl.LazyFrame:
        """All rows of a table, which has to be there, as it is now."""
        # polars looks for files of a folder under their url: `a%20lake`.
        is_other_as_url = self.storage.is_local and quote(self.uri) != self.uri
        return pl.scan_delta(
            self.opened(table), storage_options=self.storage.polars_options or None, use_pyarrow=is_other_as_url
        )

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


def data_files(table: str, delta: DeltaTable, columns: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """(partition, name in the lake, bytes) of each data file of a table as it was loaded.

    Args:
        table: its name.
        delta: the table.
        columns: its partition columns.
    """
    actions = pa.table(delta.get_add_actions(flatten=True))
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    fixed = [actions.column(f"partition.{c}").to_pylist() for c in columns]
    values = zip(*fixed, strict=True) if fixed else [()] * len(paths)
    for path, size, partition in zip(paths, sizes, values, strict=True):
        yield partition_name(dict(zip(columns, partition, strict=True))), f"{table}/{unquote(path)}", size


def _entries(delta: DeltaTable, count: int) -> list[dict[str, Any]]:
    """The last ``count`` entries of the log up to the version that was loaded, oldest first."""
    if count <= 0:
        return []
    # history() goes back from the newest entry of the log, which may be younger than the version that was loaded, and
    # yet numbers from that version down: the oldest entries are taken and numbered anew.
    found = delta.history(limit=count)[-count:]
    return [{**entry, "version": delta.version() - place} for place, entry in enumerate(found)][::-1]


def _same_columns(table: DeltaTable, declared: Table) -> bool:
    found = pa.schema(table.schema().to_arrow())
    return {f.name: f.type for f in found} == {f.name: f.type for f in declared.schema} and tuple(
        table.metadata().partition_columns
    ) == declared.partition_by
