"""Parquet of always the same bytes, and the rows of a part in pieces that fit into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP: Final = 65_536
"""Rows of a row group: tens of megabytes, so that readers over a network fetch little more than they asked for."""

_READ_AT_ONCE: Final = 2**20  # bytes, of each column


def pieces(parquet: Path, columns: Sequence[str] | None = None, rows: int = ROW_GROUP) -> Iterator[pa.Table]:
    """The rows of a Parquet file in order, so many at a time, in one thread."""
    # What pyarrow reads ahead by itself it keeps, which would be the whole file in the end.
    with pq.ParquetFile(parquet, pre_buffer=False, buffer_size=_READ_AT_ONCE) as file:
        for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            yield pa.Table.from_batches([batch])


def part_name(number: int) -> str:
    """What files of a part are named by, the same in every later release."""
    return f"{number:06d}"


class ParquetFile:
    """A Parquet file that is written piece by piece; how the rows were cut into pieces leaves no trace in its bytes.

    No file appears where no row is written.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer: Any = None
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if failure is None and self._rows:
            self._write(self._rows)
        if self._writer is not None:
            self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Take rows, in the schema's columns or what casts to them without loss."""
        self._waiting.append(table.select(self._schema.names).cast(self._schema))
        self._rows += table.num_rows
        while self._rows >= ROW_GROUP:
            self._write(ROW_GROUP)

    def _write(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd", write_page_index=True)
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP)
        rest = table.slice(rows)
        self._waiting, self._rows = [rest], rest.num_rows
