"""The sample web through every stage: nothing is lost on the way, and each kind of dirt ends as the truth says."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from laion_assets.delta.flow import partitions_of, partitions_there
from laion_assets.delta.lake import Lake
from laion_assets.delta.validation import CHECKS
from laion_assets.orchestration.assets.embeddings import SCORE_CHECK
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.captions import write_captions
from laion_assets.sample.lexicon import LEXICONS
from laion_assets.sample.options import CRAWLS
from laion_assets.sample.publish import make_plan
from laion_assets.sample.world import COLOUR, SHAPE, TEXTURE, VALUES, held_out
from laion_assets.settings import Settings
from laion_assets.sources.index import list_files
from laion_assets.sources.sources import open_source
from laion_assets.tables.catalogue import ALWAYS, CATALOGUE, TABLES
from tests.pipeline.conftest import BUILT, Built, Web, evaluations, rows, unfinished

PAIR = ["url", "text"]
EXTRACTION_DROPS = ("too_short", "too_long", "data_url", "not_http", "bad_url", "tracking_pixel")
FAILURES = (
    "http_4xx", "http_5xx", "not_an_image", "decode", "too_small", "aspect", "too_large", "opted_out", "other",
    "blocked_address", "dns", "connect",
)  # fmt: skip
"""All but ``timeout``, which takes its time: the demo's lake is asked about it."""
FILTER_DROPS = ("file_name", "markup", "too_few_bytes")


def drops(lake: Lake, table: str) -> Counter[str]:
    """Rows dropped from a table by reason, over all partitions."""
    total: Counter[str] = Counter()
    for commit in lake.ledger(table).commits.values():
        total.update(commit.drops)
    return total


def sightings(truth: pl.DataFrame, outcome: str) -> int:
    """How many links of the crawls have this outcome."""
    return int(truth.filter(outcome=outcome)["sightings"].list.len().sum())


def test_every_stage_is_done(undisturbed: Built) -> None:
    assert unfinished(undisturbed.settings) == {}
    assert all(rows(undisturbed.lake, table).height for table in BUILT)
    assert undisturbed.outcome.built == 1 + sum(
        len(partitions_of(undisturbed.lake, table, crawl)) for table in ALWAYS for crawl in CRAWLS
    )


def test_every_file_that_is_listed_is_read(undisturbed: Built) -> None:
    source = open_source(undisturbed.settings.source)
    for crawl in CRAWLS:
        read = rows(undisturbed.lake, "wat_files").filter(crawl=crawl)["path"].to_list()
        assert read == list_files(source, crawl, "wat")
        candidates = rows(undisturbed.lake, "candidate_pairs").filter(crawl=crawl)
        assert set(candidates["path"]) == set(read)


def test_every_commit_accounts_for_its_rows(undisturbed: Built) -> None:
    for table in BUILT:
        for commit in undisturbed.lake.ledger(table).commits.values():
            assert commit.rows_in == commit.rows + sum(commit.drops.values()), (table, commit.partition)


def test_what_leaves_a_stage_enters_the_next(undisturbed: Built) -> None:
    lake = undisturbed.lake
    entered = {t: sum(c.rows_in for c in lake.ledger(t).commits.values()) for t in ALWAYS}
    left = {t: rows(lake, t).height for t in ALWAYS}
    pairs = rows(lake, "unique_pairs")
    assert entered["unique_pairs"] == left["candidate_pairs"]
    assert entered["images"] == left["images"] == pairs.select("crawl", "url").n_unique()
    assert entered["clip_embeddings"] == entered["filtered_pairs"] == left["unique_pairs"]


