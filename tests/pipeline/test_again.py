"""Doing it again: the same rows, nothing needless, and nothing comes back that was removed."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from laion_assets.clip.calibration import CalibrationOptions
from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.download import bucket
from laion_assets.download.failures import is_transient
from laion_assets.orchestration.assets import embeddings
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import DenyOptions, Settings
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from tests.pipeline.conftest import (
    BUILT,
    Built,
    MakeSettings,
    Web,
    assert_same_rows,
    digests,
    materialise,
    rows,
    stale_tables,
    tars,
    unfinished,
    versions,
)

LakeCopy = Callable[..., Settings]
MakeBuilder = Callable[[Settings], Builder]
NUMERIC = 1e-3
"""Cosine at least 0.9999 between vectors of 64 numbers: none differs by more."""


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was not to be done again")


@pytest.fixture
def attempted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The urls that are downloaded during the test."""
    urls: list[str] = []
    real = bucket.download

    def download(wanted: pl.DataFrame, **options: Any) -> Any:
        urls.extend(wanted["url"])
        return real(wanted, **options)

    monkeypatch.setattr(bucket, "download", download)
    return urls


def take_down(lake: Lake, kind: str, values: list[str]) -> None:
    """Record requests to remove something, as the one way into a table has it."""
    provenance = Provenance(run_id="request", code_version="1", settings_digest="")
    with lake_build(lake, "takedowns", {"kind": kind}, provenance) as build:
        build.add(
            pl.DataFrame(
                {"requested_at": datetime.now(UTC), "value": values, "reason": "asked for"},
            ).with_columns(rows_removed=pl.lit(None), tainted_checkpoints=pl.lit(None), completed_at=pl.lit(None))
        )
        build.rows_in = len(values)
        build.publish()


def run_everything(settings: Settings, instance: dg.DagsterInstance, tables: tuple[str, ...] = BUILT) -> None:
    """Run every partition of these tables, due or not."""
    for table in tables:
        for name in sorted(settings.open_lake().ledger(table).commits):
            assert materialise(settings, instance, table, CATALOGUE.partition(name)), (table, name)


def seen_in_both(lake: Lake) -> dict[str, Any]:
    """A released pair that both crawls hold; only the first of them has it in its tables."""
    pairs = rows(lake, "candidate_pairs").group_by("pair_id").agg(crawls=pl.col("crawl").n_unique())
    twice = pairs.filter(pl.col("crawls") == 2)
    return rows(lake, "filtered_pairs").join(twice, on="pair_id", how="semi").row(0, named=True)


@pytest.mark.slow
def test_running_every_partition_again_gives_the_same_rows(
    lake_copy: LakeCopy, instance: dg.DagsterInstance, undisturbed: Built
) -> None:
    settings = lake_copy()
    run_everything(settings, instance)
    lake = settings.open_lake()
    assert_same_rows(lake, undisturbed.lake, places=False)
    for table in BUILT:
        assert digests(lake, table) == digests(undisturbed.lake, table), table
        assert lake.sizes(table)["version"] > undisturbed.lake.sizes(table)["version"]
    assert unfinished(settings) == {}


def test_building_again_does_nothing(lake_copy: LakeCopy, builder: MakeBuilder) -> None:
    settings = lake_copy()
    before = versions(settings.open_lake())
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS))
    assert (outcome.built, outcome.failures) == (0, [])
    assert versions(settings.open_lake()) == before


@pytest.mark.slow
def test_the_order_of_crawls_makes_no_difference(
    make_settings: MakeSettings, builder: MakeBuilder, undisturbed: Built, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path / "lake")
    first, second = CRAWLS
    assert builder(settings).build(CrawlRequest(crawls=[second])).failures == []
    alone = digests(settings.open_lake(), "unique_pairs")
    assert builder(settings).build(CrawlRequest(crawls=[first])).failures == []
    stale = unfinished(settings)
    assert set(stale) == {"unique_pairs", "images", "clip_embeddings", "filtered_pairs"}
    assert all(second in partition for partitions in stale.values() for partition in partitions)
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert unfinished(settings) == {}
    lake = settings.open_lake()
    assert digests(lake, "unique_pairs") != alone, "the crawls were to overlap"
    exact = [table for table in BUILT if table not in ("clip_embeddings", "filtered_pairs")]
    assert_same_rows(lake, undisturbed.lake, exact, places=False)
    assert_same_rows(lake, undisturbed.lake, ["clip_embeddings", "filtered_pairs"], check_exact=False, abs_tol=NUMERIC)


