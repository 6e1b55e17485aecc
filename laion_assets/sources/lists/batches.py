"""What every reader of lists gives: batches of columns, each row with its number in the file."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

ROW = "__row"
"""Column of each batch: the number of the row in its file, from 0."""
BAD = "__bad"
"""Column of each batch: whether the row is none of the file's format; then all else is null."""

EXPECTED = "a list is Parquet, CSV, TSV or JSON lines, each also compressed (gz, zst, bz2, lz4, xz)"


class ListReader(Protocol):
    """One list that is opened."""

    format: str
    """How it is written: ``parquet``, ``csv``, ``tsv`` or ``jsonl``."""
    columns: dict[str, pa.DataType]
    """Its columns, with their types; without a header they are called ``0``, ``1`` …"""
    row_groups: list[int] | None
    """Rows of each row group, where it is Parquet."""

    @property
    def sample(self) -> dict[str, list[Any]]:
        """Some values of each column, for what only values tell."""

    def read(self, columns: Sequence[str], first: int, count: int | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Rows from ``first`` on, ``count`` or all, with these columns and :data:`ROW` and :data:`BAD`.

        Asked again for rows further on, a list of texts goes on where it was.
        """

    def close(self) -> None:
        """Let the file go."""


def numbered(batch: pa.RecordBatch, numbers: "np.ndarray[Any, Any]") -> pa.RecordBatch:
    """A batch with the numbers of its rows; rows are bad where it says so already."""
    batch = batch.append_column(ROW, pa.array(numbers, pa.int64()))
    if BAD in batch.schema.names:
        return batch
    return batch.append_column(BAD, pa.repeat(pa.scalar(False), batch.num_rows))


def one_line(error: BaseException) -> str:
    """What a library says, short and in a line."""
    return " ".join(str(error).split())[:200]
