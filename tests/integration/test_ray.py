"""``laion build --executor ray`` on a real cluster of two nodes, one of which dies in the middle."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.sample.options import CRAWLS
from laion_assets.tables.catalogue import PER_CRAWL
from laion_assets.tables.limits import NEEDS
from laion_assets.tables.needs import RetryOptions
from tests.integration.ray_cluster import Cluster, cluster
from tests.pipeline.conftest import (
    MakeSettings,
    Quiet,
    laion,
    make_settings,
    running,
    small_web,
    wait_until,
)

__all__ = ["make_settings", "small_web"]

# A step costs a few seconds of one core, most of them for imports: half a minute on a machine that has ten other things
# to do.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1_200)]

CRAWL, UNTIL, BUCKETS = CRAWLS[0], "clip_embeddings", 2
GPU_STEPS = {name for name, need in NEEDS.items() if need.gpus}


def digests(lake: Lake) -> dict[tuple[str, str], str]:
    """What every partition holds, whatever the order of its rows."""
    return {
        (table, name): commit.content_digest
        for table in PER_CRAWL
        if table != "crawl_snapshots"  # it says when it was registered
        for name, commit in lake.ledger(table).commits.items()
    }


@pytest.fixture(scope="module")
def undisturbed(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The crawl, built step by step in this process."""
    settings = make_settings(tmp_path_factory.mktemp("undisturbed") / "lake", buckets=BUCKETS)
    with dg.DagsterInstance.ephemeral() as instance:
        assert Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=[CRAWL], until=UNTIL)).failures == []
    return settings.open_lake()


@pytest.fixture
def ray() -> Iterator[Cluster]:
    """Two nodes. Not in pytest's folders, whose names are too long for sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder, cluster(Path(folder)) as made:
        yield made


def test_a_backfill_survives_the_death_of_a_node(
    ray: Cluster, make_settings: MakeSettings, undisturbed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray.dashboard)
    monkeypatch.setenv("DAGSTER_STEP_DELEGATING_EXECUTOR_SLEEP_SECONDS", "0.3")
    settings = make_settings(tmp_path / "lake", buckets=BUCKETS, retries=RetryOptions(seconds=0.5))
    nodes = ray.nodes()
    head, worker = nodes[ray.head.address], nodes[ray.worker.address]

    def downloads_on_the_worker() -> bool:
        time.sleep(0.3)  # to ask costs the head more than to answer
        return any(
            job.driver_node_id == worker and job.status == "RUNNING" and job.metadata["dagster/op"] == "images"
            for job in ray.jobs()
        )

    home = tmp_path / "dagster"
    with running(laion("build", CRAWL, "--until", UNTIL, "--executor", "ray", "--jobs", "4"), settings, home) as build:
        wait_until(downloads_on_the_worker, build, seconds=600)
        ray.worker.end()
        said, _ = build.communicate(timeout=600)
    assert build.returncode == 0, said

    places = defaultdict(set)
    for job in ray.jobs():
        places[job.metadata["dagster/op"]].add(job.driver_node_id)
    assert set().union(*places.values()) == {head, worker}
    assert {op for op in places if places[op] != {head}} - GPU_STEPS, "steps without a GPU ran on either"
    assert {node for op in GPU_STEPS & {*places} for node in places[op]} == {head}, "steps with one only where it is"
    lost = [job for job in ray.jobs() if job.status == "FAILED"]
    assert {job.metadata["dagster/op"] for job in lost} == {"images"}
    assert {job.driver_node_id for job in lost} == {worker}
    assert digests(settings.open_lake()) == digests(undisturbed)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = {run.run_id: run for run in instance.get_runs()}
        assert all(run.is_success for run in runs.values()), "no run was lost with the node"
        again = [job.metadata["dagster/run-id"] for job in ray.jobs() if job.submission_id.endswith("-1")]
        assert {*again} == {job.metadata["dagster/run-id"] for job in lost}, "what was lost was tried again, no more"
