"""How the command line shows work and rows."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from laion_assets.progress import listening

_SHOWN_ROWS = 200


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
        self._console.print(f"[red]failed[/] {table} {partition}: {error.splitlines()[0]}", highlight=False)

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


def print_rows(rows: duckdb.DuckDBPyRelation, format_: str, console: Console) -> None:
    """Print a query's rows as ``table`` (the first of them), ``csv``, ``json`` (a line a row) or ``parquet`` (bytes).

    Raises:
        ValueError: there is no such format.
    """
    if format_ == "table":
        _print_table(rows, console)
    elif format_ == "csv":
        sys.stdout.write(rows.pl().write_csv())
    elif format_ == "json":
        for row in rows.pl().iter_rows(named=True):
            sys.stdout.write(json.dumps(row, default=str, ensure_ascii=False) + "\n")
    elif format_ == "parquet":
        rows.pl().write_parquet(sys.stdout.buffer)
    else:
        raise ValueError(f"--format: expected table, csv, json or parquet, found {format_!r}")


def _print_table(rows: duckdb.DuckDBPyRelation, console: Console) -> None:
    table = Table(*rows.columns)
    fetched = rows.limit(_SHOWN_ROWS + 1).fetchall()
    for row in fetched[:_SHOWN_ROWS]:
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)
    if len(fetched) > _SHOWN_ROWS:
        console.print(f"only the first {_SHOWN_ROWS} rows are shown; --format csv, json or parquet gives all")
