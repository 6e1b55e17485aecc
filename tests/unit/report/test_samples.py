"""Which rows are shown: enough of each kind, the same ones each time, none that anybody asked to remove."""

import random

import polars as pl
import pytest

from laion_assets.consent.removals import load_removals
from laion_assets.report.blocks import Place
from laion_assets.report.samples import PairSamples, cluster_samples, failure_samples, pair_samples
from tests.unit.report.conftest import EARLY, LATE, SHA, released, scored

HIGH = [scored(n, 0.5 + n / 100, released=True) for n in range(1, 9)]
LOW = [scored(n, 0.5 - n / 100) for n in range(11, 16)]


def removals(*requests: tuple[str, str]):
    return load_removals(pl.DataFrame(requests, schema={"kind": pl.String, "value": pl.String}, orient="row"))


@pytest.fixture
def samples(con, fill):
    def take(rows, *requests, policy="laion_clean", threshold=0.5, per_sheet=3, per_reason=2) -> PairSamples:
        fill("scored_pairs", rows)
        fill("filtered_pairs", [released(row, policy, threshold) for row in rows if row["released"]])
        return pair_samples(con, removals(*requests).register(con), per_sheet=per_sheet, per_reason=per_reason)

    return take


def texts(cards):
    return [card.text.removeprefix("the picture ") for card in cards]


def test_released_pairs_and_both_sides_of_the_threshold_are_shown(samples):
    found = samples([*HIGH, *LOW])
    assert texts(found.kept["en"]) == ["1", "2", "3"]
    assert texts(found.above["en"]) == ["1", "2", "3"]
    assert texts(found.below["en"]) == ["11", "12", "13"]
    nearest = found.below["en"][0]
    assert list(nearest.facts) == ["0.390", "−0.110"]
    assert list(found.above["en"][0].facts) == ["0.510", "+0.010"]
    assert nearest.place == Place(tar="files/one.tar", key="000000011")
    assert nearest.size == (300, 200)


def test_each_language_group_has_its_own(samples):
    other = {"language": "ja", "subset": "multi"}
    found = samples([*HIGH, scored(21, 0.9, released=True, **other), scored(22, 0.1, **other)])
    assert texts(found.kept["multi"]) == ["21"]
    assert texts(found.below["multi"]) == ["22"]
    assert found.kept["multi"][0].language == "ja"
    assert "en" not in found.below


def test_the_same_lake_gives_the_same_samples_whatever_the_order_of_rows(samples):
    rows = [*HIGH, *LOW]
    first = samples(rows)
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert samples(rows) == first


def test_no_picture_is_shown_twice_on_a_sheet(samples):
    rows = [scored(n, 0.9, released=True, sha256=SHA["a"]) for n in range(1, 4)]
    assert texts(samples([*rows, *HIGH[3:5]]).kept["en"]) == ["1", "4", "5"]


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("too_short", {"text": "abc"}),
        ("file_name", {"text": "IMG_1234.jpg"}),
        ("markup", {"text": "<b>bold</b> words"}),
        ("too_few_bytes", {"byte_size": 10}),
        ("below_threshold_en", {}),
    ],
)
def test_the_policy_that_released_a_bucket_says_why_a_pair_of_it_was_dropped(samples, reason, changes):
    found = samples([*HIGH, scored(31, 0.1, **changes)])
    assert list(found.dropped) == [reason]
    assert bool(found.below) == (reason == "below_threshold_en")  # what another rule drops says nothing of thresholds


def test_bounds_that_were_changed_by_hand_are_known_from_the_policy_s_name(samples):
    found = samples([*HIGH, scored(31, 0.9)], policy="laion+min_side=512")
    assert list(found.dropped) == ["too_small"]


def test_what_scores_dropped_is_shown_but_for_what_is_unsafe(samples, fill):
    rows = [*HIGH, *(scored(n, 0.9) for n in (31, 32, 33))]
    said = [(31, "unsafe", 0.9), (32, "unsafe", 0.1), (32, "aesthetic", 1.0), (31, "aesthetic", 9.0)]
    places = {row["pair_id"]: {"crawl": row["crawl"], "bucket": 0, "sha256": row["sha256"]} for row in rows}
    fill("image_scores", [{**places[n], "measures": what, "priority": 0, "value": value} for n, what, value in said])
    found = samples(rows, policy="laion_clean+max_punsafe=0.5+min_aesthetic=5.0")
    assert {reason: texts(cards) for reason, cards in found.dropped.items()} == {
        "unaesthetic": ["32"],
        "unsafe_unknown": ["33"],
    }