def test_every_candidate_is_accounted_for(undisturbed: Built) -> None:
    """A candidate is a unique pair of its crawl or of an earlier one; a unique pair with a picture is released."""
    lake = undisturbed.lake
    candidates, unique = rows(lake, "candidate_pairs"), rows(lake, "unique_pairs")
    assert unique.select(PAIR).is_unique().all()
    home = unique.select(*PAIR, home="crawl")
    placed = candidates.join(home, on=PAIR, how="left")
    assert placed["home"].null_count() == 0
    assert (placed["home"] <= placed["crawl"]).all()
    first = candidates.group_by(PAIR).agg(home=pl.col("crawl").min(), copies=pl.len())
    assert first.select(*PAIR, "home").sort(PAIR).equals(home.sort(PAIR))
    counted = unique.join(candidates.group_by(*PAIR, "crawl").len("copies"), on=[*PAIR, "crawl"], validate="1:1")
    assert (counted["duplicate_count"] == counted["copies"]).all()
    images = rows(lake, "images").select("crawl", "url", "status", "sha256")
    pictured = unique.join(images, on=["crawl", "url"], how="left", validate="m:1")
    assert pictured["status"].null_count() == 0
    good = pictured.filter(status="success").select("pair_id", "sha256").sort("pair_id")
    for table in ("clip_embeddings", "filtered_pairs"):
        assert rows(lake, table).select("pair_id", "sha256").sort("pair_id").equals(good)


def test_true_pairs_come_out_as_they_were_written(undisturbed: Built, small_web: Web) -> None:
    expected = small_web.truth.filter(outcome="embedded").with_columns(crawl=pl.col("sightings").list.min())
    released = rows(undisturbed.lake, "filtered_pairs")
    assert expected.join(released, on=[*PAIR, "crawl"], how="anti").to_dicts() == []
    undecided = small_web.truth.filter(pl.col("outcome").is_null() | pl.col("outcome").is_in(FILTER_DROPS))
    surplus = released.join(expected, on=PAIR, how="anti").join(undecided, on=PAIR, how="anti")
    lost_texts = small_web.truth.filter(pl.col("kind").is_in(["invalid_utf8", "lone_surrogate"]))
    assert surplus.join(lost_texts, on="url", how="anti").to_dicts() == []


@pytest.mark.parametrize("outcome", [*EXTRACTION_DROPS, "bad_record"])
def test_no_candidate_comes_of_what_extraction_drops(undisturbed: Built, small_web: Web, outcome: str) -> None:
    spoilt = small_web.truth.filter(outcome=outcome)
    assert spoilt.height
    candidates = rows(undisturbed.lake, "candidate_pairs")
    assert candidates.join(spoilt, on=PAIR, how="semi").to_dicts() == []


def test_links_are_dropped_under_the_reasons_of_the_truth(undisturbed: Built, small_web: Web) -> None:
    found = drops(undisturbed.lake, "candidate_pairs")
    expected = {outcome: sightings(small_web.truth, outcome) for outcome in EXTRACTION_DROPS}
    lazy = small_web.truth.filter(kind="lazy")["sightings"].list.len().sum()
    expected["data_url"] += int(lazy)  # a WAT shows only the placeholder of a picture that a script loads
    assert {outcome: found[outcome] for outcome in EXTRACTION_DROPS} == expected
    bad = Counter[str]()
    for commit in undisturbed.lake.ledger("candidate_pairs").commits.values():
        bad.update({what: n for what, n in commit.counts.items() if what.startswith("bad record: ")})
    pages = small_web.truth.filter(outcome="bad_record").height / 5  # five pairs stand on each broken page
    assert bad.total() >= pages


@pytest.mark.parametrize("outcome", FAILURES)
def test_downloads_fail_as_the_truth_says(undisturbed: Built, small_web: Web, outcome: str) -> None:
    spoilt = small_web.truth.filter(outcome=outcome)
    assert spoilt.height
    found = spoilt.join(rows(undisturbed.lake, "images"), on="url", how="left")
    assert found.select("kind", "url", "failure").filter(pl.col("failure").ne_missing(outcome)).to_dicts() == []


def test_nothing_else_fails(undisturbed: Built, small_web: Web) -> None:
    failed = rows(undisturbed.lake, "images").filter(status="failed")
    expected = small_web.truth.filter(pl.col("outcome").is_in(FAILURES))
    assert failed.join(expected, on="url", how="anti").select("url", "failure", "failure_detail").to_dicts() == []