def test_another_threshold_concerns_the_filter_alone(
    lake_copy: LakeCopy, builder: MakeBuilder, undisturbed: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    median = rows(undisturbed.lake, "filtered_pairs")["similarity"].median()
    assert isinstance(median, float)
    strict = FilterOptions(
        policy="laion", min_bytes=0, threshold_en=median, threshold_multi=median, threshold_nolang=median
    )
    settings = lake_copy(filter=strict)
    assert stale_tables(settings) == {"filtered_pairs"}
    before = versions(settings.open_lake()), tars(settings.open_lake())
    monkeypatch.setattr(bucket, "download", refuse)
    monkeypatch.setattr(embeddings, "embed_tar", refuse)
    monkeypatch.setattr(embeddings, "load_encoder", refuse)
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS))
    assert (outcome.built, outcome.failures) == (4, [])
    lake = settings.open_lake()
    assert (versions(lake) | {"filtered_pairs": before[0]["filtered_pairs"]}, tars(lake)) == before
    assert unfinished(settings) == {}
    expected = rows(undisturbed.lake, "filtered_pairs").filter(pl.col("similarity") >= pl.lit(median, pl.Float32))
    assert rows(lake, "filtered_pairs")["pair_id"].to_list() == expected["pair_id"].to_list()
    assert 0 < expected.height < rows(undisturbed.lake, "filtered_pairs").height


def test_a_pair_that_was_taken_down_never_comes_back(
    lake_copy: LakeCopy, builder: MakeBuilder, instance: dg.DagsterInstance, undisturbed: Built
) -> None:
    """Not even through the later crawl, which holds it too and had given way to the first."""
    settings = lake_copy()
    pair = seen_in_both(undisturbed.lake)
    take_down(settings.open_lake(), "pair_id", [str(pair["pair_id"])])
    assert stale_tables(settings) == {"unique_pairs", "images", "clip_embeddings", "filtered_pairs"}
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert unfinished(settings) == {}
    run_everything(settings, instance, ("unique_pairs", "clip_embeddings", "filtered_pairs"))
    lake = settings.open_lake()
    assert unfinished(settings) == {}
    for table in ("unique_pairs", "clip_embeddings", "filtered_pairs"):
        kept = rows(undisturbed.lake, table).filter(pl.col("pair_id") != pair["pair_id"])
        assert rows(lake, table)["pair_id"].to_list() == kept["pair_id"].to_list()
    removed = sum(c.drops.get("removed_pair", 0) for c in lake.ledger("unique_pairs").commits.values())
    assert removed == rows(lake, "candidate_pairs").filter(pair_id=pair["pair_id"]).height >= 2


def test_a_picture_that_was_taken_down_never_comes_back(
    lake_copy: LakeCopy, builder: MakeBuilder, undisturbed: Built, attempted: list[str]
) -> None:
    """Its row says why, and fetching everything anew does not store it again."""
    settings = lake_copy()
    picture = rows(undisturbed.lake, "images").filter(status="success").row(0, named=True)
    crawl = picture["crawl"]
    take_down(settings.open_lake(), "sha256", [picture["sha256"]])
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert unfinished(settings) == {}
    for refetch in (False, True):
        request = CrawlRequest(crawls=[crawl], refetch=refetch)
        assert builder(settings).build(request).failures == []
        lake = settings.open_lake()
        row = rows(lake, "images").filter(crawl=crawl, url=picture["url"]).row(0, named=True)
        assert (row["status"], row["failure"], row["shard_path"]) == ("failed", "hash_listed", None)
        assert rows(lake, "images").filter(sha256=picture["sha256"], status="success").height == 0
        for table in ("clip_embeddings", "filtered_pairs"):
            assert rows(lake, table).filter(sha256=picture["sha256"]).height == 0
    assert attempted
    assert unfinished(settings) == {}


