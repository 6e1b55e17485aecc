"""Two processes building one lake at once."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.consent.policy import ConsentOptions
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.tables.needs import RetryOptions
from tests.pipeline.conftest import (
    Built,
    MakeSettings,
    Quiet,
    assert_same_rows,
    laion,
    paused_laion,
    running,
    unfinished,
    wait_until,
)


def build_here(settings: Settings, crawls: Sequence[str], until: str) -> Outcome:
    with dg.DagsterInstance.ephemeral() as instance:
        return Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=crawls, until=until))


def test_two_builders_of_different_partitions_lose_nothing(
    make_settings: MakeSettings, undisturbed: Built, tmp_path: Path
) -> None:
    """From the lake's creation on: one process a crawl, and each table is made by whoever comes first."""
    settings = make_settings(tmp_path / "lake")
    home = tmp_path / "dagster"
    commands = [laion("build", crawl, "--until", "candidate_pairs") for crawl in CRAWLS]
    with running(commands[0], settings, home) as one, running(commands[1], settings, home) as other:
        said = [process.communicate(timeout=240)[0] for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
    assert_same_rows(settings.open_lake(), undisturbed.lake, ["crawl_snapshots", "wat_files", "candidate_pairs"])
    assert set(unfinished(settings)) == {"unique_pairs", "images", "clip_embeddings", "filtered_pairs"}


@pytest.mark.slow
def test_two_builders_of_different_tables_lose_nothing(
    lake_copy: Callable[..., Settings], undisturbed: Built, tmp_path: Path
) -> None:
    """One process fetches the first crawl's pictures while another fetches the second's."""
    settings = lake_copy(without=["images"])
    commands = [laion("build", crawl, "--until", "images") for crawl in CRAWLS]
    with (
        running(commands[0], settings, tmp_path / "one") as one,
        running(commands[1], settings, tmp_path / "other") as other,
    ):
        said = [process.communicate(timeout=240)[0] for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
    assert_same_rows(settings.open_lake(), undisturbed.lake, ["images"], places=False)
    assert unfinished(settings) == {}


@pytest.mark.parametrize(
    ("table", "target"),
    [
        ("candidate_pairs", "laion_assets.orchestration.assets.crawl:extract"),
        pytest.param("images", "laion_assets.download.bucket:download", marks=pytest.mark.slow),
    ],
)
def test_a_partition_that_is_being_built_is_left_to_its_builder(
    table: str, target: str, lake_copy: Callable[..., Settings], undisturbed: Built, tmp_path: Path
) -> None:
    settings = lake_copy(without=[table])
    marker = tmp_path / "stopped"
    command = paused_laion(target, "before", 1, marker, "build", CRAWLS[0], "--until", table)
    with running(command, settings, tmp_path / "dagster") as slow:
        wait_until(marker.exists, slow)
        outcome = build_here(settings, CRAWLS, table)
        assert [error for _, _, error in outcome.failures if "another process is building" not in error] == []
        assert [partition for _, partition, _ in outcome.failures] == [f"crawl={CRAWLS[0]}/{_first(table)}=0"]
        marker.with_name("stopped.go").touch()
        said, _ = slow.communicate(timeout=120)
        assert slow.returncode == 0, said
    assert_same_rows(settings.open_lake(), undisturbed.lake, [table], places=False)
    assert unfinished(settings) == {}


def _first(table: str) -> str:
    return "shard" if table == "candidate_pairs" else "bucket"


@pytest.mark.parametrize("again", [False, True], ids=["the first time", "again"])
def test_who_commits_a_partition_second_replaces_it_or_says_so(
    again: bool, lake_copy: Callable[..., Settings], undisturbed: Built, tmp_path: Path
) -> None:
    """Both have read the table when the first of them commits; never are there rows of both."""
    consent = ConsentOptions(meta_robots=not again)  # no page says anything; what was built by it is stale
    settings = lake_copy(without=[] if again else ["unique_pairs"], consent=consent)
    marker = tmp_path / "stopped"
    target = "laion_assets.delta.writing:write_deltalake"
    command = paused_laion(target, "before", 1, marker, "build", *CRAWLS, "--until", "unique_pairs")
    with running(command, settings, tmp_path / "dagster") as slow:
        wait_until(marker.exists, slow)
        outcome = build_here(settings, CRAWLS, "unique_pairs")
        assert (outcome.built, outcome.failures) == (4, [])
        marker.with_name("stopped.go").touch()
        said, _ = slow.communicate(timeout=120)
    assert slow.returncode in (0, 1), said
    if slow.returncode:
        assert "another process published it" in said
    assert_same_rows(settings.open_lake(), undisturbed.lake, ["unique_pairs"])
    assert "unique_pairs" not in unfinished(settings)


def test_two_builds_of_the_same_crawls_say_so_and_share_the_work(
    make_settings: MakeSettings, undisturbed: Built, tmp_path: Path
) -> None:
    """The first stands still at its first shard; the second builds the others, and what the first has it waits for."""
    settings = make_settings(tmp_path / "lake", retries=RetryOptions(seconds=10.0))
    marker = tmp_path / "stopped"
    arguments = ("build", *CRAWLS, "--until", "candidate_pairs")
    command = paused_laion("laion_assets.orchestration.assets.crawl:extract", "before", 1, marker, *arguments)
    with running(command, settings, tmp_path / "one") as first:
        wait_until(marker.exists, first)
        with running(laion(*arguments), settings, tmp_path / "other") as second:
            lake = settings.open_lake(create=False)
            wait_until(lambda: len(lake.ledger("candidate_pairs").commits) == 3, second)
            marker.with_name("stopped.go").touch()
            said = [process.communicate(timeout=120)[0] for process in (first, second)]
            assert [first.returncode, second.returncode] == [0, 0], said
    assert f"another build of this lake is at work (process {first.pid} on " in said[1]
    built = [int(re.search(r"(\d+) partitions built, 0 failed", text)[1]) for text in said]  # type: ignore[index]
    assert built == [4 + 1, 3], "crawls, lists and shards: each partition was built once"
    assert_same_rows(settings.open_lake(), undisturbed.lake, ["candidate_pairs"])
    assert settings.open_lake().ledger("candidate_pairs").version == 4, "one commit a shard"
