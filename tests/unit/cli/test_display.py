"""Rows of a query as people and programs get them."""

import csv
import io
import json
import sys
from typing import Any

import duckdb
import polars as pl
import pytest
from rich.console import Console

from laion_assets.cli.display import print_rows

MANY_TYPES = """
    SELECT 1::TINYINT AS small, 170141183460469231731687303715884105727::HUGEINT AS huge, 1.5::DOUBLE AS real,
           'nan'::FLOAT AS nan, 12.30::DECIMAL(9, 2) AS exact, true AS yes, NULL AS nothing, 'a "b", c' AS text,
           'two' || chr(10) || 'lines' AS lines, '\\x00\\xFF'::BLOB AS bytes, [1.5, NULL, 'inf'::DOUBLE] AS list,
           {'a': 1, 'b': ['x']} AS parts, MAP {'k': 2} AS map, DATE '2024-02-29' AS day,
           TIMESTAMPTZ '2024-02-29 12:00:00.5+00' AS moment, INTERVAL 36 HOUR AS span, uuid() AS id,
           '[red]shown[/] :smile: 写真' AS markup
"""


@pytest.fixture
def shown(capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    """What is printed of a query's rows, as bytes."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")

    def show(query: str, format_: Any) -> bytes:
        print_rows(con.sql(query), format_, Console(file=sys.stdout, width=400, emoji=False))
        sys.stdout.flush()
        return capfdbinary.readouterr().out

    yield show
    con.close()


def test_csv_holds_every_type(shown):
    head, row = csv.reader(io.StringIO(shown(MANY_TYPES, "csv").decode()))
    found = dict(zip(head, row, strict=True))
    assert found["huge"] == "170141183460469231731687303715884105727"
    assert (found["exact"], found["yes"], found["nothing"]) == ("12.30", "true", "")
    assert (found["text"], found["lines"], found["bytes"]) == ('a "b", c', "two\nlines", "00ff")
    assert json.loads(found["list"]) == [1.5, None, None]
    assert json.loads(found["parts"]) == {"a": 1, "b": ["x"]}
    assert (found["day"], found["moment"]) == ("2024-02-29", "2024-02-29T12:00:00.500000+00:00")
    assert found["markup"] == "[red]shown[/] :smile: 写真"


def test_json_holds_every_type_a_line_a_row(shown):
    (line,) = shown(MANY_TYPES, "json").decode().splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(line, parse_constant=refuse)
    assert (found["small"], found["yes"], found["nothing"], found["nan"]) == (1, True, None, None)
    assert (found["list"], found["parts"], found["map"]) == ([1.5, None, None], {"a": 1, "b": ["x"]}, {"k": 2})
    assert found["moment"] == "2024-02-29T12:00:00.500000+00:00"
    assert found["markup"] == "[red]shown[/] :smile: 写真"


def test_parquet_is_nothing_but_a_parquet_file(shown):
    frame = pl.read_parquet(io.BytesIO(shown("SELECT range AS n, [range] AS list FROM range(5000)", "parquet")))
    assert frame["n"].to_list() == list(range(5000))


def test_a_table_shows_values_as_they_are_and_the_first_rows_alone(shown):
    text = shown(MANY_TYPES, "table").decode()
    assert "[red]shown[/] :smile: 写真" in text
    text = shown("SELECT 'row ' || range AS n FROM range(1000)", "table").decode()
    assert ("row 199" in text, "row 200" in text) == (True, False)
    assert "only the first 200 rows are shown" in text


@pytest.mark.parametrize(("format_", "empty"), [("csv", b"one,two\n"), ("json", b"")])
def test_no_rows_are_no_rows(shown, format_, empty):
    assert shown("SELECT 1 AS one, [2] AS two WHERE false", format_) == empty
    assert len(shown("SELECT range AS n FROM range(5001)", format_).splitlines()) == 5001 + (format_ == "csv")