@pytest.mark.slow
def test_what_is_on_a_deny_list_never_comes_back(
    lake_copy: LakeCopy, builder: MakeBuilder, undisturbed: Built, attempted: list[str], tmp_path: Path
) -> None:
    pair = seen_in_both(undisturbed.lake)
    listed = tmp_path / "urls.txt"
    listed.write_text(f"# asked for by its owner\n{pair['url']}\n")
    settings = lake_copy(deny=DenyOptions(url_lists=(str(listed),)))
    assert stale_tables(settings) == {"unique_pairs", "images", "clip_embeddings", "filtered_pairs"}
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert builder(settings).build(CrawlRequest(crawls=[CRAWLS[0]], refetch=True, until="images")).failures == []
    lake = settings.open_lake()
    assert unfinished(settings, [CRAWLS[0]]).keys() <= {"clip_embeddings", "filtered_pairs"}
    for table in ("unique_pairs", "images", "filtered_pairs"):
        assert rows(lake, table).filter(url=pair["url"]).height == 0
    assert rows(lake, "clip_embeddings").filter(pair_id=pair["pair_id"]).height == 0
    assert pair["url"] not in attempted
    assert attempted


def test_retry_failed_attempts_what_can_pass_and_nothing_else(
    lake_copy: LakeCopy, builder: MakeBuilder, undisturbed: Built, small_web: Web, attempted: list[str]
) -> None:
    settings = lake_copy()
    known = rows(undisturbed.lake, "images")
    transient = [row["url"] for row in known.iter_rows(named=True) if is_transient(row["failure"], row["http_status"])]
    assert transient
    permanent = known.filter(pl.col("failure").is_not_null() & ~pl.col("url").is_in(transient))
    assert permanent.height
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS, retry_failed=True, until="images"))
    assert outcome.failures == []
    assert sorted(attempted) == sorted(transient)
    assert_same_rows(settings.open_lake(), undisturbed.lake, places=False)
    assert unfinished(settings) == {}, "the answers were the same, so nothing is stale"


def test_what_other_code_may_have_got_wrong_is_fetched_and_embedded_again(
    lake_copy: LakeCopy,
    builder: MakeBuilder,
    undisturbed: Built,
    attempted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lake of the version before: what it stored lying on its side or white is not taken over."""
    for table in ("images", "clip_embeddings"):
        monkeypatch.setitem(TABLES, table, dataclasses.replace(TABLES[table], code_version="next"))
    settings = lake_copy()
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    known = rows(undisturbed.lake, "images")
    pngs = known.filter(pl.col("status") == "success", ~pl.col("content_type").str.contains("(?i)^image/(jp|webp|gif)"))
    doubtful = known.filter(pl.col("failure").is_in(["other", "not_an_image", "decode"]))
    assert pngs.height
    assert doubtful.height
    assert {*pngs["url"], *doubtful["url"]} <= set(attempted)
    assert set(attempted) < set(known["url"])
    lake = settings.open_lake()
    assert_same_rows(lake, undisturbed.lake, ["images"], places=False)
    embedded = rows(lake, "clip_embeddings").join(known.select("url_id", "url").unique(), on="url_id")
    again = embedded.filter(pl.col("url").is_in(attempted)).height
    taken_over = sum(c.counts["taken over"] for c in lake.ledger("clip_embeddings").commits.values())
    assert (taken_over, again > 0) == (embedded.height - again, True)
    assert unfinished(settings) == {}


def test_another_precision_concerns_embeddings_and_the_filter_alone(lake_copy: LakeCopy, undisturbed: Built) -> None:
    encoder = dataclasses.replace(undisturbed.settings.encoder, precision="amp_bf16")
    calibration = CalibrationOptions()  # thresholds belong to the precision too, and this is not about them
    settings = lake_copy(encoder=encoder, calibration=calibration)
    assert stale_tables(settings) == {"clip_embeddings", "filtered_pairs"}
