"""Small things that algorithms in DuckDB need: quoted paths, numbers out of queries, tables that come and go."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb


def quoted(text: str | Path) -> str:
    """A text or a path as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def numbers(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    """The one row of numbers that a query gives; 0 for a null."""
    row = connection.execute(query).fetchone()
    return tuple(int(value or 0) for value in row or ())


def number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query gives; 0 for null or no row."""
    return next(iter(numbers(connection, query)), 0)


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
