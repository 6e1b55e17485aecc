"""How the command line shows work and rows."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any, Literal

import duckdb
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from laion_assets.progress import listening

Format = Literal["table", "csv", "json", "parquet"]

_SHOWN_ROWS = 200
_FETCHED_ROWS = 2_000


class BuildDisplay:
    """A bar for each stage and one for the work inside the partition at hand; plain lines without a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._detail: TaskID | None = None

    def begin(self, table: str, total: int) -> None:
        """A stage begins."""
        self._tasks[table] = self.bars.add_task(table, total=total, unit="partitions")
        if not self._console.is_terminal:
            self._console.print(f"{table}: {total} partitions to build", highlight=False)

    def advance(self, table: str) -> None:
        """One partition is behind us."""
        self.bars.advance(self._tasks[table])
        if self._detail is not None:
            self.bars.remove_task(self._detail)
            self._detail = None

    def failed(self, table: str, partition: str, error: str) -> None:
        """One partition could not be built."""
        text = f"failed {table} {partition}: {error.splitlines()[0]}"
        self._console.print(Text.assemble((text[:6], "red"), text[6:]), soft_wrap=True)

    def work(self, label: str, done: int, total: int, unit: str) -> None:
        """Progress inside a partition."""
        if self._detail is None:
            self._detail = self.bars.add_task(f"  {label}", total=total, unit=unit)
        self.bars.update(self._detail, description=f"  {label}", completed=done, total=total, unit=unit)


@contextmanager
def build_display(console: Console) -> Iterator[BuildDisplay]:
    """Show the builds inside the block."""
    display = BuildDisplay(console)
    with display.bars, listening(display.work):
        yield display


def print_rows(rows: duckdb.DuckDBPyRelation, format_: Format, console: Console) -> None:
    """Print a query's rows as a table (the first of them), CSV, JSON (a line a row) or Parquet (bytes)."""
    if format_ == "table":
        _print_table(rows, console)
    elif format_ == "parquet":
        sys.stdout.flush()
        rows.pl().write_parquet(sys.stdout.buffer)
    elif format_ == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows.columns)
        for row in _fetched(rows):
            writer.writerow(["" if value is None else _plain(value) for value in row])
    else:
        for row in _fetched(rows):
            sys.stdout.write(_json(dict(zip(rows.columns, row, strict=True))) + "\n")


def _fetched(rows: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    while batch := rows.fetchmany(_FETCHED_ROWS):
        yield from batch


def _plain(value: Any) -> str:
    """A value as one field of text; what has parts, and truth values, as JSON."""
    return _json(value) if isinstance(value, list | tuple | dict | bool) else _json_value(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_json_value)
    except ValueError:  # JSON has neither NaN nor infinities
        return json.dumps(_without_nan(value), ensure_ascii=False, default=_json_value)


def _json_value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(member) for key, member in value.items()}
    return [_without_nan(member) for member in value] if isinstance(value, list | tuple) else value


def _print_table(rows: duckdb.DuckDBPyRelation, console: Console) -> None:
    table = Table()
    for name in rows.columns:
        table.add_column(Text(name))
    fetched = rows.limit(_SHOWN_ROWS + 1).fetchall()
    for row in fetched[:_SHOWN_ROWS]:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console.print(table)
    if len(fetched) > _SHOWN_ROWS:
        console.print(f"only the first {_SHOWN_ROWS} rows are shown; --format csv, json or parquet gives all")
