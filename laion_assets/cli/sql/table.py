"""The first rows of a query for people, long values shortened: a table fitted to the terminal, or a line a value."""

import struct
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import duckdb
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from laion_assets.common.quantities import counted

SHOWN_ROWS = 200
_SHOWN_UPRIGHT = 20
"""Rows that are shown a line a value without having been asked for so."""
_COUNTED_ROWS = 10_000
_COUNTED_SECONDS = 0.5
_FETCHED_ROWS = 1_000
_LONG_LIST = 8
_SHOWN_BYTES = 16
_WHOLE, _NARROW = 16, 12
"""Text that is no wider than the first is not cut: crawls differ in their last characters. Wider text may be cut down
to the second before columns are left out."""
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need; others could reorder or hide what stands beside them."""

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


class Summary(NamedTuple):
    """How many rows there were, in words."""

    text: str
    partial: bool = False
    """Whether rows were left out."""


def print_plan(rows: duckdb.DuckDBPyRelation, console: Console) -> Summary | None:
    """Draw what EXPLAIN gives as it is, for it is a drawing; None, and nothing is done, for other rows."""
    if rows.columns != ["explain_key", "explain_value"]:
        return None
    plans = rows.fetchall()
    for _, plan in plans:
        console.out(plan.rstrip(), highlight=False)
    return Summary(counted(len(plans), "plan"))


def print_table(
    rows: duckdb.DuckDBPyRelation, console: Console, most: int = SHOWN_ROWS, *, cut: bool = True
) -> Summary:
    """Print the first ``most`` rows; as wide as they are where the console is no terminal.

    Where a terminal has no room for all columns, the last are left out, or without ``cut`` the first rows are printed
    as :func:`print_vertical` does.

    Returns:
        How many rows there are, and how many rows and columns of them are shown.
    """
    shown, said, partial = _first(rows, most)
    types = [str(type_) for type_ in rows.types]
    cells = [[_cell(value, type_) for value, type_ in zip(row, types, strict=True)] for row in shown]
    numeric = [type_.lstrip("U").startswith(_NUMBERS) and not type_.endswith("]") for type_ in types]
    widths = _widths(rows.columns, cells, numeric, console.width if console.is_terminal else None)
    if not cut and cells and len(widths) < len(rows.columns):
        most = min(most, _SHOWN_UPRIGHT)
        _draw_vertical(rows.columns, cells[:most], console)
        partial = partial or len(cells) > most
        return Summary(said + f", the first {most} shown" * partial, partial)
    _draw(rows.columns, cells, numeric, widths, console)
    if partial:
        said += f", the first {most} shown"
    if len(widths) < len(rows.columns):
        said += f", {len(widths)} of {len(rows.columns)} columns shown"
    return Summary(said, partial)


def print_vertical(rows: duckdb.DuckDBPyRelation, console: Console, most: int = SHOWN_ROWS) -> Summary:
    """Print the first ``most`` rows with a line for each value, which is never cut: for rows of many columns.

    Returns:
        How many rows there are, and how many of them are shown.
    """
    shown, said, partial = _first(rows, most)
    types = [str(type_) for type_ in rows.types]
    cells = [[_cell(value, type_) for value, type_ in zip(row, types, strict=True)] for row in shown]
    _draw_vertical(rows.columns, cells, console)
    return Summary(said + f", the first {most} shown" * partial, partial)


def _draw_vertical(names: Sequence[str], cells: Sequence[Sequence[str]], console: Console) -> None:
    names = [printable(name) for name in names]
    width = max(map(cell_len, names), default=0)
    for number, row in enumerate(cells, 1):
        console.print(Text(f"-- row {number:,} --", style="bold"))
        for name, cell in zip(names, row, strict=True):
            value = Text(cell, style="dim" if cell == "NULL" else "")
            console.print(Text.assemble((set_cell_size(name, width), "dim"), "  ", value), soft_wrap=True)


def _first(rows: duckdb.DuckDBPyRelation, most: int) -> tuple[list[tuple[Any, ...]], str, bool]:
    """The first rows, how many there are, and whether there are more than those.

    They are counted as far as that costs nothing to speak of.
    """
    limited = rows.limit(_COUNTED_ROWS + 1)
    shown = limited.fetchmany(most)
    number, more, begun = len(shown), len(shown) == most, time.monotonic()
    while more and number <= _COUNTED_ROWS and time.monotonic() - begun < _COUNTED_SECONDS:
        batch = limited.fetchmany(_FETCHED_ROWS)
        number, more = number + len(batch), bool(batch)
    limited.close()
    said = counted(number, "row")
    if more:
        said = f"more than {_COUNTED_ROWS:,} rows" if number > _COUNTED_ROWS else f"at least {said}"
    return shown, said, number > len(shown)


def _draw(
    names: Sequence[str], cells: list[list[str]], numeric: list[bool], widths: list[int], console: Console
) -> None:
    table = Table()
    for name, number, width in zip(names, numeric, widths, strict=False):
        table.add_column(Text(_fitted(printable(name), width)), justify="right" if number else "left", no_wrap=True)
    left_out = len(names) - len(widths)
    if left_out:
        table.add_column(Text(f"+{left_out}"))
    for row in cells:
        fitted = (_fitted(cell, width) for cell, width in zip(row, widths, strict=False))
        table.add_row(*(Text(cell, style="dim" if cell == "NULL" else "") for cell in fitted), *["…"] * bool(left_out))
    if not console.is_terminal:
        console = Console(file=console.file, emoji=False, width=sum(widths) + 3 * len(widths) + 1)
    console.print(table)


def _fitted(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _widths(names: Sequence[str], cells: list[list[str]], numeric: list[bool], room: int | None) -> list[int]:
    """Widths of the first columns, as many as there is room for."""
    content = [max((cell_len(row[n]) for row in cells), default=0) for n in range(len(names))]
    natural = [max(width, cell_len(printable(name)), 1) for name, width in zip(names, content, strict=True)]
    if room is None:
        return natural
    # A number with its end cut off would be another number.
    least = [
        width if width <= _WHOLE else max(held, _NARROW) if number else _NARROW
        for width, held, number in zip(natural, content, numeric, strict=True)
    ]
    kept = len(names)
    while kept > 1 and sum(least[:kept]) + 3 * kept + 1 + (0 if kept == len(names) else 7) > room:
        kept -= 1
    room -= 3 * kept + 1 + (0 if kept == len(names) else 7)
    return _spread(natural[:kept], least[:kept], room)


def _spread(natural: list[int], least: list[int], room: int) -> list[int]:
    """The widest columns give way first, none below its least."""

    def at(limit: int) -> list[int]:
        return [min(width, max(low, limit)) for width, low in zip(natural, least, strict=True)]

    limit = max(natural, default=0)
    while limit > _NARROW and sum(at(limit)) > room:
        limit -= 1
    return at(limit)


def _cell(value: Any, type_: str) -> str:
    """A value in one line."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return single(value) if type_.startswith("FLOAT") else repr(value)
    if isinstance(value, list | tuple):
        return _listed(value, type_)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_cell(key, '')}: {_cell(member, '')}" for key, member in value.items()) + "}"
    if isinstance(value, bytes):
        more = f"… {counted(len(value), 'byte')}" if len(value) > _SHOWN_BYTES else ""
        return value[:_SHOWN_BYTES].hex() + more
    return printable(str(value))


def _listed(values: Sequence[Any], type_: str) -> str:
    if len(values) <= _LONG_LIST:
        return "[" + ", ".join(_cell(value, type_) for value in values) + "]"
    brief: Callable[[Any], str] = lambda v: f"{v:.2f}" if isinstance(v, float) else _cell(v, type_)  # noqa: E731
    return f"[{', '.join(brief(value) for value in islice(values, 2))}, … {len(values)}]"


def single(value: float) -> str:
    """The shortest decimal that is this 32-bit number."""
    for digits in (6, 7, 8):
        text = f"{value:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == value:
            return text
    return f"{value:.9g}"


def printable(text: str) -> str:
    """The text in one line, with nothing in it that a terminal would obey: captions may hold anything."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _JOINERS else " " if c.isspace() and c not in "\n\r" else ascii(c)[1:-1]
        for c in text
    )
