"""SQL over a lake: every table is there, every commit shows, and nothing is written or read beside the lake."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from laion_assets.lake.build import lake_build
from laion_assets.lake.commits import Provenance
from laion_assets.lake.lake import Lake
from laion_assets.lake.tables import TABLES
from laion_assets.sql.session import MODELS, NotAQueryError, connect, query

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
    return Lake.open(str(tmp_path / "a lake's folder"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake.open(str(tmp_path_factory.mktemp("empty") / "a lake's folder"))


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
    models = {file.stem for file in MODELS.glob("*/*.sql")}
    assert models >= {"funnel", "scored_pairs"}
    for model in models:
        assert fetched(con, f"SELECT count(*) FROM {model}") == [(0,)]


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
    ],
)
def test_whatever_reads_is_run(con, text):
    assert query(con, text) is not None


@pytest.mark.parametrize("text", ["", "  ", ";", "-- nothing but a remark"])
def test_no_statement_gives_nothing(con, text):
    assert query(con, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW wat_files AS SELECT 1",
        "INSERT INTO wat_files SELECT * FROM wat_files",
        "DELETE FROM wat_files",
        "UPDATE wat_files SET path = ''",
        "DROP VIEW wat_files",
        "COPY (SELECT 1) TO '{inside}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{inside}'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{inside}'",
        "EXPLAIN /* /* */ SELECT 1; -- */ ANALYZE COPY (SELECT 1) TO '{inside}'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "SELECT 1; COPY (SELECT 1) TO '{inside}'",
        "EXPORT DATABASE '{folder}'",
        "ATTACH '{inside}' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "PRAGMA threads = 1",
        "RESET threads",
        "BEGIN",
        "CALL pragma_version()",
        "PREPARE p AS DELETE FROM wat_files",
        "EXECUTE p",
    ],
)
def test_whatever_does_more_than_read_is_refused(empty, con, text):
    inside, before = empty.root / "written", sorted(empty.root.iterdir())
    with pytest.raises(NotAQueryError, match="only reads"):
        query(con, text.format(inside=str(inside).replace("'", "''"), folder=str(empty.root).replace("'", "''")))
    assert sorted(empty.root.iterdir()) == before


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "SELECT * FROM sqlite_scan('{file}', 't')",
        "SELECT getenv('PATH')",
    ],
)
def test_nothing_beside_the_lake_can_be_read(con, tmp_path, text):
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    with pytest.raises(duckdb.Error):
        query(con, text.format(file=tmp_path / "secret.csv", folder=tmp_path)).fetchall()


def test_python_s_own_variables_are_no_tables(con):
    secret = pl.DataFrame({"x": [1]})  # noqa: F841
    with pytest.raises(duckdb.Error, match="secret"):
        query(con, "FROM secret")


def test_wrong_sql_says_what_is_wrong(con):
    with pytest.raises(duckdb.Error, match="wat_file"):
        query(con, "SELECT * FROM wat_fils")


def test_models_of_one_s_own_build_on_one_another(lake, tmp_path):
    publish(lake, "CC-MAIN-2024-10", "a", "b")
    for layer, name, text in (
        ("marts", "total", "SELECT sum(files) AS files FROM by_crawl;\n"),
        ("staging", "by_crawl", "-- a remark\nSELECT crawl, count(*) AS files FROM wat_files GROUP BY crawl"),
    ):
        (tmp_path / "models" / layer).mkdir(parents=True)
        (tmp_path / "models" / layer / f"{name}.sql").write_text(text)
    with connect(lake, models=tmp_path / "models") as con:
        assert fetched(con, "FROM total") == [(2,)]
    (tmp_path / "models" / "marts" / "broken.sql").write_text("SELECT nothing FROM by_crawl")
    with pytest.raises(duckdb.Error, match="nothing"):
        connect(lake, models=tmp_path / "models")