def test_a_policy_of_another_version_does_no_harm(samples):
    found = samples([*HIGH, *LOW], policy="from_the_future")
    assert texts(found.kept["en"]) == ["1", "2", "3"]
    assert found.dropped == {}


def test_a_policy_without_threshold_has_nothing_near_it(samples):
    found = samples(HIGH, policy="none", threshold=None)
    assert texts(found.kept["en"]) == ["1", "2", "3"]
    assert not found.above["en"]


def test_buckets_are_judged_by_what_released_them(samples, con, fill):
    rows = [*HIGH, scored(41, 0.3, crawl=LATE), scored(42, 0.4, crawl=LATE, released=True)]
    samples(rows)
    kept = [released(row, threshold=0.5 if row["crawl"] == EARLY else 0.35) for row in rows if row["released"]]
    fill("filtered_pairs", kept)
    found = pair_samples(con, removals().register(con), per_sheet=3, per_reason=2)
    assert list(found.below["en"][0].facts) == ["0.300", "−0.050"]


@pytest.mark.parametrize(
    "request_",
    [
        ("url", "http://EXAMPLE.org:80/1.jpg"),
        ("domain", "example.org"),
        ("sha256", f"{1:064x}"),
        ("pair_id", "1"),
    ],
)
def test_what_somebody_asked_to_remove_is_not_shown_before_it_is_removed(samples, request_):
    other = scored(51, 0.9, released=True, url="http://elsewhere.net/51.jpg")
    found = samples([HIGH[0], other], request_)
    assert texts(found.kept["en"]) == ["51"]


def test_a_picture_is_not_shown_where_the_address_that_its_url_led_to_is_to_be_removed(samples):
    led_on = scored(51, 0.9, released=True, final_url="https://cdn.elsewhere.net/51.jpg")
    found = samples([HIGH[0], led_on], ("domain", "elsewhere.net"))
    assert texts(found.kept["en"]) == ["1"]


def test_nothing_released_gives_nothing(samples):
    assert samples(LOW) == PairSamples()


def failed(number: int, failure: str, **changes):
    row = {"crawl": EARLY, "bucket": 0, "url_id": number, "url": f"http://example.org/{number}", "status": "failed"}
    return row | {"failure": failure, "failure_detail": "as it is", "http_status": 404, "attempts": 1} | changes


def test_failed_urls_are_shown_by_kind_without_those_that_nobody_should_see(con, fill):
    rows = [failed(n, "http_4xx") for n in range(5)] + [
        failed(11, "dns", http_status=None, failure_detail=None),
        failed(12, "hash_listed"),
        failed(13, "deny_listed"),
        failed(14, "timeout", url="http://gone.example.com/x"),
        failed(15, "timeout", final_url="http://gone.example.com/x"),
    ]
    fill("images", rows)
    asked = removals(("domain", "gone.example.com"))
    found = failure_samples(con, asked.register(con), per_reason=2)
    assert {failure: [one.url[-2:] for one in of] for failure, of in found.items()} == {
        "dns": ["11"],
        "http_4xx": ["/0", "/1"],
    }
    assert found["dns"][0].detail == ""


def test_the_largest_clusters_come_first_with_a_picture_of_theirs(con, fill):
    cluster = {"urls": 2, "texts": 1, "hosts": 1, "crawls": 2, "first_crawl": EARLY, "example_text": "a logo"}
    fill(
        "duplicate_clusters",
        [
            cluster | {"sha256": SHA["a"], "pairs": 3, "example_url": "http://a.org/1"},
            cluster | {"sha256": SHA["b"], "pairs": 9, "example_url": "http://b.org/1"},
            cluster | {"sha256": SHA["c"], "pairs": 8, "example_url": "http://c.org/1"},
        ],
    )
    stored = {"status": "success", "original_width": 8, "original_height": 9, "shard_path": "t.tar"}
    fill("images", [failed(1, "dns") | stored | {"failure": None, "sha256": SHA["b"], "sample_key": "k"}])
    found = cluster_samples(con, removals(("domain", "c.org")).register(con), most=2)
    assert [card.url for card in found] == ["http://b.org/1", "http://a.org/1"]
    assert found[0].place == Place(tar="t.tar", key="k")
    assert found[1].place is None
    assert found[0].facts == ("9 pairs", "2 urls", "1 text", "1 host", "2 crawls")
