"""The file of ids and row digests of each part: what tells later what changed, whatever formats a release has.

A row has the ``pair_id``, a digest of all its columns, and a short digest of each, by which a change is told of. What
the digests are taken of is text in DuckDB's form of numbers, which does not change between its versions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.common.duck import quoted
from laion_assets.release.parts import RELEASED_COLUMNS

IDS: Final = "ids"
"""The kind of these files, and their folder."""
CODE_VERSION: Final = "1"
_ROWS: Final = 65_536

COMPARED: Final = tuple(
    name for name in RELEASED_COLUMNS.names if name not in ("pair_id", "bucket", "sample_key", "shard_path")
)
"""The columns in which a row may differ: what is shown of it. Which tar held its picture in the lake is none."""

SCHEMA: Final = pa.schema(
    [
        pa.field("pair_id", pa.int64(), nullable=False),
        pa.field("digest", pa.int64(), nullable=False),
        *(pa.field(name, pa.uint16(), nullable=False) for name in COMPARED),
    ]
)


def ids_path(number: int) -> str:
    """Where the file of a part lies in its release."""
    return f"{IDS}/part-{number:06d}.parquet"


def write_ids(con: duckdb.DuckDBPyConnection, rows: Path, path: Path) -> None:
    """Write the file of a part.

    Args:
        con: any engine.
        rows: Parquet file of released rows, sorted by pair_id.
        path: to write to; its folder is made.
    """
    texts = {name: f"coalesce({name}::VARCHAR, chr(30))" for name in COMPARED}
    short = ", ".join(f"(md5_number_lower({text}) % 65536)::USMALLINT AS {name}" for name, text in texts.items())
    whole = f"concat_ws(chr(31), {', '.join(texts.values())})"
    found = con.execute(
        f"SELECT pair_id, (md5_number_lower({whole}) >> 1)::BIGINT AS digest, {short} "
        f"FROM read_parquet({quoted(rows)}) ORDER BY pair_id"
    )
    write_parquet(found, path, SCHEMA)


def write_parquet(result: duckdb.DuckDBPyConnection, path: Path, schema: pa.Schema) -> int:
    """Write what a query gives, row group by row group, as a Parquet file of these types; gives the number of rows.

    How DuckDB cut the rows into batches leaves no trace.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in _even(result.to_arrow_reader(_ROWS), schema):
            writer.write_table(table, row_group_size=_ROWS)
            written += table.num_rows
    return written


def _even(batches: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    waiting, rows = [], 0
    for batch in batches:
        waiting.append(pa.Table.from_batches([batch]).cast(schema))
        rows += batch.num_rows
        while rows >= _ROWS:
            table = pa.concat_tables(waiting)
            yield table.slice(0, _ROWS).combine_chunks()
            rest = table.slice(_ROWS)
            waiting, rows = [rest], rest.num_rows
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()
