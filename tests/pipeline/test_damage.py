"""Damage to a lake that was built: named by the step that meets it, healed by what a verification says."""

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from tests.faults.damage import flipped
from tests.pipeline.conftest import BUILT, Built, assert_same_rows, unfinished, verified


def data_file(lake: Lake, table: str) -> Path:
    partition = {"crawl": CRAWLS[0], "shard" if table == "candidate_pairs" else "bucket": 0}
    return Path(lake.partition_sizes(table, partition)[0][0])


def test_after_repair_and_a_build_the_rows_are_those_of_an_undisturbed_lake(
    lake_copy: Callable[..., Settings], undisturbed: Built, builder: Callable[[Settings], Builder]
) -> None:
    """Many files at once; each kind of damage alone is one of ``tests/faults``."""
    chance = random.Random(1)
    settings = lake_copy()
    lake = settings.open_lake(create=False)
    assert verified(settings).faults == []
    tar = chance.choice(sorted(lake.root.glob("files/images/**/*.tar")))
    broken = [data_file(lake, table) for table in ("candidate_pairs", "unique_pairs", "clip_embeddings")]
    entry = chance.choice(sorted(lake.root.glob("filtered_pairs/_delta_log/*.json")))
    data_file(lake, "filtered_pairs").unlink()
    for path in (tar, *broken, entry):
        flipped(path, chance)
    names = {path.relative_to(lake.root).as_posix() for path in (tar, *broken, entry)}
    assert {fault.file for fault in verified(settings).faults} >= names, (
        "rows of a table whose log cannot be read come after it"
    )
    of_tar = pl.col("shard_path") == tar.relative_to(lake.root).as_posix()  # rows of a later crawl may name it too
    in_tar = lake.scan("images").filter(of_tar).select(pl.col("url_id").n_unique()).collect().item()
    verified(settings, repair=True)
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS))
    assert outcome.failures == []
    assert_same_rows(settings.open_lake(), undisturbed.lake, BUILT, places=False)
    assert (verified(settings).faults, unfinished(settings)) == ([], {})
    commits = settings.open_lake().ledger("images").commits.values()
    attempted = sum(
        c.counts.get("attempted", 0) for c in commits if c not in undisturbed.lake.ledger("images").commits.values()
    )
    assert 0 < in_tar <= attempted < in_tar + 60, "what lay in the broken tar, and what failed and can pass, is fetched"


@pytest.mark.parametrize(
    ("table", "what", "named"),
    [
        ("images", "unique_pairs", "unique_pairs"),
        ("clip_embeddings", "tar", "images"),
        ("filtered_pairs", "clip_embeddings", "clip_embeddings"),
    ],
)
def test_a_step_names_the_damage_that_it_meets(
    table: str, what: str, named: str, lake_copy: Callable[..., Settings], builder: Callable[[Settings], Builder]
) -> None:
    settings = lake_copy(without=[table] if table != "images" else ["images", "clip_embeddings"])
    lake = settings.open_lake(create=False)
    path = (
        data_file(lake, what)
        if what != "tar"
        else min(lake.root.glob(f"files/images/crawl={CRAWLS[0]}/bucket=0/**/*.tar"))
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS[:1], until=table))
    told = [error for failed, partition, error in outcome.failures if partition == f"crawl={CRAWLS[0]}/bucket=0"]
    assert len(told) == 1
    assert told[0].startswith(f"{named} [crawl={CRAWLS[0]}/bucket=0] {path.relative_to(lake.root).as_posix()}: ")
    assert f"`laion verify {named} --crawl {CRAWLS[0]} --repair` marks it, then `laion build {CRAWLS[0]}`" in told[0]
    assert "\n" not in told[0]
    verified(settings, repair=True)
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert unfinished(settings) == {}
