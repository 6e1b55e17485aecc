"""A query's rows: the first of them for people, all of them for programs."""

import csv
import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

import duckdb
from rich.console import Console

from laion_assets.cli.common import UsageError, json_value
from laion_assets.cli.sql.table import (
    SHOWN_ROWS,
    Summary,
    print_plan,
    print_table,
    print_vertical,
    printable,
    single,
)
from laion_assets.common.duck import fetched
from laion_assets.common.quantities import counted

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["auto", "table", "vertical", "tsv", "csv", "json", "parquet"]
"""``auto`` is a table on a terminal, vertical where that is too narrow for all columns, and tsv elsewhere."""

_FETCHED_ROWS = 2_000
_GROUP_ROWS = 120_000
_GROUP_BYTES = 64_000_000


def print_rows(
    rows: duckdb.DuckDBPyRelation,
    format_: Format,
    console: Console,
    *,
    to: TextIO | None = None,
    most: int = SHOWN_ROWS,
) -> Summary:
    """Print a query's rows: the first of them as a table or a line a value, all as TSV, CSV, JSON or Parquet (bytes).

    In TSV and JSON a line is a row. Nothing but shown rows is ever held: results larger than memory can be written.

    Args:
        rows: the query.
        format_: what to make of it.
        console: where a table goes, fitted to its width if it is a terminal.
        to: a file that takes the rows instead, opened for text with ``newline=""``.
        most: rows of a table that are shown.

    Returns:
        How many rows there are, in words, and how many of them are shown.

    Raises:
        UsageError: Parquet has no place for a column's type.
    """
    if to:
        console = Console(file=to, emoji=False)
    if format_ in ("auto", "tsv", "table", "vertical") and (plan := print_plan(rows, console)):
        return plan
    if format_ == "table" or (format_ == "auto" and console.is_terminal):
        return print_table(rows, console, most, cut=format_ == "table")
    if format_ == "vertical":
        return print_vertical(rows, console, most)
    text = to or sys.stdout
    written = 0
    if format_ == "parquet":
        text.flush()
        written = _write_parquet(rows, text.buffer)
    elif format_ == "csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(rows.columns)
        for row in fetched(rows, _FETCHED_ROWS):
            writer.writerow(["" if value is None else _plain(value) for value in row])
            written += 1
    elif format_ in ("auto", "tsv"):
        text.write("\t".join(map(printable, rows.columns)) + "\n")
        narrow = [str(type_) == "FLOAT" for type_ in rows.types]
        for row in fetched(rows, _FETCHED_ROWS):
            fields = (single(v) if is_narrow and v is not None else v for v, is_narrow in zip(row, narrow, strict=True))
            text.write("\t".join("NULL" if v is None else printable(_plain(v)) for v in fields) + "\n")
            written += 1
    else:
        names = _distinct(rows.columns)
        for row in fetched(rows, _FETCHED_ROWS):
            text.write(_json(dict(zip(names, row, strict=True))) + "\n")
            written += 1
    return Summary(counted(written, "row"))


def _distinct(names: list[str]) -> list[str]:
    """The names, those that came before with a number behind them: a join has two columns `crawl`."""
    found: list[str] = []
    for name in names:
        numbered = (name if n == 0 else f"{name}_{n}" for n in itertools.count())
        found.append(next(candidate for candidate in numbered if candidate not in found))
    return found


def _write_parquet(rows: duckdb.DuckDBPyRelation, file: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    reader = rows.to_arrow_reader(_FETCHED_ROWS)
    schema = pa.schema([f.with_name(name) for f, name in zip(reader.schema, _distinct(rows.columns), strict=True)])
    try:
        writer = pq.ParquetWriter(file, schema, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise UsageError(f"Parquet has no place for a column ({error}): cast it, to VARCHAR for example") from error
    written = 0
    with writer:
        for group in _row_groups(reader):
            writer.write_table(pa.Table.from_batches(group).rename_columns(schema.names), row_group_size=_GROUP_ROWS)
            written += sum(batch.num_rows for batch in group)
    return written


def _row_groups(batches: "Iterable[pa.RecordBatch]") -> "Iterator[list[pa.RecordBatch]]":
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(b.num_rows for b in group) >= _GROUP_ROWS or sum(b.nbytes for b in group) >= _GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _plain(value: Any) -> str:
    """A value as one field of text; what has parts, and truth values, as JSON."""
    return _json(value) if isinstance(value, list | tuple | dict | bool) else json_value(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=json_value)
    except ValueError:  # JSON has neither NaN nor infinities
        return json.dumps(_without_nan(value), ensure_ascii=False, default=json_value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(member) for key, member in value.items()}
    return [_without_nan(member) for member in value] if isinstance(value, list | tuple) else value
