"""SQL over a lake: every table and model is there, every commit shows, and a version can be asked for."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.lake.takedowns import request_takedown
from laion_assets.sql.guard import NotAQueryError
from laion_assets.sql.project import PROJECT, load_project
from laion_assets.sql.session import connect, query
from laion_assets.sql.versions import NoSuchVersion
from laion_assets.tables.catalogue import TABLES
from tests.unit.sql.model_files import write_model

PROVENANCE = Provenance(run_id="run", code_version="1", settings_digest="s")


def publish(lake: Lake, crawl: str, *paths: str) -> None:
    schema = {"file_number": pl.Int32, "path": pl.String, "shard": pl.Int32}
    files = pl.DataFrame([(n, path, n % 4) for n, path in enumerate(paths)], schema=schema, orient="row")
    with lake_build(lake, "wat_files", {"crawl": crawl}, PROVENANCE) as build:
        build.add(files)
        build.rows_in = len(paths)
        build.publish()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "a lake's folder"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return open_lake(str(tmp_path_factory.mktemp("empty") / "a lake's folder"))


@pytest.fixture(scope="module")
def con(empty: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session over the empty lake; no query can change it."""
    with connect(empty) as made:
        yield made


def fetched(con: duckdb.DuckDBPyConnection, text: str) -> list[tuple[object, ...]]:
    rows = query(con, text)
    assert rows is not None
    return rows.fetchall()


def test_tables_that_nobody_built_are_there_and_empty(con):
    for name, table in TABLES.items():
        rows = query(con, f"SELECT * FROM {name}")
        assert rows.columns == [column.name for column in table.columns]
        assert rows.fetchall() == []


def test_every_model_is_a_view(con):
    models = load_project(PROJECT).enabled
    assert set(models) >= {"funnel", "scored_pairs"}
    for name, model in models.items():
        rows = query(con, f"FROM {name} LIMIT 0")
        assert rows.columns == [column.name for column in model.columns]


def test_rows_are_read_with_their_types_and_partitions(lake):
    publish(lake, "CC-MAIN-2024-10", "a/ü.wat.gz", "b.wat.gz")
    publish(lake, "CC-MAIN-2024-18", "c.wat.gz")
    with connect(lake) as con:
        rows = fetched(con, "SELECT crawl, file_number, path FROM wat_files ORDER BY ALL")
        assert rows == [
            ("CC-MAIN-2024-10", 0, "a/ü.wat.gz"),
            ("CC-MAIN-2024-10", 1, "b.wat.gz"),
            ("CC-MAIN-2024-18", 0, "c.wat.gz"),
        ]


def test_a_session_sees_commits_that_come_after_it_began(lake):
    publish(lake, "CC-MAIN-2024-10", "a")
    with connect(lake) as con:
        assert fetched(con, "SELECT count(*) FROM wat_files") == [(1,)]
        publish(lake, "CC-MAIN-2024-18", "b", "c")
        assert fetched(con, "SELECT count(*) FROM wat_files") == [(3,)]
        publish(lake, "CC-MAIN-2024-10")
        assert fetched(con, "SELECT count(*) FROM wat_files") == [(2,)]


def test_times_are_shown_in_utc(con):
    assert fetched(con, "SELECT current_setting('TimeZone')") == [("UTC",)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "FROM wat_files",
        "WITH x AS (SELECT 1) FROM x",
        "SELECT 0; SELECT 1;",
        "VALUES (1)",
        "DESCRIBE wat_files",
        "SHOW TABLES",
        "SUMMARIZE wat_files",
        "EXPLAIN FROM wat_files",
        "-- größer\nexplain /* ü */ analyze FROM wat_files",
        "-- only\nSELECT 1",
        "EXPLAIN (ANALYZE, FORMAT json) FROM wat_files",
        "EXPLAIN (FORMAT json)(SELECT ')')",
    ],
)
def test_whatever_reads_is_run(con, text):
    assert query(con, text) is not None


