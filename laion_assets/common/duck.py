"""Small things that algorithms in DuckDB need: quoted paths, numbers out of queries, tables that come and go."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb


def quoted(text: str | Path) -> str:
    """A text or a path as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(column: str) -> str:
    """A name as SQL has it, whatever is in it."""
    return '"' + column.replace('"', '""') + '"'


def numbers(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    """The one row of numbers that a query gives; 0 for a null."""
    row = connection.execute(query).fetchone()
    return tuple(int(value or 0) for value in row or ())


def number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query gives; 0 for null or no row."""
    return next(iter(numbers(connection, query)), 0)


def records(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows that a query gave, by the names of their columns."""
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def fetched(result: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation, at_once: int) -> Iterator[tuple[Any, ...]]:
    """The rows that a query gives, so many held at a time."""
    while batch := result.fetchmany(at_once):
        yield from batch


@contextmanager
def temporary_tables(connection: duckdb.DuckDBPyConnection, *names: str) -> Iterator[None]:
    """No such temporary table before, none after."""
    try:
        for name in names:
            connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
        yield
    finally:
        for name in names:
            connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
