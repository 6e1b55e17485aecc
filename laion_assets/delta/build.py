"""One partition being built: pinned reads, staged rows, counted drops, one validated commit.

This is the only way rows get into a table::

    with lake_build(lake, "unique_pairs", {"crawl": crawl, "bucket": 3}, provenance) as build:
        build.view("candidates", "candidate_pairs", partitions, where="bucket = 3")
        ...
        build.rows_in += ...
        build.drop("duplicate", n)
        build.add(frame)
        commit = build.publish()
"""

import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import ColumnProperties, CommitProperties, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from laion_assets.common.digests import file_sha256
from laion_assets.delta.commits import Commit, Ledger, Provenance, UpstreamRead, combined_digest
from laion_assets.delta.cost import CPU, Meter
from laion_assets.delta.engine import memory_limit_bytes, open_engine
from laion_assets.delta.errors import (
    CheckOutcome,
    LakeError,
    PartitionBusy,
    UpstreamMissing,
    UpstreamNotValidated,
    UpstreamTestsFailed,
    ValidationFailed,
)
from laion_assets.delta.faults import rebuild
from laion_assets.delta.history import LakeHistory, lost
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, literal, ordered, partition_name, predicate
from laion_assets.delta.publishing import publishing
from laion_assets.delta.seals import Bytes, write_seal
from laion_assets.delta.staging import Part, StagingFolder
from laion_assets.delta.table import Table
from laion_assets.delta.validation import content_digest, count_rows, relation, validate
from laion_assets.delta.verdicts import failed_tests, speaks_of, verdict

MIN_ROW_GROUP_ROWS = 5_000
_MAX_ROW_GROUP_ROWS = 200_000
_BATCH_ROWS = 20_000
_COMMIT_ATTEMPTS = 10

_log = logging.getLogger(__name__)