@pytest.mark.parametrize("text", ["", "  ", ";", "-- nothing but a remark"])
def test_no_statement_gives_nothing(con, text):
    assert query(con, text) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("COPY (SELECT 1) TO 'x.csv'", "COPY"),
        ("SELECT 1; DROP VIEW wat_files", "DROP"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'", "EXPLAIN"),
        ("FROM copy_dir('a', 'b')", "copy_dir"),
        ("SET threads = 1", "SET"),
    ],
)
def test_whatever_does_more_than_read_is_refused_by_name(con, text, what):
    with pytest.raises(NotAQueryError, match=f"{what}.*only reads"):
        query(con, text)


def test_wrong_sql_says_what_is_wrong(con):
    with pytest.raises(duckdb.Error, match="wat_file"):
        query(con, "SELECT * FROM wat_fils")


def test_models_of_one_s_own_build_on_one_another(lake, tmp_path):
    publish(lake, "CC-MAIN-2024-10", "a", "b")
    by_crawl = "SELECT crawl, count(*) AS files FROM {{ source('wat_files') }} GROUP BY crawl"
    write_model(tmp_path, "by_crawl", by_crawl, layer="staging", header="materialized: view")
    total = "SELECT sum(files)::BIGINT AS files FROM {{ ref('by_crawl') }}"
    write_model(tmp_path, "total", total, header="materialized: view")
    with connect(lake, models=tmp_path) as con:
        assert fetched(con, "FROM total") == [(2,)]
    write_model(tmp_path, "broken", "SELECT nothing FROM {{ ref('by_crawl') }}", header="materialized: view")
    with connect(lake, models=tmp_path) as con:
        assert fetched(con, "FROM total") == [(2,)]
        with pytest.raises(duckdb.CatalogException, match="broken"):
            con.sql("FROM broken")


@pytest.fixture
def grown(lake: Lake) -> Lake:
    """A table of four versions: none (0), one, three and four files."""
    publish(lake, "CC-MAIN-2024-10", "a")
    publish(lake, "CC-MAIN-2024-18", "b", "c")
    publish(lake, "CC-MAIN-2024-22", "d")
    return lake


@pytest.mark.parametrize(("version", "files"), [(0, 0), (1, 1), (2, 3), (3, 4)])
def test_a_table_is_read_as_it_was_at_a_version(grown, version, files):
    with connect(grown, at={"wat_files": version}) as con:
        assert fetched(con, "SELECT count(*) FROM wat_files") == [(files,)]


def test_a_table_at_a_version_stands_still_and_the_others_do_not(grown, tmp_path):
    by_crawl = "SELECT crawl, count(*) AS files FROM {{ source('wat_files') }} GROUP BY crawl"
    write_model(tmp_path, "by_crawl", by_crawl, header="materialized: view")
    with connect(grown, models=tmp_path, at={"wat_files": 2}) as con:
        publish(grown, "CC-MAIN-2024-10", "a", "e")
        request_takedown(grown, "domain", "example.org", None)
        assert fetched(con, "FROM by_crawl ORDER BY ALL") == [("CC-MAIN-2024-10", 1), ("CC-MAIN-2024-18", 2)]
        assert fetched(con, "SELECT value FROM takedowns") == [("example.org",)]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ({"wat_files": 4}, ["wat_files", "0 to 3", "4"]),
        ({"wat_files": -1}, ["0 to 3", "-1"]),
        ({"wat_files": "2"}, ["0 to 3", "'2'"]),
        ({"wat_files": 1, "images": 0}, ["images", "nobody has built"]),
        ({"wat_flies": 0}, ["wat_flies", "wat_files", "filtered_pairs"]),
    ],
)
def test_a_version_that_is_not_there_is_said_in_one_line(grown, at, words):
    with pytest.raises(NoSuchVersion) as said:
        connect(grown, at=at)
    assert [word for word in words if word not in str(said.value)] == []
    assert "\n" not in str(said.value)