def test_the_filter_drops_what_the_truth_calls_useless(
    lake_copy: Callable[..., Settings], builder: Callable[[Settings], Builder], small_web: Web
) -> None:
    keep_all = FilterOptions(policy="laion_clean", threshold_en=-1, threshold_multi=-1, threshold_nolang=-1)
    settings = lake_copy(filter=keep_all)
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS))
    assert outcome.failures == []
    lake = settings.open_lake()
    found = drops(lake, "filtered_pairs")
    released = rows(lake, "filtered_pairs")
    for reason in FILTER_DROPS:
        spoilt = small_web.truth.filter(outcome=reason)
        assert released.join(spoilt, on=PAIR, how="semi").to_dicts() == []
        assert found[reason] == spoilt.height > 0
    assert set(found) == {*FILTER_DROPS, "image_failed"}


def test_every_partition_is_materialised_with_its_checks_passed(undisturbed: Built) -> None:
    settings, instance, lake = undisturbed.settings, undisturbed.instance, undisturbed.lake
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    for table in BUILT:
        keyed = partitions.definition(table) is not None
        names = lake.ledger(table).commits
        expected = sorted(str(partitions.key(CATALOGUE.partition(name))) if keyed else "" for name in names)
        records = instance.fetch_materializations(dg.AssetKey(table), limit=100).records
        assert sorted(str(record.partition_key or "") for record in records) == expected, table
        for check in (*CHECKS, *([SCORE_CHECK] if table == "clip_embeddings" else [])):
            seen = evaluations(instance, table, check)
            assert sorted(str(partition or "") for partition, _ in seen) == expected, (table, check)
            assert check == SCORE_CHECK or all(passed for _, passed in seen), (table, check)
        by_run = {record.run_id for record in records}
        assert by_run == {commit.run_id for commit in names.values()}


def test_commits_name_what_they_were_built_from(undisturbed: Built) -> None:
    lake = undisturbed.lake
    for table in BUILT:
        for name, commit in lake.ledger(table).commits.items():
            assert commit.validated
            assert commit.code_version == TABLES[table].code_version
            for read in TABLES[table].reads:
                partitions = partitions_there(lake, read, CATALOGUE.partition(name))
                if read.table not in commit.upstreams and not partitions and "crawl" in TABLES[read.table].partition_by:
                    continue  # what people enter of a crawl, and scores where there are no heads
                assert read.table in commit.upstreams, (table, name)
                upstream = commit.upstreams[read.table]
                if partitions and read.table != table:
                    versions = [lake.commit(read.table, partition).version for partition in partitions]  # type: ignore[union-attr]
                    assert upstream.version >= max(versions)
                    assert upstream.partitions == len(partitions)


def test_held_out_combinations_occur_nowhere(undisturbed: Built, small_web: Web) -> None:
    """Neither in a picture of the crawl, nor in a text that names shape, colour and texture."""
    plan = make_plan(small_web.options)
    shown = plan.scenes.attributes.astype(int)
    assert not held_out(shown[:, SHAPE], shown[:, COLOUR], shown[:, TEXTURE]).any()
    unseen = [
        (shape, colour, texture)
        for shape in range(len(VALUES["shape"]))
        for colour in range(len(VALUES["colour"]))
        for texture in range(len(VALUES["texture"]))
        if held_out(shape, colour, texture)
    ]
    assert len(unseen) == 18
    texts = {text.casefold() for text in rows(undisturbed.lake, "candidate_pairs")["text"]}
    for language in LEXICONS:
        for count in range(len(VALUES["count"])):
            claimed = np.array([[*what, count, 0, 0] for what in unseen], np.int8)
            for says_count in (False, True):
                named = np.tile([True, True, True, says_count, False, False], (len(unseen), 1))
                plain: Any = _FirstWording()
                phrases = set(write_captions(claimed, named, [language] * len(unseen), plain))
                assert not [(t, p) for t in texts for p in phrases if p.casefold() in t]


class _FirstWording:
    """Stands for a random generator that always draws the plainest wording."""

    def integers(self, _: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.full(size, 64, np.int64)
