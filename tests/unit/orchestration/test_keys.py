"""Runs as partitions of the lake, also those of before shards and buckets were called parts."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.runs.history import RunHistory
from laion_assets.settings import Settings
from laion_assets.sql.project import load_project

CRAWL = "CC-MAIN-2024-10"
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions("crawl", [CRAWL])
        yield made


@pytest.mark.parametrize(
    ("tags", "buckets"),
    [
        ({"dagster/partition": f"{CRAWL}|2"}, [2]),
        ({START: f"{CRAWL}|1", END: f"{CRAWL}|3"}, [1, 2, 3]),
        ({"dagster/partition": f"2|{CRAWL}"}, []),
        ({START: f"1|{CRAWL}", END: f"3|{CRAWL}"}, []),
        ({"dagster/partition": "something"}, []),
    ],
)
def test_a_run_is_at_the_partitions_that_its_key_names(
    tags: dict[str, str], buckets: list[int], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        run_id="12345678-1234-1234-1234-123456789012",
        asset_selection=frozenset({dg.AssetKey("images")}),
        tags=tags,
        status=dg.DagsterRunStatus.FAILURE,
    )
    expected = [("images", f"crawl={CRAWL}/bucket={n}") for n in buckets]
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"), shards=4, buckets=4)  # type: ignore[call-arg]
    keys = Keys(settings, load_project())
    assert list(keys.names(run, instance)) == expected
    instance.add_run(run)
    assert sorted(RunHistory(instance, keys, ["images"])._times({"images"})) == expected
