"""The lake: Delta tables in a folder or bucket, of a shape that is fixed when it is made."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.commits import Commit, Ledger
from laion_assets.delta.errors import LakeError
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.ledger_cache import entry_digest, keep_ledger, kept_ledger
from laion_assets.delta.logs import LogDamaged, damaged_log, has_emptied_entry, left_without_log
from laion_assets.delta.marker import Marker
from laion_assets.delta.partition import Partition, ordered, partition_name
from laion_assets.delta.periods import PeriodOrder, order_of
from laion_assets.delta.seals import write_seal
from laion_assets.delta.storage import Storage
from laion_assets.delta.table import Table


@dataclass
class Lake:
    """An opened lake; see ``opening``."""

    storage: Storage
    catalogue: Catalogue = field(repr=False)
    """The tables that it is made for."""
    shape: Mapping[str, int]
    """How many numbers rows are spread over, by what the catalogue calls them."""
    tables: dict[str, Table] = field(default_factory=dict, repr=False)
    """The declared tables by name: the catalogue's, and those that :meth:`declare` added."""
    _ledgers: dict[str, Ledger] = field(default_factory=dict, repr=False)
    _still: bool = field(default=False, repr=False)
    _there: set[str] = field(default_factory=set, repr=False)
    _absent: set[str] = field(default_factory=set, repr=False)
    _opened: dict[str, tuple[dict[str, str], DeltaTable]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Know the catalogue's tables, where it is not said which others there are."""
        self.tables = self.tables or dict(self.catalogue.tables)

    def declare(self, tables: Iterable[Table]) -> None:
        """Make tables known that the catalogue does not declare, such as those of SQL models.

        Raises:
            LakeError: the catalogue has a table of that name.
        """
        for table in tables:
            if table.name in self.catalogue.tables:
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
        return Marker(self.shape, "").metadata

    def numbers(self, column: str) -> range:
        """The numbers that a column spreads rows over."""
        return range(self.shape[self.catalogue.counts[column]])

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
            if left_without_log(self.storage, self.catalogue, table):
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
            configuration=declared.configuration,
            commit_properties=CommitProperties(custom_metadata=self.metadata),
            storage_options=self.storage.delta_options or None,
        )
        write_seal(self.storage, name, 0, keep=bool(declared.entered))

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
            ledger.advance(entries, version, self.catalogue.period)
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
            ledger.advance(entries, version, self.catalogue.period)
        return ledger

    def at_rest(self) -> "Lake":
        """The lake as it is now, for a judgement over many partitions: later commits are not seen."""
        if self._still:
            return self
        ledgers = {name: self.ledger(name).snapshot() for name in self.tables}
        return Lake(self.storage, self.catalogue, self.shape, self.tables, ledgers, _still=True)

    @property
    def order(self) -> PeriodOrder:
        """The order of the periods, as it is now."""
        entered, period = self.catalogue.periods_entered, self.catalogue.period
        return PeriodOrder({}) if entered is None or period is None else order_of(self.ledger(entered), period)

    @property
    def periods(self) -> list[str]:
        """Every period of which something is built, the earliest first."""
        return self.order.sorted({p for table in self.catalogue.by_period for p in self.ledger(table).periods})

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
        """All rows of a declared table as it is now; none where it was never made."""
        if not self.exists(table):
            return cast("pl.DataFrame", pl.from_arrow(self.tables[table].schema.empty_table())).lazy()
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
