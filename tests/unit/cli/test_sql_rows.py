"""Rows of a query as people and programs get them."""

import csv
import io
import json
import re
import sys
from typing import Any

import duckdb
import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from laion_assets.cli.sql.rows import print_rows

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


def table(query: str, width: int | None = None, most: int = 200) -> tuple[list[str], str]:
    """The lines of a printed table, in a terminal of this width or in none, and what is said of its rows."""
    shown = io.StringIO()
    console = Console(file=shown, width=width, force_terminal=width is not None, color_system=None, emoji=False)
    with duckdb.connect() as con:
        said, _ = print_rows(con.sql(query), "table", console, most=most)
    return shown.getvalue().splitlines(), said


@pytest.mark.parametrize(
    ("rows", "most", "said"),
    [
        (0, 200, "0 rows"),
        (1, 200, "1 row"),
        (200, 200, "200 rows"),
        (201, 200, "201 rows, the first 200 shown"),
        (10_000, 5, "10,000 rows, the first 5 shown"),
        (10_001, 5, "more than 10,000 rows, the first 5 shown"),
    ],
)
def test_a_table_says_how_many_rows_there_are(rows, most, said):
    lines, found = table(f"SELECT range AS n FROM range({rows})", most=most)
    assert found == said
    assert len(lines) == 4 + min(rows, most)


def test_a_wide_table_fits_the_terminal_and_says_what_is_left_out():
    columns = ", ".join(f"'{'x' * 50}' AS text_{n}, 1234567890123456789 + {n} AS number_{n}" for n in range(8))
    lines, said = table(f"SELECT {columns}", width=100)
    assert {len(line) for line in lines} <= set(range(80, 101))
    assert "1234567890123456789" in lines[3]
    assert "xxxxxxxxxxx…" in lines[3]
    assert "+11" in lines[1]
    assert said == "1 row, 5 of 16 columns shown"
    lines, said = table(f"SELECT {columns}")
    assert ("x" * 50 in lines[3], said) == (True, "1 row")


def automatic(query: str, width: int | None) -> list[str]:
    """The lines that are shown where nobody said how, in a terminal of this width; the last says how many rows."""
    shown = io.StringIO()
    console = Console(file=shown, width=width, force_terminal=True, color_system=None, emoji=False)
    with duckdb.connect() as con:
        said = print_rows(con.sql(query), "auto", console).text
    return [*shown.getvalue().splitlines(), said]


def test_a_terminal_too_narrow_for_all_columns_gets_a_line_a_value():
    columns = ", ".join(f"'{'x' * 50}' AS text_{n}" for n in range(8))
    lines = automatic(f"SELECT {columns}", 60)
    assert lines == ["-- row 1 --", *[f"text_{n}  {'x' * 50}" for n in range(8)], "1 row"]
    assert "│" in automatic(f"SELECT {columns}", 200)[3]
    many = automatic(f"SELECT {columns} FROM range(50)", 60)
    assert (many[-1], sum(line.startswith("-- row") for line in many)) == ("50 rows, the first 20 shown", 20)
    assert "text_0 ┃" in automatic(f"SELECT {columns} WHERE false", 60)[1]


def test_a_long_value_alone_does_not_turn_a_table():
    assert "│" in automatic(f"SELECT '{'x' * 500}' AS text, 1 AS n", 60)[3]


def test_the_widest_column_gives_way_first():
    lines, said = table(f"SELECT 'de' AS language, '{'wide ' * 40}' AS text, 0.25 AS similarity", width=60)
    assert "│ de       │ wide wide wide" in lines[3]
    assert lines[3].endswith("… │       0.25 │")
    assert (len(lines[3]), said) == (60, "1 row")


def test_a_crawl_s_name_is_not_cut():
    lines, _ = table(f"SELECT 'CC-MAIN-2026-04' AS crawl, '{'x' * 90}' AS a, '{'y' * 90}' AS b", width=60)
    assert "│ CC-MAIN-2026-04 │ xxxxx" in lines[3]


def test_wide_characters_are_measured_as_they_are_drawn():
    lines, _ = table(f"SELECT '{'写真' * 40}' AS text, 1 AS n", width=40)
    assert max(cell_len(line) for line in lines) in (39, 40)
    assert len({cell_len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("NULL", "NULL"),
        ("''", ""),
        ("true", "true"),
        ("0.1::FLOAT", "0.1"),
        ("0.7675210237503052::FLOAT", "0.767521"),
        ("0.1::DOUBLE", "0.1"),
        ("1e30::FLOAT", "1e+30"),
        ("'nan'::FLOAT", "nan"),
        ("[0.5, 0.25]::FLOAT[]", "[0.5, 0.25]"),
        ("[i / 100 - 0.03 FOR i IN range(64)]::FLOAT[]", "[-0.03, -0.02, … 64]"),
        ("[0.123 FOR i IN range(8)]::FLOAT[8]", "[" + ", ".join(["0.123"] * 8) + "]"),
        ("range(100)", "[0, 1, … 100]"),
        ("['a', NULL]", "[a, NULL]"),
        ("{'a': 1, 'b': ['x']}", "{a: 1, b: [x]}"),
        ("MAP {'k': 2}", "{k: 2}"),
        ("'\\x00\\xFF'::BLOB", "00ff"),
        ("repeat('a', 100)::BLOB", "61616161616161616161616161616161… 100 bytes"),
        ("TIMESTAMPTZ '2024-02-29 12:00:00+00'", "2024-02-29 12:00:00+00:00"),
        ("'two' || chr(10) || 'lines'", r"two\nlines"),
        ("'red ' || chr(27) || '[31m ' || chr(7)", r"red \x1b[31m \x07"),
        ("'abc' || chr(8238) || 'def'", r"abc\u202edef"),
        ("'a' || chr(160) || 'b'", "a b"),
        ("'👩' || chr(8205) || '🚀'", "👩\u200d🚀"),
        ("'[red]shown[/] :smile:'", "[red]shown[/] :smile:"),
    ],
)
def test_a_value_is_one_line_with_nothing_a_terminal_would_obey(value, shown):
    lines, _ = table(f"SET TimeZone = 'UTC'; SELECT {value} AS x", width=200)
    assert len(lines) == 5
    assert lines[3].strip("│ ") == shown


def test_a_plan_is_drawn_as_it_is():
    lines, said = table("EXPLAIN SELECT 42 AS answer", width=60)
    assert any("PROJECTION" in line for line in lines)
    assert said == "1 plan"


def test_columns_of_one_name_are_both_shown():
    lines, _ = table("SELECT 1 AS a, 2 AS a", width=60)
    assert re.sub(r"[│ ]+", " ", lines[3]).split() == ["1", "2"]


@pytest.mark.parametrize(("format_", "empty"), [("csv", b"one,two\n"), ("json", b"")])
def test_no_rows_are_no_rows(shown, format_, empty):
    assert shown("SELECT 1 AS one, [2] AS two WHERE false", format_) == empty
    assert len(shown("SELECT range AS n FROM range(5001)", format_).splitlines()) == 5001 + (format_ == "csv")
