"""A session over a lake in a bucket: it reads tables by their names, sees new commits, and cannot be led elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from laion_assets.common.s3 import s3_client
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.sql.guard import NotAQueryError
from laion_assets.sql.session import connect, query
from tests.filled import fill
from tests.s3 import BUCKET, KEYS, environment, s3_server
from tests.unit.sql.model_files import write_model


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("bucket")
    with s3_server(folder / "log") as url, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(url, folder / "scratch").items():
            patch.setenv(name, value)
        s3_client().put_object(Bucket=BUCKET, Key="outside.txt", Body=b"not for queries")
        s3_client().create_bucket(Bucket="another")
        s3_client().put_object(Bucket="another", Key="outside.txt", Body=b"not for queries")
        made = open_lake(f"s3://{BUCKET}/lakes/one")
        fill(made, "wat_files", 3)
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "project"
    write_model(folder, "listed", "SELECT * FROM {{ source('wat_files') }}", header="materialized: view")
    return folder


@pytest.fixture(scope="module")
def con(lake: Lake, project: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(lake, models=project) as made:
        yield made


def test_tables_models_and_commits_are_read(lake: Lake, project: Path) -> None:
    with connect(lake, models=project) as con:
        assert query(con, "SELECT count(*) FROM listed").fetchall() == [(3,)]  # type: ignore[union-attr]
        assert query(con, "SELECT count(*) FROM images").fetchall() == [(0,)]  # type: ignore[union-attr]
        fill(lake, "wat_files", 2)
        assert query(con, "SELECT count(*) FROM wat_files").fetchall() == [(5,)]  # type: ignore[union-attr]
        assert query(con, "SELECT count(*) FROM commits").fetchall() == [(0,)]  # type: ignore[union-attr]
    with connect(lake, models=project, at={"wat_files": 1}) as con:
        assert query(con, "SELECT count(*) FROM listed").fetchall() == [(3,)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "FROM read_text('{lake}/lake.json')",
        "FROM read_text('{lake}/../../outside.txt')",
        "FROM read_text('{lake}/' || '../../outside.txt')",
        "FROM read_text('{lake}/../../../another/outside.txt')",
        "FROM read_text('{lake}/lake.json?s3_endpoint=127.0.0.1:1')",
        "FROM read_text(['{lake}/../../outside.txt'])",
        "FROM read_csv('s3://another/outside.txt')",
        "FROM '{lake}/../../outside.csv'",
        'FROM "s3://another/outside.csv"',
        "SELECT (SELECT count(*) FROM 's3://another/outside.csv')",
        "DESCRIBE FROM 's3://another/outside.csv'",
        "SUMMARIZE 's3://another/outside.csv'",
        "FROM glob('{lake}/../**')",
        "FROM delta_scan('{lake}/wat_files')",
        "FROM delta_scan('{lake}/../other/wat_files')",
        "FROM duckdb_secrets()",
        "FROM which_secret('{lake}/x', 's3')",
        "FROM query('FROM duckdb_secrets()')",
        "FROM query_table('s3://another/outside.csv')",
        "CREATE OR REPLACE SECRET lake (TYPE s3)",
        "COPY (SELECT 1) TO '{lake}/x.csv'",
    ],
)
def test_a_query_reads_no_file_and_no_secret(text: str, lake: Lake, con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(NotAQueryError):
        query(con, text.format(lake=lake.uri))


def test_no_setting_tells_the_key(con: duckdb.DuckDBPyConnection) -> None:
    values = query(con, "SELECT value FROM duckdb_settings()").fetchall()  # type: ignore[union-attr]
    assert not [value for (value,) in values if KEYS["AWS_SECRET_ACCESS_KEY"] in str(value)]
    assert query(con, "SELECT current_setting('s3_access_key_id')").fetchall() == [("",)]  # type: ignore[union-attr]


def test_files_are_read_where_that_was_asked_for(lake: Lake, project: Path) -> None:
    with connect(lake, models=project, unsafe=True) as con:
        (row,) = query(con, f"SELECT content FROM read_text('{lake.uri}/lake.json')").fetchall()  # type: ignore[union-attr]
    assert "shards" in row[0]
