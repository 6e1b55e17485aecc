"""Attacks on a session: whatever is asked, nothing is written, and nothing outside of the lake is read unasked."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from laion_assets.lake.opening import open_lake
from laion_assets.sql.guard import NotAQueryError, reading_statements
from laion_assets.sql.session import connect, query
from tests.filled import fill
from tests.unit.sql.model_files import write_model

WRITING = [
    # what says so
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP TABLE t (a INTEGER)",
    "CREATE OR REPLACE VIEW wat_files AS SELECT 1",
    "CREATE MACRO f(x) AS x",
    "CREATE SECRET (TYPE s3)",
    "CREATE TYPE kind AS ENUM ('a')",
    "INSERT INTO wat_files SELECT * FROM wat_files",
    "DELETE FROM wat_files",
    "UPDATE wat_files SET path = ''",
    "TRUNCATE wat_files",
    "MERGE INTO wat_files USING images ON true WHEN MATCHED THEN DELETE",
    "DROP VIEW wat_files",
    "ALTER VIEW wat_files RENAME TO w",
    "COMMENT ON VIEW wat_files IS 'x'",
    "COPY (SELECT 1) TO '{lake}/x.csv'",
    "COPY (SELECT 1) TO '{outside}/x.csv'",
    "COPY wat_files FROM '{lake}/link.csv'",
    "COPY FROM DATABASE memory TO other",
    "EXPORT DATABASE '{lake}/export'",
    "IMPORT DATABASE '{lake}/files'",
    "ATTACH '{lake}/x.duckdb' AS other",
    "ATTACH '{outside}/x.duckdb' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{outside}/x.duckdb_extension'",
    "SET threads = 1",
    "SET GLOBAL enable_external_access = true",
    "SET VARIABLE x = 1",
    "RESET threads",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling",
    "PRAGMA profiling_output = '{lake}/x.json'",
    "PRAGMA import_database('{lake}/files')",
    "CALL pragma_version()",
    "CALL enable_logging(storage_path = '{lake}/log')",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "COMMIT",
    "PREPARE p AS DELETE FROM wat_files",
    "EXECUTE p",
    "DEALLOCATE p",
    # behind something else
    "SELECT 1; COPY (SELECT 1) TO '{lake}/x.csv'",
    "SELECT 1;;; /* ; */ -- ;\n COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
    "explain analyze copy (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN (FORMAT json, ANALYZE) COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN (ANALYZE /* ) SELECT 1 -- */) COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN /* /* */ SELECT 1; -- */ ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN ANALYZE /* SELECT 1 */ COPY (SELECT 1) TO '{lake}/x.csv'",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXPLAIN ANALYZE FROM copy_dir('{lake}/files', '{lake}/x')",
    "WITH x AS (DELETE FROM wat_files RETURNING *) FROM x",
    "WITH x AS (INSERT INTO wat_files VALUES (1) RETURNING *) FROM x",
    "WITH x AS (SELECT 1) COPY x TO '{lake}/x.csv'",
    "FROM query('COPY (SELECT 1) TO ''{lake}/x.csv''')",
    "FROM query('FROM copy_dir(''{lake}/files'', ''{lake}/x'')')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM copy_dir(''{lake}/files'', ''{lake}/x'')'))",
    "PRAGMA json_execute_serialized_sql(json_serialize_sql('FROM copy_dir(''{lake}/files'', ''{lake}/x'')'))",
    # functions that do more than a SELECT lets one expect
    "FROM enable_logging(storage = 'file', storage_path = '{lake}')",
    "FROM enable_logging('QueryLog', storage_path = '{outside}')",
    "SELECT * FROM system.main.\"ENABLE_logging\"('QueryLog', storage_path => '{lake}')",
    "FROM enable_profiling(save_location = '{lake}/x.txt')",
    "FROM copy_dir('{lake}/files', '{lake}/x')",
    "SELECT (SELECT count(*) FROM copy_dir('{lake}/files', '{lake}/x'))",
    "SELECT 1 ORDER BY (SELECT count(*) FROM copy_dir('{lake}/files', '{lake}/x'))",
    "DESCRIBE FROM copy_dir('{lake}/files', '{lake}/x')",
    "SUMMARIZE FROM copy_dir('{lake}/files', '{lake}/x')",
    "FROM wat_files ASOF JOIN wat_files AS w ON (SELECT true FROM copy_dir('{lake}/files', '{lake}/x'))",
    "FROM delta_set_transaction_version('{lake}/wat_files', 'app', 1::UBIGINT, 0::UBIGINT)",
    "FROM force_checkpoint()",
    "FROM truncate_duckdb_logs()",
    "SELECT write_log('x')",
]

READING = [
    "SELECT * FROM read_text('{outside}/secret.csv')",
    "SELECT * FROM read_blob('{outside}/secret.csv')",
    "SELECT * FROM read_csv('{outside}/secret.csv')",
    "SELECT * FROM sniff_csv('{outside}/secret.csv')",
    "SELECT * FROM read_json('{outside}/secret.json')",
    "FROM '{outside}/secret.csv'",
    "FROM '{outside}/secret.parquet'",
    "FROM parquet_metadata('{outside}/secret.parquet')",
    "FROM glob('{outside}/*')",
    "FROM '{lake}/../outside/secret.csv'",
    "FROM '{lake}/link.csv'",
    "FROM '{lake}/li*.csv'",
    "FROM read_text('{lake}/linked/secret.csv')",
    "FROM glob('{lake}/linked/*')",
    "FROM delta_scan('{outside}/delta')",
    "FROM delta_scan('{lake}/../outside/delta')",
    "FROM delta_scan('{lake}/linked/delta')",
    "FROM delta_list_files('{outside}/delta')",
    "FROM delta_list_files(' file://{outside}/delta')",
    "FROM read_text('/etc/passwd')",
    "FROM glob('/etc/*')",
]

NOWHERE = [
    "FROM 'http://127.0.0.1:9/x.parquet'",
    "FROM read_csv('https://127.0.0.1:9/x.csv')",
    "FROM 's3://bucket/x.parquet'",
    "FROM delta_scan('http://127.0.0.1:9/x')",
    "FROM delta_scan('s3://bucket/x')",
    "FROM delta_scan('file://{outside}/delta')",
    "FROM delta_list_files('{lake}/x?/../../../{outside}/delta')",
    "FROM delta_list_files('.{outside}/delta?/../{lake}')",
    "FROM delta_scan('{lake}/%2e%2e/outside/delta')",
    "FROM delta_scan('{outside}' || '/delta')",
    "FROM delta_scan('{lake}/wat_files', log_tail := [{{'file_name': 'x'}}])",
    "FROM delta_domain_metadata('{outside}/delta')",
    "FROM sqlite_scan('{outside}/secret.csv', 't')",
    "FROM read_duckdb('{outside}/x.duckdb')",
    "FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "FROM '/etc/passwd'",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with links that lead out of it, and what lies outside."""
    folder = tmp_path_factory.mktemp("guard")
    lake = open_lake(str(folder / "lake"))
    fill(lake, "wat_files", 3)
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text("a,b\n1,2\n")
    (outside / "secret.json").write_text('{"a": 1}\n')
    pl.DataFrame({"a": [1]}).write_parquet(outside / "secret.parquet")
    pl.DataFrame({"a": [1]}).write_delta(outside / "delta")
    (lake.root / "link.csv").symlink_to(outside / "secret.csv")
    (lake.root / "linked").symlink_to(outside)
    (lake.root / "files").mkdir()
    (lake.root / "files" / "schema.sql").write_text(f"COPY (SELECT 1) TO '{lake.root}/x.csv';")
    (lake.root / "files" / "load.sql").write_text("")
    write_model(folder / "project", "listed", "SELECT * FROM {{ source('wat_files') }}", header="materialized: view")
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["safe", "unsafe"])
def con(request: pytest.FixtureRequest, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(folder / "lake", models=folder / "project", unsafe=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def safe(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(folder / "lake", models=folder / "project") as made:
        yield made


@pytest.fixture(scope="module")
def unsafe(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(folder / "lake", models=folder / "project", unsafe=True) as made:
        yield made


def contents(folder: Path) -> dict[str, object]:
    """Everything below the folder: bytes, times and the targets of links."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            found[name] = (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
        else:
            found[name] = path.stat().st_mtime_ns
    return found


def attack(con: duckdb.DuckDBPyConnection, folder: Path, text: str) -> list[tuple[object, ...]]:
    rows = query(con, text.format(lake=folder / "lake", outside=folder / "outside"))
    return rows.fetchall() if rows is not None else []


@pytest.mark.parametrize("text", WRITING)
def test_nothing_is_written(con, folder, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    before = contents(folder)
    with pytest.raises((NotAQueryError, duckdb.Error)):
        attack(con, folder, text)
    attack(con, folder, "SELECT count(*) FROM wat_files")  # what an attack had switched on would write now
    assert contents(folder) == before
    assert list(tmp_path.iterdir()) == []
    assert attack(con, folder, "SELECT count(*) FROM listed") == [(3,)]


@pytest.mark.parametrize("text", READING)
def test_what_lies_outside_is_read_only_if_that_was_asked_for(safe, unsafe, folder, text):
    before = contents(folder)
    with pytest.raises((NotAQueryError, duckdb.PermissionException)):
        attack(safe, folder, text)
    assert attack(unsafe, folder, text)
    assert contents(folder) == before


@pytest.mark.parametrize("text", NOWHERE)
def test_no_network_no_environment_and_no_other_kind_of_file_is_read_at_all(con, folder, text):
    before = contents(folder)
    with pytest.raises((NotAQueryError, duckdb.Error)):
        attack(con, folder, text)
    assert contents(folder) == before


def test_python_s_own_variables_are_no_tables(con):
    secret = pl.DataFrame({"x": [1]})  # noqa: F841
    with pytest.raises(duckdb.Error, match="secret"):
        con.sql("FROM secret")


@pytest.mark.parametrize(
    "text",
    [
        "FROM read_text('{lake}/lake.json')",
        "FROM glob('{lake}/*/_delta_log/*.json')",
        "FROM delta_scan('{lake}/wat_files')",
        "FROM delta_scan('{lake}/wat_files', version => 1)",
        "FROM delta_list_files('{lake}/wat_files')",
        "FROM read_parquet('{lake}/wat_files/*/*.parquet')",
        "FROM histogram(wat_files, file_number)",
        "FROM range(3), unnest([1, 2]), generate_series(2)",
        "FROM duckdb_functions() LIMIT 1",
        "PRAGMA table_info('wat_files')",
        "PIVOT wat_files ON file_number IN (0, 1) USING count(*)",
        "SELECT " + "+".join(["1"] * 400),
    ],
)
def test_whatever_only_reads_the_lake_is_run(con, folder, text):
    assert attack(con, folder, text)


def test_a_pivot_over_unnamed_values_says_how_to_name_them(con):
    with pytest.raises(NotAQueryError, match=re.escape("ON column IN ('a', 'b')")):
        query(con, "PIVOT wat_files ON file_number USING count(*)")


def test_what_is_nested_too_deeply_to_be_checked_is_not_run(con):
    with pytest.raises((NotAQueryError, duckdb.Error), match=r"levels|depth"):
        query(con, "SELECT " + "+".join(["1"] * 5_000))
    hidden = "FROM copy_dir('a', 'b')"
    for _ in range(300):
        hidden = f"FROM ({hidden})"
    with pytest.raises((NotAQueryError, duckdb.Error)):
        query(con, hidden)


def test_a_refusal_leaves_a_result_that_is_half_read_alone(con):
    rows = query(con, "SELECT range FROM range(100000)")
    assert rows.fetchmany(2) == [(0,), (1,)]
    for text in ("COPY (SELECT 1) TO 'x'", "PRAGMA nonsense(1)", "SELEC 1"):
        with pytest.raises((NotAQueryError, duckdb.Error)):
            query(con, text)
    assert query(con, "DESCRIBE wat_files").fetchall()
    assert rows.fetchmany(1) == [(2,)]


def test_statements_are_given_one_by_one(con):
    text = "SELECT 1; FROM (SELECT path FROM wat_files ORDER BY path) -- the files;\n; PRAGMA version"
    first, second, third = reading_statements(con, text)
    assert [con.sql(statement).fetchone()[0] for statement in (first, second)] == [1, "text 0"]
    assert "pragma_version" in third
    assert reading_statements(con, " ; -- nothing") == []
