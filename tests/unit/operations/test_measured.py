"""What a lake tells of the numbers of a plan."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from laion_assets.delta.build import lake_build
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.operations.assumptions import PUBLISHED
from laion_assets.operations.measured import Measurements, measure
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import TABLES
from tests.filled import rows_of
from tests.unit.delta.conftest import PROVENANCE

CRAWL = "CC-MAIN-2026-04"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "lake"), shards=1, buckets=2)


def publish(
    lake: Lake,
    table: str,
    rows: int,
    rows_in: int,
    *,
    bucket: int | None = None,
    device: str = "cpu",
    counts: Mapping[str, int] | None = None,
) -> None:
    partition: dict[str, str | int] = {"crawl": CRAWL}
    partition |= {"shard": 0} if bucket is None else {"bucket": bucket}
    with lake_build(lake, table, partition, PROVENANCE) as build:
        filled = rows_of(TABLES[table], rows).select(build.schema.names)
        build.add(pl.DataFrame(pl.from_arrow(filled)))
        build.rows_in = rows_in
        build.drop("something", rows_in - rows)
        build.counts.update(counts or {})
        build.device = device
        build.publish()


def measured(lake: Lake) -> Measurements:
    with connect(lake) as con:
        return measure(con)


def test_an_empty_lake_tells_nothing(lake: Lake) -> None:
    assert measured(lake) == Measurements({}, ())


def test_the_funnel_and_the_bytes_of_a_small_lake_by_hand(lake: Lake) -> None:
    publish(lake, "candidate_pairs", 40, 100, counts={"files": 4, "bytes read": 4_000})
    for bucket, (unique, known, won, embedded, kept) in enumerate([(10, 2, 6, 8, 2), (20, 0, 4, 10, 7)]):
        publish(lake, "unique_pairs", unique, unique + 5, bucket=bucket)
        urls = unique // 2
        counts = {"known": known, "attempted": urls - known if bucket else 8, "succeeded": won,
                  "bytes downloaded": won * 1_000, "bytes of tars": won * 500}  # fmt: skip
        publish(lake, "images", urls, urls, bucket=bucket, counts=counts)
        publish(lake, "clip_embeddings", embedded, unique, bucket=bucket)
        publish(lake, "filtered_pairs", kept, unique, bucket=bucket)
    found = measured(lake).values
    expected = {
        "wat_bytes_per_file": (1_000, 1),
        "candidates_per_file": (10, 1),
        "unique_share": (30 / 40, 2),
        "urls_per_pair": (15 / 30, 2),
        "attempted_share": (18 / 15, 2),
        "success_share": (10 / 18, 2),
        "download_bytes_per_picture": (1_000, 2),
        "tar_bytes_per_picture": (500, 2),
        "embedded_share": (18 / 30, 2),
        "kept_share": (9 / 18, 2),
    }
    assert {name: (found[name][0].value, found[name][1]) for name in expected} == {
        name: (pytest.approx(value), n) for name, (value, n) in expected.items()
    }
    assert set(found) <= set(PUBLISHED)


def test_rates_are_of_every_build_and_ratios_of_what_is_there_now(lake: Lake) -> None:
    publish(lake, "unique_pairs", 5, 10, bucket=0)
    publish(lake, "unique_pairs", 9, 10, bucket=0)
    found = measured(lake).values
    assert found["unique_share"][0].value == pytest.approx(0.9)
    with connect(lake) as con:
        [(used, rows)] = con.sql("SELECT sum(cpu_seconds), sum(rows_in) FROM step_metrics").fetchall()
    rate, partitions = found["dedup_core_seconds"]
    assert (rate.value, partitions) == (pytest.approx(used / rows * 1e6), 2)


def test_encoders_are_timed_by_what_they_ran_on_and_by_what_they_encoded(lake: Lake) -> None:
    publish(lake, "clip_embeddings", 8, 10, bucket=0, counts={"taken over": 8})
    assert measured(lake).devices == ()
    assert "embed_core_seconds" not in measured(lake).values
    publish(lake, "clip_embeddings", 8, 10, bucket=1, counts={"taken over": 2})
    publish(lake, "clip_embeddings", 8, 10, bucket=1, device="NVIDIA H100 80GB HBM3")
    found = measured(lake)
    assert found.devices == ("NVIDIA H100 80GB HBM3", "cpu")
    with connect(lake) as con:
        times = con.sql("SELECT seconds, cpu_seconds FROM step_metrics ORDER BY version").fetchall()
    assert found.values["embed_core_seconds"][0].value == pytest.approx(times[1][1] / 6)
    assert found.values["embed_gpu_seconds"][0].value == pytest.approx(times[2][0] / 8)
