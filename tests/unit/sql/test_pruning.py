"""What a query does not read: partitions, files and row groups that cannot hold what it asks for."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import psutil
import pytest

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.sql.session import connect, query
from tests.filled import fill, rows_of

CRAWLS = [f"CC-MAIN-2026-{number:02}" for number in range(1, 11)]
BUCKETS = 100
PAIRS = 2
"""Pairs in each partition."""
LONG, GROUPS = 50_000, 10
"""Rows of one large partition, and the row groups that it is written in."""
DIMENSIONS = 64


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake with 1,000 partitions of released pairs and one large partition of unique pairs."""
    folder = tmp_path_factory.mktemp("pruning")
    lake = open_lake(str(folder / "lake"), buckets=BUCKETS)
    partitions = [(crawl, bucket) for crawl in CRAWLS for bucket in range(BUCKETS) for _ in range(PAIRS)]
    fill(
        lake,
        "filtered_pairs",
        len(partitions),
        crawl=[crawl for crawl, _ in partitions],
        bucket=[bucket for _, bucket in partitions],
        pair_id=range(len(partitions)),
    )
    vectors = np.random.default_rng(0).standard_normal((20, DIMENSIONS)).astype(np.float32)
    fill(lake, "clip_embeddings", 20, crawl=CRAWLS[:1] * 20, bucket=[0] * 20, image_embedding=list(vectors))
    publish_large(lake)
    (folder / "project").mkdir()
    with connect(lake, models=folder / "project") as made:
        yield made


def publish_large(lake: Lake) -> None:
    """A partition as a step writes it, its rows staged out of order."""
    table = lake.tables["unique_pairs"]
    rows = pl.from_arrow(rows_of(table, LONG, crawl=CRAWLS[:1] * LONG, bucket=[0] * LONG, pair_id=range(LONG)))
    assert isinstance(rows, pl.DataFrame)
    provenance = Provenance(run_id="run", code_version="1", settings_digest="")
    with lake_build(lake, "unique_pairs", {"crawl": CRAWLS[0], "bucket": 0}, provenance) as build:
        build.add(rows.sample(fraction=1, shuffle=True, seed=1))
        build.rows_in = LONG
        build.publish(row_groups=GROUPS)


def scan(con: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """What the profile says of the one scan of a Delta table in a query that was run."""
    ((_, plan),) = query(con, f"EXPLAIN (ANALYZE, FORMAT json) {text}").fetchall()
    waiting, scans = [json.loads(plan)], []
    while waiting:
        operator = waiting.pop()
        waiting += operator.get("children", [])
        if operator.get("operator_name", "").strip() == "DELTA_SCAN":
            scans.append(operator)
    (found,) = scans
    return found


def files_read(con: duckdb.DuckDBPyConnection, text: str) -> tuple[str, str]:
    """Files that were taken into account, of all there are; and files that were opened."""
    info = scan(con, text)["extra_info"]
    return info["Scanning Files"], info["Total Files Read"]


def bytes_read(work: Callable[[], object]) -> int:
    """Bytes that this process reads meanwhile; what DuckDB keeps of a file is not read again."""
    process = psutil.Process()
    before = process.io_counters().read_chars
    work()
    return process.io_counters().read_chars - before


def test_a_filter_on_crawl_and_bucket_reads_the_one_partition(con):
    asked = f"FROM filtered_pairs WHERE crawl = '{CRAWLS[2]}' AND bucket = 7"
    assert query(con, f"SELECT count(*), min(pair_id) {asked}").fetchall() == [(PAIRS, (2 * BUCKETS + 7) * PAIRS)]
    assert files_read(con, f"SELECT pair_id, url {asked}") == ("1/1000", "1")
    name = scan(con, f"SELECT pair_id {asked}")["extra_info"]["Filename(s)"]
    assert Path(name).parts[-3:-1] == (f"crawl={CRAWLS[2]}", "bucket=7")


@pytest.mark.parametrize(
    ("where", "files"),
    [
        (f"crawl = '{CRAWLS[0]}'", BUCKETS),
        ("bucket = 99", len(CRAWLS)),
        (f"crawl >= '{CRAWLS[8]}' AND bucket < 3", 6),
        ("crawl = 'CC-MAIN-1999-01'", 0),
    ],
)
def test_a_filter_on_some_partition_columns_reads_their_partitions(con, where, files):
    found = query(con, f"SELECT count(pair_id) FROM filtered_pairs WHERE {where}").fetchall()
    assert found == [(files * PAIRS,)]
    if files:
        assert files_read(con, f"SELECT pair_id FROM filtered_pairs WHERE {where}") == (f"{files}/1000", str(files))


def test_a_filter_on_a_sorted_column_skips_files_by_their_statistics(con):
    assert files_read(con, "SELECT url FROM filtered_pairs WHERE pair_id = 1234") == ("1/1000", "1")
    assert files_read(con, "SELECT url FROM filtered_pairs WHERE pair_id BETWEEN 100 AND 105") == ("3/1000", "3")


def test_a_filter_on_a_sorted_column_skips_row_groups(con):
    """Rows are staged in any order and written in the table's own; the profile does not tell row groups, bytes do."""
    asked = "SELECT sum(hash(COLUMNS(*))) FROM unique_pairs WHERE pair_id"
    one = bytes_read(lambda: query(con, f"{asked} = 12345").fetchall())
    others = bytes_read(lambda: query(con, f"{asked} >= 0").fetchall())
    assert 0 < one * GROUPS / 3 < one + others


@pytest.mark.parametrize(
    "similarity",
    [
        "list_cosine_similarity(image_embedding, {asked})",
        f"array_cosine_similarity(image_embedding::FLOAT[{DIMENSIONS}], {{asked}}::FLOAT[{DIMENSIONS}])",
    ],
)
def test_vectors_are_compared_as_numpy_compares_them(con, similarity):
    asked = np.random.default_rng(1).standard_normal(DIMENSIONS).astype(np.float32)
    rows = query(
        con,
        f"SELECT image_embedding, {similarity.format(asked=asked.tolist())} FROM clip_embeddings",
    ).fetchall()
    vectors = np.array([vector for vector, _ in rows])
    expected = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    assert vectors.shape == (20, DIMENSIONS)
    np.testing.assert_allclose([cosine for _, cosine in rows], expected, atol=1e-6)
