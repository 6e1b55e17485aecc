"""A partition beside those of the crawls before it: what is told as unlike them, and what is not."""

from collections.abc import Mapping
from typing import Any

import pytest

from laion_assets.delta.commits import Commit, Ledger
from laion_assets.lake.precedents import CRAWLS, surprises

ROWS = 10_000


def commit(table: str, crawl: str, place: int = 0, **values: Any) -> Commit:
    column = {"candidate_pairs": "shard"}.get(table, "bucket")
    partition = f"crawl={crawl}" if table == "wat_files" else f"crawl={crawl}/{column}={place}"
    usual: dict[str, Any] = {
        "rows": ROWS, "rows_in": ROWS, "drops": {}, "content_digest": "c", "run_id": "r", "code_version": "1",
        "settings_digest": "s", "externals": {}, "upstreams": {}, "counts": {}, "version": 1,
    }  # fmt: skip
    return Commit(table=table, partition=partition, **{**usual, **values})


def pictures(crawl: str, success: float, place: int = 0, rows: int = ROWS, **values: Any) -> Commit:
    counts = {"pictures": round(rows * success), **values.pop("counts", {})}
    return commit("images", crawl, place, rows=rows, rows_in=rows, counts=counts, **values)


def told(new: Commit, *earlier: Commit, files: Mapping[str, int] | None = None) -> list[str]:
    ledger = Ledger()
    for made in (*earlier, new):
        ledger.commits[made.partition] = made
        ledger.touched[made.partition.split("/")[0].removeprefix("crawl=")] = 0
    return surprises(new, ledger, files or {})


def test_nothing_is_said_of_the_first_crawl() -> None:
    assert told(pictures("CC-1", 0.0)) == []
    assert told(pictures("CC-1", 0.0), pictures("CC-2", 0.9)) == [], "a later crawl is none before it"


def test_a_resolver_that_does_not_answer_is_told_with_what_failed() -> None:
    new = pictures("CC-2", 0.0, counts={"failure: dns": 9_000, "failure: http_4xx": 1_000})
    first, second = told(new, pictures("CC-1", 0.7), pictures("CC-1", 0.72, place=1))
    assert first == "success rate: 0.0%, against 71.0%, the median of 2 partitions in the crawls before"
    assert second == "most downloads failed as dns (9,000)"


@pytest.mark.parametrize("success", [0.62, 0.70, 0.78, 1.0])
def test_what_crawls_differ_by_anyway_is_not_told(success: float) -> None:
    assert told(pictures("CC-2", success), pictures("CC-1", 0.70)) == []


def test_an_agent_that_some_sites_block_is_told() -> None:
    assert told(pictures("CC-2", 0.5), pictures("CC-1", 0.70))


def test_a_few_rows_say_less_than_many() -> None:
    assert told(pictures("CC-2", 0.5, rows=20), pictures("CC-1", 0.7, rows=20)) == []
    assert told(pictures("CC-2", 0.5, rows=2_000), pictures("CC-1", 0.7, rows=2_000))
    assert told(pictures("CC-2", 0.0, rows=20), pictures("CC-1", 0.7, rows=20))


def test_broken_crawls_move_the_median_only_when_they_are_the_most() -> None:
    sound = [pictures(f"CC-{n}", 0.7) for n in (1, 2, 3)]
    broken = [pictures(f"CC-{n}", 0.0) for n in (4, 5)]
    assert told(pictures("CC-6", 0.0), *sound, *broken)
    assert told(pictures("CC-6", 0.7), *sound, *broken) == []


def test_partitions_that_scatter_are_given_more_room() -> None:
    close = [pictures("CC-1", 0.70, place=n) for n in range(9)]
    wide = [pictures("CC-1", 0.40 + 0.075 * n, place=n) for n in range(9)]
    assert told(pictures("CC-2", 0.5), *close)
    assert told(pictures("CC-2", 0.5), *wide) == []


def test_a_crawl_of_long_ago_counts_no_more() -> None:
    old = [pictures(f"CC-{n:02}", 0.1) for n in range(20)]
    new = [pictures(f"CC-{n:02}", 0.7) for n in range(20, 20 + CRAWLS)]
    assert told(pictures("CC-99", 0.1), *old, *new)


