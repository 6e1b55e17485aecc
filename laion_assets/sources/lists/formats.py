"""Reading lists row by row, whatever they are written as: batches of columns, each row with its number in the file.

Memory is bounded: Parquet is read a few pages of a row group at a time, texts a block at a time.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.sources.lists.batches import EXPECTED, ListReader, numbered, one_line
from laion_assets.sources.lists.errors import ListError
from laion_assets.sources.lists.streams import COMPRESSIONS, Files
from laion_assets.sources.lists.texts import HEAD_BYTES, JsonList, TextList

FORMATS = {".parquet": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""By ending of a name, before that of a compression, how a list is written."""

_SAMPLED = 100

TEXT_UNIT_ROWS = 100_000
LEAST_UNIT_ROWS = 10_000
MOST_UNIT_ROWS = 1_000_000


def units(row_groups: Sequence[int] | None, rows: int) -> list[tuple[int, int]]:
    """How a list is cut up: (first row, rows) of each piece.

    A piece is a row group; small ones that follow each other go together until they have ``LEAST_UNIT_ROWS``, and those
    of more than ``MOST_UNIT_ROWS`` are cut. Where there are none it is ``TEXT_UNIT_ROWS`` rows.
    """
    if row_groups is None:
        return [(first, min(TEXT_UNIT_ROWS, rows - first)) for first in range(0, rows, TEXT_UNIT_ROWS)]
    found: list[tuple[int, int]] = []
    first = held = 0
    for size in row_groups:
        held += size
        if held >= LEAST_UNIT_ROWS:
            found += _cut(first, held)
            first, held = first + held, 0
    return found + _cut(first, held)


def _cut(first: int, rows: int) -> list[tuple[int, int]]:
    pieces = -(-rows // MOST_UNIT_ROWS)
    bounds = [first + rows * n // pieces for n in range(pieces + 1)] if pieces else []
    return [(start, end - start) for start, end in pairwise(bounds)]


def format_of(name: str) -> tuple[str | None, str]:
    """(format, compression) that a file's name tells; None and empty where it tells none."""
    stem, compression = name.lower(), ""
    for ending, known in COMPRESSIONS.items():
        if stem.endswith(ending):
            stem, compression = stem.removesuffix(ending), known
    return next((known for ending, known in FORMATS.items() if stem.endswith(ending)), None), compression


def open_list(files: Files, uri: str) -> ListReader:
    """Open a list, by what its name says and, where that says nothing, by what it begins with.

    Args:
        files: opens it.
        uri: the file.

    Raises:
        SourceError: it is not there, or is no list.
    """
    format_, compression = format_of(uri)
    head = _head(files, uri, compression)
    if head.startswith(b"PAR1") or format_ == "parquet":
        if compression:
            raise ListError(f"{uri}: Parquet is compressed inside, and cannot be read from within a {compression} file")
        return ParquetList(files, uri)
    if not head.strip():
        raise ListError(f"{uri} is empty: {EXPECTED}")
    if b"\0" in head:
        raise ListError(f"{uri} is none of these: {EXPECTED}; it begins with {head[:16]!r}")
    if format_ == "jsonl" or (format_ is None and head.lstrip()[:1] == b"{"):
        return JsonList(files, uri, compression, head)
    if format_ is None and head.lstrip()[:1] in (b"[", b"<"):
        raise ListError(f"{uri} is none of these: {EXPECTED}; it begins with {head[:16]!r}")
    return TextList(files, uri, compression, head, format_)


def _head(files: Files, uri: str, compression: str) -> bytes:
    with files.plain(uri, compression) as stream:
        return bytes(stream.read(HEAD_BYTES))


class ParquetList:
    """A Parquet file."""

    format = "parquet"

    def __init__(self, files: Files, uri: str) -> None:
        self._uri = uri
        try:
            self._file = pq.ParquetFile(files.seekable(uri), pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise ListError(f"{uri} is no Parquet file that can be read: {one_line(error)}") from error
        schema = self._file.schema_arrow
        self.columns = dict(zip(schema.names, schema.types, strict=True))
        if len(self.columns) < len(schema.names):
            raise ListError(f"{uri} has several columns of one name: {', '.join(schema.names)}")
        metadata = self._file.metadata
        self.row_groups: list[int] | None = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]

    @cached_property
    def sample(self) -> dict[str, list[Any]]:
        """Some values of each column of texts."""
        texts = [name for name, type_ in self.columns.items() if pa.types.is_string(type_) and name.lower() == "hash"]
        if not texts:
            return {}
        found = next(self.read(texts, 0, _SAMPLED, _SAMPLED), None)
        return {} if found is None else {name: found.column(name).to_pylist() for name in texts}

    def read(self, columns: Sequence[str], first: int, count: int | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """See :class:`ListReader`."""
        starts = np.concatenate([[0], np.cumsum(self.row_groups or [], dtype=np.int64)])
        end = int(starts[-1]) if count is None else first + count
        groups = [n for n in range(len(starts) - 1) if starts[n] < end and starts[n + 1] > first]
        row = int(starts[groups[0]]) if groups else 0
        try:
            for batch in self._file.iter_batches(
                batch_rows, row_groups=groups, columns=list(columns), use_threads=False
            ):
                start, stop = max(first - row, 0), min(end - row, batch.num_rows)
                if start < stop:
                    yield numbered(batch.slice(start, stop - start), np.arange(row + start, row + stop))
                row += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise ListError(f"{self._uri} cannot be read at row {row:,}: {one_line(error)}") from error

    def close(self) -> None:
        """See :class:`ListReader`."""
        self._file.close(force=True)
