"""Parquet files: which of their rows are listed, and the same file without some rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.release.cleaning.columns import Columns, column, columns_of
from laion_assets.release.cleaning.faults import CannotClean
from laion_assets.release.cleaning.matching import Matcher, pair_ids_of

_BATCH_BYTES: Final = 64 * 2**20
_BATCH_ROWS: Final = 2**17
_CODECS: Final = {"UNCOMPRESSED": "none", "LZ4_RAW": "lz4"}


@dataclass(frozen=True)
class Rows:
    """Some rows of a table."""

    count: int
    """Of the whole table."""
    numbers: np.ndarray
    """Theirs, from 0, in order."""
    pair_ids: tuple[int, ...] = ()
    keys: frozenset[str] = frozenset()
    """Of their samples in the tar beside the table."""
    outcomes: tuple[tuple[str, str], ...] = ()
    """Of a table beside a tar, status and error of each."""


def schema_of(path: Path) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        CannotClean: it is none, or is damaged.
    """
    with _opened(path) as file:
        return file.schema_arrow


def listed_rows(path: Path, matcher: Matcher, keys: frozenset[str] = frozenset()) -> Rows:
    """The rows of a Parquet file that are listed, or whose samples are.

    Args:
        path: the file.
        matcher: finds them.
        keys: of samples that are listed.

    Raises:
        CannotClean: the file is damaged.
    """
    with _opened(path) as file:
        columns, at, parts = columns_of(file.schema_arrow), 0, list[Rows]()
        if "sha256" not in matcher.kinds:
            columns = replace(columns, contents=())  # pictures are read for that alone
        for table in _batches(file, columns.top_level):
            numbers = matcher.rows(table, columns)
            if keys and columns.keys:
                numbers = np.union1d(numbers, np.flatnonzero(np.isin(_keys(table, columns), [*keys]))).astype(np.int64)
            if len(numbers):
                parts.append(_said(table.take(pa.array(numbers)), columns, numbers + at))
            at += table.num_rows
        count = file.metadata.num_rows
    return Rows(
        count,
        np.concatenate([part.numbers for part in parts]) if parts else np.empty(0, dtype=np.int64),
        tuple(sorted({one for part in parts for one in part.pair_ids})),
        frozenset().union(*(part.keys for part in parts)),
        tuple(one for part in parts for one in part.outcomes),
    )


def write_without(path: Path, numbers: np.ndarray, fresh: Path) -> None:
    """Write a Parquet file again without some rows: with its columns, codecs and metadata, and nothing of those rows.

    Args:
        path: the file.
        numbers: of the rows that go, in order.
        fresh: the new file.

    Raises:
        CannotClean: the file is damaged, or has dictionaries within its columns, which would keep what was in the rows.
    """
    with _opened(path) as file:
        schema = file.schema_arrow
        for field in schema:
            if not pa.types.is_dictionary(field.type) and _holds_dictionary(field.type):
                raise CannotClean(f"column {field.name} has a dictionary within, which cannot be cut: write it plain")
        keeps_schema = b"ARROW:schema" in (file.metadata.metadata or {})
        options = {"compression": _codecs(file), "store_schema": keeps_schema}
        with pq.ParquetWriter(fresh, schema, **options) as writer:
            at = 0
            for table in _batches(file, None):
                inside = numbers[(numbers >= at) & (numbers < at + table.num_rows)] - at
                at += table.num_rows
                if len(inside):
                    kept = np.ones(table.num_rows, dtype=bool)
                    kept[inside] = False
                    table = _without_values(table.filter(pa.array(kept)))
                if table.num_rows:
                    writer.write_table(table)


def _said(rows: pa.Table, columns: Columns, numbers: np.ndarray) -> Rows:
    statuses, errors = (
        [str(value or "") for value in column(rows, names[0]).to_pylist()] if names else [""] * rows.num_rows
        for names in (columns.statuses, columns.errors)
    )
    return Rows(
        rows.num_rows,
        numbers,
        tuple(pair_ids_of(rows, columns)),
        frozenset(_keys(rows, columns).tolist()) if columns.keys else frozenset(),
        tuple(zip(statuses, errors, strict=True)) if columns.statuses else (),
    )


def _keys(table: pa.Table, columns: Columns) -> np.ndarray:
    return np.asarray(column(table, columns.keys[0]).cast(pa.string()).to_pylist(), dtype=object).astype(str)


class _Opened:
    """A Parquet file whose damage is one kind of error."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        try:
            self._file = pq.ParquetFile(self._path, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise CannotClean(f"it is no readable Parquet file: {error}", self._path) from error
        return self._file

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        self._file.close()
        if isinstance(error, pa.ArrowException | OSError) and not getattr(error, "errno", None):
            raise CannotClean(f"it is no readable Parquet file: {error}", self._path) from error


def _opened(path: Path) -> _Opened:
    return _Opened(path)


def _batches(file: Any, names: list[str] | None) -> Iterator[pa.Table]:
    """The rows in order, so few at a time that they fit, and none of two row groups together."""
    for group in range(file.num_row_groups):
        facts = file.metadata.row_group(group)
        fit = facts.num_rows * _BATCH_BYTES // max(facts.total_byte_size, 1)
        options = {"row_groups": [group], "columns": names, "batch_size": max(1, min(fit, _BATCH_ROWS))}
        for batch in file.iter_batches(**options):
            yield pa.Table.from_batches([batch])


def _codecs(file: Any) -> dict[str, str] | str:
    if not file.num_row_groups:
        return "snappy"
    facts = file.metadata.row_group(0)
    columns = (facts.column(place) for place in range(facts.num_columns))
    return {one.path_in_schema: _CODECS.get(one.compression, one.compression.lower()) for one in columns}


def _without_values(table: pa.Table) -> pa.Table:
    """The same rows, whose dictionaries hold no more than what they say: a dictionary keeps the values of rows that
    were filtered out.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            dense = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field, dense.dictionary_encode().cast(field.type))
    return table


def _holds_dictionary(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return True
    return any(_holds_dictionary(type_.field(place).type) for place in range(type_.num_fields))