def test_what_somebody_changed_on_purpose_is_no_surprise() -> None:
    kept = commit("filtered_pairs", "CC-1", rows=9_000, drops={"below_threshold": 1_000})
    stricter = {"rows": 1_000, "drops": {"below_threshold": 9_000}}
    assert told(commit("filtered_pairs", "CC-2", **stricter), kept)
    assert told(commit("filtered_pairs", "CC-2", settings_digest="t", **stricter), kept) == []


def test_a_reason_that_drops_nothing_any_more_and_one_that_is_new_are_told() -> None:
    before = commit("candidate_pairs", "CC-1", drops={"no_alt": 5_000}, counts={"files": 10})
    after = commit("candidate_pairs", "CC-2", drops={"too_long": 5_000}, counts={"files": 10})
    assert [line.split(":")[0] for line in told(after, before)] == ["dropped as no_alt", "dropped as too_long"]


def test_removal_requests_and_pairs_of_earlier_crawls_are_no_surprise() -> None:
    before = commit("unique_pairs", "CC-1", rows=9_500, drops={"duplicate": 500})
    after = commit(
        "unique_pairs", "CC-2", rows=2_350,
        drops={"duplicate": 150, "seen_in_earlier_crawl": 6_500, "removed_domain": 1_000},
    )  # fmt: skip
    assert told(after, before, files={"CC-1": 10, "CC-2": 10}) == []


def test_what_failed_before_is_told_once_where_it_failed() -> None:
    before = commit("filtered_pairs", "CC-1", rows=6_000, drops={"image_failed": 1_000, "below_threshold": 3_000})
    after = commit("filtered_pairs", "CC-2", rows=600, drops={"image_failed": 9_100, "below_threshold": 300})
    assert told(after, before) == []


@pytest.mark.parametrize(("links", "unusual"), [(40_000, True), (0, True), (7_000, False), (14_000, False)])
def test_files_that_hold_fewer_or_more_links_are_told(links: int, unusual: bool) -> None:
    before = commit("candidate_pairs", "CC-1", counts={"files": 10})
    after = commit("candidate_pairs", "CC-2", rows_in=links, rows=links, counts={"files": 10})
    assert bool(told(after, before)) == unusual


def test_a_crawl_of_which_fewer_files_were_asked_for_is_no_surprise() -> None:
    before = commit("candidate_pairs", "CC-1", counts={"files": 10})
    after = commit("candidate_pairs", "CC-2", rows=1_000, rows_in=1_000, counts={"files": 1})
    assert told(after, before) == []
    all_files = commit("wat_files", "CC-1", rows=90_000, rows_in=90_000)
    few = commit("wat_files", "CC-2", rows=10, rows_in=80_000, drops={"beyond_limit": 79_990})
    assert told(few, all_files) == []
    pairs = commit("unique_pairs", "CC-2", rows=10, rows_in=10)
    assert told(pairs, commit("unique_pairs", "CC-1"), files={"CC-1": 10_000, "CC-2": 10}) == []


def test_a_list_that_was_cut_off_is_told() -> None:
    assert told(commit("wat_files", "CC-2", rows=900, rows_in=900), commit("wat_files", "CC-1", rows_in=90_000))


def test_files_that_cannot_be_read_are_told() -> None:
    before = commit("candidate_pairs", "CC-1", counts={"files": 10, "records": 50_000})
    bad = {"files": 10, "records": 50_000, "bad record: corrupt_gzip": 20_000}
    assert told(commit("candidate_pairs", "CC-2", counts=bad), before) == [
        "records that cannot be read: 40.0%, against 0.0%, the median of 1 partition in the crawls before"
    ]


def test_records_of_an_earlier_version_serve_as_far_as_they_tell() -> None:
    old = commit("images", "CC-1", counts={"succeeded": 7_000, "known": 0, "attempted": ROWS})
    some_known = commit("images", "CC-1", counts={"succeeded": 10, "known": 9_000, "attempted": 1_000})
    assert told(pictures("CC-2", 0.1), old)
    assert told(pictures("CC-2", 0.1), some_known) == []


def test_a_partition_that_was_not_validated_is_no_measure() -> None:
    assert told(pictures("CC-2", 0.1), pictures("CC-1", 0.7, validated=False)) == []
