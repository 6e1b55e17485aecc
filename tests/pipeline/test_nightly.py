"""The night's schedule: what it asks for, in which order, what it leaves out, and what it may cost."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.assets import images, pairs
from laion_assets.orchestration.automation.estimates import BYTES_PER_URL, PAIRS_PER_SECOND, ROWS_PER_BUCKET, Estimates
from laion_assets.orchestration.partitions import CRAWLS as CRAWL_PARTITIONS
from laion_assets.orchestration.planning.backlog import Item
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import AutomationOptions, Settings
from tests.pipeline.conftest import Built, unfinished
from tests.pipeline.daemon import Daemon, described

OLD, NEW = sorted(CRAWLS)
STRICTER = FilterOptions(policy="laion", min_bytes=0, threshold_en=0.5, threshold_multi=0.5, threshold_nolang=0.5)
MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on disk: a schedule's context takes no other."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


@pytest.fixture
def daemon(lake_copy: Callable[..., Settings], instance: dg.DagsterInstance, tmp_path: Path) -> MakeDaemon:
    """A daemon over a copy of the lake in which both crawls are built, with a project that has no models."""
    (tmp_path / "project").mkdir()

    def make(*, night: dict[str, Any] | None = None, **options: Any) -> Daemon:
        instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), [OLD, NEW])
        automation = AutomationOptions(**{"nightly_retries": False, **(night or {})})
        return Daemon(lake_copy(models=str(tmp_path / "project"), automation=automation, **options), instance)

    return make


def asked(daemon: Daemon) -> list[tuple[tuple[str, ...], str]]:
    """What a night asks for of the crawls."""
    return [found for found in map(described, daemon.night()[0]) if found[0] != ("partition_states",)]


def item(asset: str, crawl: str = OLD, bucket: int = 0) -> Item:
    return Item(asset, {"crawl": crawl, "bucket": bucket}, lambda: "digest", retry=False)


def test_a_night_begins_with_the_oldest_crawl_and_groups_what_is_short(daemon: MakeDaemon) -> None:
    assert asked(daemon(filter=STRICTER)) == [
        (("filtered_pairs",), f"{OLD}|0...{OLD}|1"),
        (("filtered_pairs",), f"{NEW}|0...{NEW}|1"),
    ]


def test_what_a_night_asks_for_is_built(daemon: MakeDaemon) -> None:
    at_work = daemon(without=["clip_embeddings", "filtered_pairs"])
    requests, _ = at_work.night()
    assert len({request.run_key for request in requests}) == len(requests)
    at_work.execute(requests)
    assert all(success for _, _, success in at_work.ran)
    assert unfinished(at_work.settings) == {}
    at_work.execute(at_work.night()[0])
    assert at_work.ran[-1][0] == ("partition_states",), "what it showed is no longer so"
    assert at_work.night() == ([], "nothing to ask for: everything is up to date")


def test_what_is_under_way_is_not_asked_for(daemon: MakeDaemon) -> None:
    at_work = daemon(filter=STRICTER)
    at_work.queue(at_work.night()[0])
    assert at_work.night()[0] == []


def test_a_night_with_no_crawl_says_so(daemon: MakeDaemon, instance: dg.DagsterInstance) -> None:
    at_work = daemon()
    for crawl in CRAWLS:
        instance.delete_dynamic_partition(str(CRAWL_PARTITIONS.name), crawl)
    requests, why = at_work.night()
    assert requests == []
    assert "no crawl is registered" in str(why)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"nightly_runs": 2}, [f"{OLD}|0"]),  # the first is partition_states
        ({"nightly_runs": 4}, [f"{OLD}|0", f"{OLD}|1", f"{NEW}|0"]),
        ({"nightly_gigabytes": 0}, []),
        ({"nightly_gpu_hours": 0}, []),
    ],
)
def test_a_night_stays_within_its_budget(daemon: MakeDaemon, budget: dict[str, Any], expected: list[str]) -> None:
    at_work = daemon(without=["images", "clip_embeddings", "filtered_pairs"], night=budget)
    assert [key for _, key in asked(at_work)] == expected


def test_a_budget_that_pays_for_one_download_and_not_for_two(daemon: MakeDaemon, undisturbed: Built) -> None:
    lake = undisturbed.lake
    rates = Estimates(lake, undisturbed.instance)
    first = lake.commit("unique_pairs", {"crawl": OLD, "bucket": 0})
    assert first is not None
    gigabytes = 1.5 * first.rows * BYTES_PER_URL / 1e9
    at_work = daemon(without=["images", "clip_embeddings", "filtered_pairs"], night={"nightly_gigabytes": gigabytes})
    assert [key for _, key in asked(at_work)] == [f"{OLD}|0"]
    assert 0 < rates.bytes_per_url < BYTES_PER_URL, "the sample's pictures are small"


def test_estimates_are_what_this_lake_measured(undisturbed: Built) -> None:
    lake = undisturbed.lake
    known = Estimates(lake, undisturbed.instance)
    commits = lake.ledger("unique_pairs").commits.values()
    assert known.rows_per_bucket == sum(c.rows for c in commits) / len(commits)
    assert known.of(item("images")).bytes == known.bytes_per_url * lake.ledger("images").commits[
        f"crawl={OLD}/bucket=0"
    ].counts[images.TRANSIENT] + known.bytes_per_url * max(
        0,
        lake.ledger("unique_pairs").commits[f"crawl={OLD}/bucket=0"].rows
        - lake.ledger("images").commits[f"crawl={OLD}/bucket=0"].rows,
    )
    assert known.of(item("clip_embeddings")).gpu_seconds > 0
    assert known.pairs_per_second != PAIRS_PER_SECOND
    assert known.of(item("filtered_pairs")) == known.of(item("unique_pairs"))


def test_an_empty_lake_is_estimated_by_what_is_documented(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    unknown = Estimates(open_lake(str(tmp_path / "lake"), shards=2, buckets=2), instance)
    assert unknown.of(item("images")).bytes == ROWS_PER_BUCKET * BYTES_PER_URL
    assert unknown.of(item("clip_embeddings")).gpu_seconds == ROWS_PER_BUCKET / PAIRS_PER_SECOND


def test_what_failed_too_often_for_the_same_reason_is_left_alone(
    daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count(1000)

    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError(f"the disk of node {next(numbers)} is full")

    monkeypatch.setattr(pairs, "filter_pairs", fails)
    at_work = daemon(filter=STRICTER, night={"attempts": 2})
    for _ in range(5):
        at_work.execute(at_work.night()[0])
    tried = [key for key, _ in at_work.runs_of("filtered_pairs")]
    # Of a range only the first partition was tried; then each by itself.
    assert sorted(tried) == sorted([f"{c}|0...{c}|1" for c in CRAWLS] + [f"{c}|{b}" for b in (0, 1) for c in CRAWLS])


def test_another_reason_is_tried_again(daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = itertools.cycle([ValueError("this"), ValueError("that")])

    def fails(*_: Any, **__: Any) -> Any:
        raise next(reasons)

    monkeypatch.setattr(pairs, "filter_pairs", fails)
    at_work = daemon(filter=STRICTER, night={"attempts": 2, "partitions_per_run": 1, "nightly_runs": 2})
    for night in range(4):
        assert asked(at_work) == [(("filtered_pairs",), f"{OLD}|0")], night
        at_work.execute([r for r in at_work.night()[0] if r.partition_key])


def test_downloads_that_can_pass_are_tried_again_while_that_changes_anything(
    daemon: MakeDaemon,
) -> None:
    at_work = daemon(night={"attempts": 2, "retry_minutes": 0, "nightly_retries": True})
    lake = at_work.settings.open_lake()
    to_retry = {
        str(commit.partition)
        for commit in lake.ledger("images").commits.values()
        if commit.counts[images.TRANSIENT] > 0
    }
    assert to_retry, "the sample has servers that time out"
    for night in range(4):
        requests = [r for r in at_work.night()[0] if dg.AssetKey("images") in (r.asset_selection or [])]
        assert len(requests) == (len(to_retry) if night < 2 else 0)