class PartitionBuild:
    """Reads, rows and counts of one partition on its way to a commit. Made by :func:`lake_build`."""

    def __init__(self, lake: Lake, table: str, partition: Partition, provenance: Provenance, folder: StagingFolder):
        self.lake = lake
        self.table = lake.tables[table]
        self.partition = ordered(self.table, partition)
        self.provenance = provenance
        self.folder = folder
        self.rows_in = 0
        self.drops: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.checks: tuple[CheckOutcome, ...] = ()
        self.device = CPU
        """Name of the accelerator that does the work; whoever knows it says so."""
        self._meter = Meter()
        self._adopted: list[Path] = []
        self._part: Part | None = None
        self._digest: str | None = None
        self._beside: dict[str, Bytes] = {}
        self._pinned: dict[str, Ledger] = {}
        self._earlier: set[str] = set()
        self._digests: dict[str, dict[str, str]] = {}
        self.read: dict[str, set[str]] = {}
        """By table, the names of the partitions that were read."""
        self.engine_bytes = memory_limit_bytes()
        """What DuckDB may hold before it spills; settled once :attr:`con` is first used."""
        self._con: duckdb.DuckDBPyConnection | None = None
        self._resumable = ExitStack()
        self._resumables: list[StagingFolder] = []

    @property
    def name(self) -> str:
        """The partition's canonical name."""
        return partition_name(self.partition)

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection of this build; it spills into the staging folder."""
        if self._con is None:
            self._con = open_engine(self.folder.path / "spill", self.lake.storage, memory_bytes=self.engine_bytes)
        return self._con

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows to stage: the table's, without its partition columns."""
        return self.table.staged_schema

    # -- reading -------------------------------------------------------------------------------------------------

    def commits(self, table: str, partitions: Sequence[Partition], *, lineage: bool = True) -> list[Commit]:
        """The last commit of each of these partitions of ``table``, at the version this build pinned.

        Args:
            table: what to read.
            partitions: which partitions; each must have been built, and its last write validated.
            lineage: record the read as an upstream of this partition. False only for what is no input in the sense
                of staleness: the partition's own earlier rows.

        Raises:
            UpstreamMissing: a partition was never built.
            UpstreamNotValidated: its last write did not come from here, or was not validated.
            UpstreamTestsFailed: it is a SQL model's, and a test of it failed when it was run last.
        """
        ledger = self.pinned(table)
        read = self._digests.setdefault(table, {}) if lineage else {}
        found: list[Commit] = []
        for partition in partitions:
            name = partition_name(ordered(self.lake.tables[table], partition))
            commit = ledger.commits.get(name)
            if commit is None:
                raise UpstreamMissing(f"{table} [{name}] has not been built, and {self.table.name} needs it")
            if name in ledger.damaged and (lineage or not ledger.has_sound_rows(commit)):
                raise UpstreamNotValidated(
                    f"{table} [{name}] is damaged, as `laion verify` found: {rebuild(table, name)}, then this one"
                )
            if not ledger.is_validated(commit):
                raise UpstreamNotValidated(
                    f"{table} [{name}] was last written without validation (foreign write in version "
                    f"{ledger.foreign_version}): build that partition again, then this one"
                )
            if lineage and self.lake.tables[table].model and not self._is_replaced(table, commit):
                self.refuse_failed(table, partition, commit.content_digest)
            read[name] = commit.content_digest
            self.read.setdefault(table, set()).add(name)
            found.append(commit)
        return found

    def pinned(self, table: str) -> Ledger:
        """The commits of ``table`` at the version that this build reads it at."""
        return self._pinned.setdefault(table, self.lake.ledger(table).snapshot())

    def pin(self, table: str, version: int) -> None:
        """Read ``table`` as it was at an earlier version.

        Raises:
            LakeError: there is no such version, or its files were removed.
        """
        self._pinned[table] = self.lake.ledger_at(table, version)
        gone = lost(self.lake, LakeHistory(self.lake).snapshot(table, version).files) if version >= 0 else []
        if gone:
            raise LakeError(
                f"version {version} of {table} cannot be read any more: {len(gone)} of its files were removed, as "
                "`laion gc` removes what nothing pins; name another version, or select anew with "
                "`laion train RECIPE --refresh`"
            )
        self._earlier.add(table)

    def _is_replaced(self, table: str, commit: Commit) -> bool:
        """Whether a commit is of a version that was asked for and has given way since.

        Verdicts speak of the rows that are there now; these had passed their tests when they were published.
        """
        return table in self._earlier and self.lake.ledger(table).commits.get(commit.partition) != commit

    @property
    def read_versions(self) -> dict[str, int]:
        """The version of every table that went into the partition so far."""
        return {table: self._pinned[table].version for table in self._digests}

    def files(self, table: str, partitions: Sequence[Partition], *, lineage: bool = True) -> list[str]:
        """Parquet files of exactly these partitions of ``table``, at the version this build pinned: see `commits`."""
        self.commits(table, partitions, lineage=lineage)
        return self.lake.partition_files(table, partitions, self._pinned[table].version) if partitions else []

    def refuse_failed(self, model: str, partition: Partition, content_digest: str | None = None) -> None:
        """Go no further on a SQL model whose tests failed when they were run last, or judged other rows than these.

        Args:
            model: the model.
            partition: which of its partitions.
            content_digest: the digest of the rows that are read; None for a view, which has no rows.

        Raises:
            UpstreamTestsFailed: the tests failed, or were not run on these rows.
        """
        judged = verdict(self.lake, model, partition)
        failed = failed_tests(judged)
        if judged is not None and content_digest is not None and not failed and not speaks_of(judged, content_digest):
            raise UpstreamTestsFailed(
                f"{self.table.name} is built on {model} [{partition_name(partition)}], and its tests were last run on "
                f"other rows than those that are published: run `laion models run --select {model}+`"
            )
        if failed:
            found = ", ".join(f"{test} ({rows:,} rows)" for test, rows in failed.items())
            raise UpstreamTestsFailed(
                f"{self.table.name} is built on {model} [{partition_name(partition)}], whose tests failed: {found}. "
                f"`laion models show {model}` says on which rows; mend it and run `laion models run --select {model}+`"
            )

    def view(
        self,
        view: str,
        table: str,
        partitions: Sequence[Partition],
        *,
        columns: Sequence[str] = ("*",),
        where: str = "true",
        lineage: bool = True,
    ) -> None:
        """Make ``view`` in :attr:`con` over exactly these partitions of ``table``; see :meth:`files`."""
        files = self.files(table, partitions, lineage=lineage)
        declared = self.lake.tables[table]
        # Named, for the partition's columns stand last in files and first where there are none.
        every = tuple(f'"{column.name}"' for column in declared.columns)
        selected = ", ".join(every if tuple(columns) == ("*",) else columns)
        rows = hive_relation(declared, files)
        self.con.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT {selected} FROM {rows} WHERE {where}")

    def own_earlier_rows(self, view: str, *, columns: Sequence[str] = ("*",)) -> None:
        """Make ``view`` over what this very partition holds now: empty where it was never built, or is damaged."""
        ledger = self.pinned(self.table.name)
        rows = [self.partition] if self.name in ledger.commits and self.name not in ledger.damaged else []
        self.view(view, self.table.name, rows, columns=columns, lineage=False)

    # -- staging -------------------------------------------------------------------------------------------------

    def resumable(self, work: str) -> StagingFolder:
        """A folder whose finished parts outlive this process until the partition is published.

        Args:
            work: digest of everything the parts depend on. The same ``work`` after a kill finds them again.

        Raises:
            PartitionBusy: another process is at this partition, with the same inputs or with others: what is worth
                resuming is not worth paying for twice.
        """
        if not self._resumables:
            self._resumable.enter_context(StagingFolder(self.folder.path.parent, "resuming"))
        folder = self._resumable.enter_context(StagingFolder(self.folder.path.parent, work))
        self._resumables.append(folder)
        return folder

    def add(self, frame: pl.DataFrame) -> None:
        """Stage rows, columns by name. The partition columns may be absent: the partition fixes them."""
        if self._part is None:
            self._part = self.folder.part("rows", self.schema)
        self._part.append(frame)

    def adopt(self, files: Iterable[Path]) -> None:
        """Count Parquet files that a library wrote as staged rows. They must have the staged columns."""
        self._adopted += list(files)

    def staged(self) -> str:
        """SQL over all rows staged so far, for :attr:`con`. No more rows can be added after."""
        self._finish_part()
        return relation(self.table, self._adopted)

    def staged_digest(self) -> str:
        """The content digest of all rows staged so far. No more rows can be added after."""
        self._finish_part()
        if self._digest is None:
            self._digest = content_digest(self.con, self.table, self._adopted)
        return self._digest

    def publish_file(self, local: Path, name: str) -> None:
        """Let a finished file of this machine appear in the lake, for rows to name; see :meth:`Storage.publish`."""
        found = Bytes(local.stat().st_size, file_sha256(local))
        self.lake.storage.publish(local, name)
        self._beside[name] = found

    def drop(self, reason: str, rows: int = 1) -> None:
        """Count rows that went no further, by reason."""
        if rows:
            self.drops[reason] += rows

    # -- publishing ----------------------------------------------------------------------------------------------

    @publishing()
    def publish(self, *, row_groups: int | None = None) -> Commit:
        """Validate what was staged and publish it as the partition, in one commit.

        Args:
            row_groups: aim for this many row groups (of at least ``MIN_ROW_GROUP_ROWS`` rows), so that a reader of a
                slice of the sort order skips the others.

        Raises:
            ValidationFailed: a check failed; nothing was written.
        """
        self._finish_part()
        if self.table.model:
            rows = self.rows_in = count_rows(self.con, self.table, self._adopted)
        else:
            rows, self.checks = validate(self.con, self.table, self._adopted, self.rows_in, self.drops)
        if not all(check.passed for check in self.checks):
            raise ValidationFailed(self.table.name, self.name, self.checks)
        commit = Commit(
            table=self.table.name,
            partition=self.name,
            rows=rows,
            rows_in=self.rows_in,
            drops=dict(self.drops),
            content_digest=self.staged_digest(),
            run_id=self.provenance.run_id,
            code_version=self.provenance.code_version,
            settings_digest=self.provenance.settings_digest,
            externals=dict(self.provenance.externals),
            upstreams={
                table: UpstreamRead(self._pinned[table].version, combined_digest(read.items()), len(read))
                for table, read in self._digests.items()
            },
            counts=dict(self.counts),
        )
        files = self._ordered_files()
        self._write(replace(commit, cost=self._meter.read(self.device)), files, row_groups)
        published = self.lake.commit(self.table.name, self.partition)
        if published is None:
            raise LakeError(f"{self.table.name} [{self.name}] was written, but its commit cannot be found")
        if (published.run_id, published.content_digest) == (commit.run_id, commit.content_digest):
            write_seal(self.lake.storage, self.table.name, published.version, self._beside)
        told = {"table": self.table.name, "partition": self.name, "rows": published.rows, "rows_in": published.rows_in}
        _log.info("published", extra={**told, "version": published.version, **published.cost})
        return published

    def _finish_part(self) -> None:
        if self._part is not None:
            self._part.finish()
            self._adopted.append(self.folder.path / "rows.parquet")
            self._part = None

    def _ordered_files(self) -> list[Path]:
        if not self.table.order_by or not self._adopted:
            return self._adopted
        in_order = self.folder.path / "ordered"  # no .parquet: it must not be taken for a finished part
        self.con.execute(
            f"COPY (SELECT * FROM {relation(self.table, self._adopted)} ORDER BY {', '.join(self.table.order_by)}) "
            f"TO {literal(str(in_order))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_BATCH_ROWS})"
        )
        return [in_order]

    def _write(self, commit: Commit, files: list[Path], row_groups: int | None) -> None:
        group_rows = _MAX_ROW_GROUP_ROWS
        if row_groups:
            group_rows = min(max(commit.rows // row_groups, MIN_ROW_GROUP_ROWS), _MAX_ROW_GROUP_ROWS)
        # delta-rs keeps batches whole, and not their order. Where order matters a batch is a row group, and all are of
        # one size: a smaller one in their midst would shift the others across the groups' bounds.
        batch_rows = _BATCH_ROWS
        if self.table.order_by:
            groups = max(1, -(-commit.rows // group_rows))
            batch_rows = group_rows = max(1, -(-commit.rows // groups))
        if self.table.model:
            self.lake.conform(self.table.name)
        before = self.lake.commit(self.table.name, self.partition)
        for attempt in range(_COMMIT_ATTEMPTS):
            try:
                write_deltalake(
                    self.lake.table(self.table.name),
                    pa.RecordBatchReader.from_batches(self._written_schema, self._batches(files, batch_rows)),
                    mode="overwrite",
                    predicate=predicate(self.partition),
                    writer_properties=_writer_properties(self.table.schema, group_rows),
                    commit_properties=CommitProperties(
                        custom_metadata={**commit.to_metadata(), **self.lake.metadata}, max_commit_retries=200
                    ),
                )
            except CommitFailedError as error:
                found = self.lake.commit(self.table.name, self.partition)
                if found is not None and found != before and found.says_the_same(commit):
                    return  # it was ours: the answer to an attempt was lost, and the next one found the place taken
                # Somebody who created the table at the same moment changes its metadata: nothing of ours is touched.
                if attempt + 1 < _COMMIT_ATTEMPTS and found == before:
                    time.sleep(0.05 * (attempt + 1))
                    continue
                raise PartitionBusy(
                    f"{self.table.name} [{self.name}] was not published: another process published it, or changed the "
                    f"table, at the same moment; what it wrote stands, so build again what is still stale ({error})"
                ) from error
            return

    @property
    def _written_schema(self) -> pa.Schema:
        # Without the comments: Delta refuses rows whose columns are described in other words than the table's.
        return pa.schema([f.remove_metadata() for f in self.table.schema])

    def _batches(self, files: list[Path], batch_rows: int) -> Iterator[pa.RecordBatch]:
        schema = self._written_schema
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=batch_rows):
                columns = [
                    pa.repeat(pa.scalar(self.partition[f.name], f.type), batch.num_rows)
                    if f.name in self.partition
                    else batch.column(f.name).cast(f.type)
                    for f in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def forget(self) -> None:
        """Remove the parts that would outlive this process: they broke a check, and would break it again."""
        for folder in self._resumables:
            folder.remove()

    def close(self) -> None:
        """Give back memory and locks."""
        self._resumable.close()
        if self._con is not None:
            self._con.close()
            self._con = None


@contextmanager
def lake_build(lake: Lake, table: str, partition: Partition, provenance: Provenance) -> Iterator[PartitionBuild]:
    """Build one partition.

    On success everything staged for the partition is removed, on failure only what nobody can go on from.

    Args:
        lake: the lake.
        table: name of the table.
        partition: value of every partition column.
        provenance: who builds, with what code and settings.
    """
    name = partition_name(ordered(lake.tables[table], partition))
    parent = lake.staging / table / name.replace("/", "__")
    with StagingFolder(parent, f"{os.getpid()}-{uuid.uuid4().hex[:12]}") as folder:
        build = PartitionBuild(lake, table, partition, provenance, folder)
        try:
            yield build
        except BaseException as error:
            if isinstance(error, ValidationFailed):
                build.forget()
            build.close()
            folder.remove()
            damage = _damage_in(build, error)
            if damage is not None:
                raise damage from error
            raise
        build.close()
        folder.clear()


def _damage_in(build: PartitionBuild, error: BaseException) -> LakeError | None:
    from laion_assets.delta.damage import damage_in  # it looks as a verification does, which reads as steps do

    return damage_in(build.lake, error, build.read)


def hive_relation(declared: Table, files: list[str]) -> str:
    """SQL over data files of a table, its partition columns read from their paths; no rows where there are no files."""
    if not files:
        fixed = [f"NULL::{'INTEGER' if declared.column(c).type == pa.int32() else 'VARCHAR'} AS {c}"
                 for c in declared.partition_by]  # fmt: skip
        return f"(SELECT {', '.join([*fixed, '*'])} FROM {relation(declared, [])})"
    names = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    if not declared.partition_by:
        return f"read_parquet([{names}], hive_partitioning = false)"
    types = ", ".join(
        f"'{c}': {'INTEGER' if declared.column(c).type == pa.int32() else 'VARCHAR'}" for c in declared.partition_by
    )
    return f"read_parquet([{names}], hive_partitioning = true, hive_types = {{{types}}})"


def _writer_properties(schema: pa.Schema, group_rows: int) -> WriterProperties:
    # Vectors are noise to dictionaries and statistics: both only cost.
    plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    vectors = {f"{f.name}.list.element": plain for f in schema if pa.types.is_list(f.type)}
    return WriterProperties(
        compression="ZSTD", compression_level=1, max_row_group_size=group_rows, column_properties=vectors
    )
