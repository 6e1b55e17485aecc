"""Publishing staged rows as one partition, by one overwrite, in the order that is declared."""

import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import ColumnProperties, CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from laion_assets.delta.commits import REPLACED, Commit
from laion_assets.delta.errors import PartitionBusy, PartitionChanged
from laion_assets.delta.growth import grow
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, literal, predicate
from laion_assets.delta.relations import relation
from laion_assets.delta.seals import write_seal
from laion_assets.delta.table import Table

MIN_ROW_GROUP_ROWS = 5_000
_MAX_ROW_GROUP_ROWS = 200_000
_BATCH_ROWS = 20_000
_COMMIT_ATTEMPTS = 10


def in_order(con: duckdb.DuckDBPyConnection, table: Table, files: list[Path], folder: Path) -> list[Path]:
    """Staged files with their rows in the table's order, where it declares one.

    Args:
        con: an engine.
        table: the declaration.
        files: the staged files.
        folder: where a file of all rows in order may be written.
    """
    if not table.order_by or not files:
        return files
    ordered = folder / "ordered"  # no .parquet: it must not be taken for a finished part
    con.execute(
        f"COPY (SELECT * FROM {relation(table, files)} ORDER BY {', '.join(table.order_by)}) "
        f"TO {literal(str(ordered))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_BATCH_ROWS})"
    )
    return [ordered]


def write_partition(
    lake: Lake,
    partition: Partition,
    commit: Commit,
    files: list[Path],
    row_groups: int | None,
    *,
    only_over: tuple[Commit | None] | None = None,
) -> None:
    """Let files of staged rows be a partition from now on, in one commit.

    Args:
        lake: the lake.
        partition: which, its columns in the table's order.
        commit: the record of it.
        files: the rows, as :func:`in_order` gives them.
        row_groups: aim for this many, of at least ``MIN_ROW_GROUP_ROWS`` rows.
        only_over: the partition's commit of which the rows were made (None in it: there was none), where they may
            replace nothing else; None: whatever is there is replaced.

    Raises:
        PartitionChanged: another commit than ``only_over`` is there; nothing was written.
        PartitionBusy: another process wrote the same partition at the same moment.
    """
    table = lake.tables[commit.table]
    group_rows = _MAX_ROW_GROUP_ROWS
    if row_groups:
        group_rows = min(max(commit.rows // row_groups, MIN_ROW_GROUP_ROWS), _MAX_ROW_GROUP_ROWS)
    # delta-rs keeps batches whole, and not their order. Where order matters a batch is a row group, and all are of
    # one size: a smaller one in their midst would shift the others across the groups' bounds.
    batch_rows = _BATCH_ROWS
    if table.order_by:
        groups = max(1, -(-commit.rows // group_rows))
        batch_rows = group_rows = max(1, -(-commit.rows // groups))
    if table.model:
        conform(lake, table)
    grow(lake, table)
    schema = _written_schema(table)
    before = lake.commit(table.name, partition) if only_over is None else only_over[0]
    for attempt in range(_COMMIT_ATTEMPTS):
        opened = lake.table(table.name)
        # Looked at once it is opened: what is written from then on Delta finds to be in conflict with this.
        if only_over is not None and lake.commit(table.name, partition) != before:
            raise PartitionChanged(_changed(table.name, commit.partition))
        try:
            write_deltalake(
                opened,
                pa.RecordBatchReader.from_batches(schema, _batches(schema, partition, files, batch_rows)),
                mode="overwrite",
                predicate=predicate(partition),
                writer_properties=_writer_properties(table.schema, group_rows),
                commit_properties=CommitProperties(
                    custom_metadata={**commit.to_metadata(), **lake.metadata}, max_commit_retries=200
                ),
            )
        except CommitFailedError as error:
            found = lake.commit(table.name, partition)
            if found is not None and found != before and found.says_the_same(commit):
                return  # it was ours: the answer to an attempt was lost, and the next one found the place taken
            # Somebody who created the table at the same moment changes its metadata: nothing of ours is touched.
            if attempt + 1 < _COMMIT_ATTEMPTS and found == before:
                time.sleep(0.05 * (attempt + 1))
                continue
            if only_over is not None:
                raise PartitionChanged(_changed(table.name, commit.partition)) from error
            raise PartitionBusy(
                f"{table.name} [{commit.partition}] was not published: another process published it, or changed the "
                f"table, at the same moment; what it wrote stands, so build again what is still stale ({error})"
            ) from error
        return


def _changed(table: str, partition: str) -> str:
    return f"{table} [{partition}] was not published: another process wrote it since it was read; try again"


def conform(lake: Lake, table: Table) -> None:
    """Give a table the columns that are declared for it now. Where they differ, all its partitions go.

    The versions before stay readable. Only for tables of SQL models: their columns are what their SQL says.
    """
    while lake.exists(table.name) and not _same_columns(before := lake.opened(table.name), table):
        try:
            write_deltalake(
                before,
                pa.RecordBatchReader.from_batches(table.schema, iter(())),
                mode="overwrite",
                schema_mode="overwrite",
                partition_by=list(table.partition_by),
                name=table.name,
                description=table.description,
                commit_properties=CommitProperties(custom_metadata={REPLACED: "true", **lake.metadata}),
            )
        except CommitFailedError:  # another process wrote since: perhaps what was to be written here
            continue
        write_seal(lake.storage, table.name, before.version() + 1, keep=False)


def _same_columns(table: DeltaTable, declared: Table) -> bool:
    found = pa.schema(table.schema().to_arrow())
    return {f.name: f.type for f in found} == {f.name: f.type for f in declared.schema} and tuple(
        table.metadata().partition_columns
    ) == declared.partition_by


def _written_schema(table: Table) -> pa.Schema:
    # Without the comments: Delta refuses rows whose columns are described in other words than the table's.
    return pa.schema([f.remove_metadata() for f in table.schema])


def _batches(schema: pa.Schema, partition: Partition, files: list[Path], batch_rows: int) -> Iterator[pa.RecordBatch]:
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=batch_rows):
            columns = [
                pa.repeat(pa.scalar(partition[f.name], f.type), batch.num_rows)
                if f.name in partition
                else batch.column(f.name).cast(f.type)
                for f in schema
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _writer_properties(schema: pa.Schema, group_rows: int) -> WriterProperties:
    # Vectors are noise to dictionaries and statistics: both only cost.
    plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    vectors = {f"{f.name}.list.element": plain for f in schema if pa.types.is_list(f.type)}
    return WriterProperties(
        compression="ZSTD", compression_level=1, max_row_group_size=group_rows, column_properties=vectors
    )
