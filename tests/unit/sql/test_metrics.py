"""``step_metrics``: what every published partition cost, rebuilds and records of before too."""

import json
import time
from pathlib import Path

import pytest
from deltalake import CommitProperties, write_deltalake

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.sql.build import build_model
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import PER_CRAWL, TABLES
from tests.unit.delta.conftest import PROVENANCE, files_frame
from tests.unit.sql import shipped_lake as shipped
from tests.unit.sql.model_files import declared, write_model
from tests.unit.sql.shipped_lake import shipped_lake

OLD, NEW = "CC-MAIN-2024-10", "CC-MAIN-2024-18"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "lake"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


def publish(lake: Lake, crawl: str, *paths: str, seconds: float = 0.0, **given: object) -> Commit:
    with lake_build(lake, "wat_files", {"crawl": crawl}, PROVENANCE) as building:
        building.add(files_frame(list(paths)))
        building.rows_in = len(paths) + 1
        building.drop("beyond_limit")
        building.counts.update({"failure: dns": 2, "bad record: clipped": 3, "files": 7})
        for name, value in given.items():
            setattr(building, name, value)
        if seconds:
            wall, used = time.monotonic(), time.process_time()
            while time.monotonic() < wall + seconds or time.process_time() < used + seconds:
                pass  # busy for so long, on a machine that may have other work
        return building.publish()


def asked(lake: Lake, query: str, **options: object) -> list[tuple[object, ...]]:
    with connect(lake, **options) as con:  # type: ignore[arg-type]
        return con.sql(query).fetchall()


def test_every_publication_is_a_row_and_only_the_last_is_the_latest(lake: Lake) -> None:
    for paths in (["a"], ["a", "b"], ["c", "d", "e"]):
        publish(lake, OLD, *paths)
    publish(lake, NEW, "x")
    found = asked(
        lake,
        'SELECT crawl, version, "rows", rows_in, dropped, failures, latest FROM step_metrics ORDER BY version',
    )
    assert found == [
        (OLD, 1, 1, 2, 1, 5, False),
        (OLD, 2, 2, 3, 1, 5, False),
        (OLD, 3, 3, 4, 1, 5, True),
        (NEW, 4, 1, 2, 1, 5, True),
    ]


def test_bytes_and_files_are_those_on_disk(lake: Lake) -> None:
    publish(lake, OLD, *(f"path {n}" for n in range(1_000)))
    sizes = [size for _, size in lake.partition_sizes("wat_files", {"crawl": OLD})]
    assert asked(lake, "SELECT files, bytes FROM step_metrics") == [(len(sizes), sum(sizes))]


def test_seconds_and_processor_time_are_those_of_the_step(lake: Lake) -> None:
    before = time.monotonic()
    publish(lake, OLD, "a", seconds=0.3, device="NVIDIA H100")
    took = time.monotonic() - before
    [(seconds, cpu, speed, memory, cpus, device)] = asked(
        lake,
        "SELECT seconds, cpu_seconds, rows_per_second, peak_memory_bytes, cpus, device FROM step_metrics",
    )
    assert 0.3 <= seconds <= took
    assert cpu > 0.05  # busy all the while, on a machine that may have other work
    assert speed == pytest.approx(2 / seconds)
    assert 20_000_000 < memory < 200_000_000_000
    assert cpus >= 1
    assert device == "NVIDIA H100"


def test_what_a_step_cost_is_in_no_digest(lake: Lake) -> None:
    quick, slow = publish(lake, OLD, "a"), publish(lake, OLD, "a", seconds=0.1, device="another")
    assert quick.cost["seconds"] < slow.cost["seconds"]
    assert quick.content_digest == slow.content_digest


def test_records_of_before_are_read_and_cost_is_null(lake: Lake) -> None:
    commit = publish(lake, OLD, "a")
    record = json.loads(commit.to_metadata()["laion"])
    del record["cost"]
    rows = lake.table("wat_files").to_pyarrow_table()
    write_deltalake(
        lake.table("wat_files"),
        rows,
        mode="overwrite",
        predicate=f"crawl = '{OLD}'",
        commit_properties=CommitProperties(custom_metadata={"laion": json.dumps(record), "validated": "true"}),
    )
    assert lake.commit("wat_files", {"crawl": OLD}).cost == {}  # type: ignore[union-attr]
    found = asked(lake, 'SELECT "rows", seconds, device, rows_per_second FROM step_metrics WHERE latest')
    assert found == [(1, None, None, None)]


def test_a_model_reads_what_the_partitions_it_is_built_from_cost(tmp_path: Path, folder: Path) -> None:
    """As of the versions that it is built from; crawl by crawl, its own crawl's."""
    lake = shipped_lake(str(tmp_path / "shipped"))
    sql = "SELECT crawl, table_name, count(*) AS n FROM {{ source('step_metrics') }} WHERE seconds > 0 GROUP BY ALL"
    write_model(folder, "costs", sql)
    write_model(folder, "costs_by_crawl", sql, header="materialized: incremental_by_crawl")
    publish(lake, shipped.NEW, "again")
    project = declared(lake, folder)
    build_model(lake, project, "costs", {}, "run")
    build_model(lake, project, "costs_by_crawl", {"crawl": shipped.NEW}, "run")
    publish(lake, shipped.NEW, "later")
    built = [table for table in PER_CRAWL if not TABLES[table].optional]
    counts = dict.fromkeys(built, 2) | {"crawl_snapshots": 1, "wat_files": 1, "candidate_pairs": 1}
    new = {(shipped.NEW, table, n) for table, n in (counts | {"wat_files": 2}).items()}
    old = {(shipped.OLD, table, n) for table, n in counts.items()}
    assert set(asked(lake, "FROM costs", models=folder)) == old | new
    assert set(asked(lake, "FROM costs_by_crawl", models=folder)) == new
