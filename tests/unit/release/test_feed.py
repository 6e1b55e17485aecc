"""The removals feed: only ever longer, readable by everybody, and nobody learns from it what was removed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.consent.reasons import REASONS, reason_class
from laion_assets.release.feed import (
    FeedError,
    Request,
    append_feed,
    ensure_successor,
    feed_lines,
    read_feed,
    requests_of,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCHEMA = {"kind": pl.String, "value": pl.String, "requested_at": pl.Datetime("us", "UTC"), "reason": pl.String}


def table(*rows: tuple[str, str, int, str | None]) -> pl.DataFrame:
    """Rows of ``takedowns``: kind, value, the day on which it was entered, why."""
    entered = [(kind, value, START + timedelta(days=day), reason) for kind, value, day, reason in rows]
    return pl.DataFrame(entered, schema=SCHEMA, orient="row")


def said(feed: bytes) -> list[dict[str, object]]:
    return [{k: v for k, v in json.loads(line).items() if v is not None} for line in feed.splitlines()]


def test_rows_stand_in_the_order_in_which_things_were_asked_for() -> None:
    feed = feed_lines(
        requests_of(
            table(
                ("url", "https://Example.org/a%20b.jpg", 3, "Privacy: Mrs Jones of 12 High Street asked"),
                ("pair_id", "-92", 1, None),
                ("domain", "*.Gone.example", 2, "rights"),
                ("sha256", "AB" * 32, 4, "because"),
            )
        )
    )
    digest = "a93bb95da2f5b5afd53f3b0ec1d2cb95c21d8a4b6ee3ae73b3f0ad0fb5c4bd51"
    rows = said(feed)
    assert [{**row, "url_sha256": digest} if "url_sha256" in row else row for row in rows] == [
        {"n": 1, "date": "2026-01-02", "kind": "pair_id", "pair_id": "-92", "reason": "other"},
        {"n": 2, "date": "2026-01-03", "kind": "domain", "domain": "gone.example", "reason": "rights"},
        {"n": 3, "date": "2026-01-04", "kind": "url", "url_sha256": digest, "reason": "privacy"},
        {"n": 4, "date": "2026-01-05", "kind": "sha256", "sha256": "ab" * 32, "reason": "other"},
    ]
    assert b"Jones" not in feed
    assert b"xample.org" not in feed


def test_every_row_has_every_field_so_that_readers_of_tables_take_it(tmp_path: Path) -> None:
    (tmp_path / "removals.jsonl").write_bytes(feed_lines(requests_of(table(("domain", "a.example", 1, None)))))
    read = pl.read_ndjson(tmp_path / "removals.jsonl")
    assert read.columns == ["n", "date", "kind", "url_sha256", "domain", "sha256", "pair_id", "reason"]


SPELLINGS = [
    "https://example.org/a%20b.jpg", "http://example.org/a%20b.jpg", "HTTPS://EXAMPLE.ORG/a%20b.jpg",
    "https://example.org:443/a%20b.jpg", "http://example.org:80/a%20b.jpg", "https://example.org./a%20b.jpg",
    "https://user:pass@example.org/a%20b.jpg", "https://example.org/a b.jpg", "https://example.org/%61%20b.jpg",
    "https://example.org/x/../a%20b.jpg", "https://example.org/./a%20b.jpg", "https://example.org/a%20b.jpg#top",
    "https://example.org/a%20b.jpg?", "https://example.org/a%20b.jpg%20", "https:\\\\example.org\\a%20b.jpg",
    " https://example.org/a%20b.jpg\n", "https://ex%61mple.org/a%20b.jpg", "https://ｅxample.org/a%20b.jpg",
    "https://example.org:0443/a%20b.jpg", "https://exa\tmple.org/a%20b.jpg",
]  # fmt: skip


def test_twenty_spellings_of_an_address_are_one_row() -> None:
    assert len(set(SPELLINGS)) == 20
    feeds = {feed_lines(requests_of(table(("url", spelling, 1, None)))) for spelling in SPELLINGS}
    assert len(feeds) == 1
    entered = table(*(("url", spelling, day, None) for day, spelling in enumerate(SPELLINGS)))
    assert len(said(feed_lines(requests_of(entered)))) == 1


def test_a_withdrawal_is_a_row_and_so_is_asking_again() -> None:
    asked = table(("domain", "a.example", 1, None), ("pair_id", "5", 2, None))
    first = feed_lines(requests_of(asked))
    rows = [("domain", "a.example", 1, None), ("pair_id", "5", 2, None), ("withdrawal", "domain a.example", 3, None)]
    second = append_feed(first, requests_of(table(*rows)))
    assert said(second)[2:] == [
        {"n": 3, "date": "2026-01-04", "kind": "withdrawal", "domain": "a.example", "reason": "other"}
    ]
    assert read_feed(second).in_force == {("pair_id", "5")}
    again = [("domain", "a.example", 9, None), *rows[1:]]
    third = append_feed(second, requests_of(table(*again)))
    assert said(third)[3:] == [
        {"n": 4, "date": "2026-01-10", "kind": "domain", "domain": "a.example", "reason": "other"}
    ]
    assert third.startswith(second)
    assert second.startswith(first)


def test_what_was_withdrawn_before_it_was_ever_published_is_not_told() -> None:
    assert (
        feed_lines(requests_of(table(("domain", "a.example", 1, None), ("withdrawal", "domain a.example", 2, None))))
        == b""
    )


def test_what_is_known_elsewhere_stays_listed() -> None:
    feed = feed_lines(requests_of(table(("domain", "a.example", 1, None))))
    assert append_feed(feed, []) == feed


THINGS = st.sampled_from(
    [("url", "https://a.example/1"), ("domain", "b.example"), ("pair_id", "7"), ("sha256", "0" * 64)]
)
EVENTS = st.lists(st.tuples(THINGS, st.booleans()), max_size=12)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.lists(st.booleans(), min_size=12, max_size=12))
def test_each_version_is_the_beginning_of_all_later_ones(events, published) -> None:
    """Whatever is asked for and withdrawn, and whenever the feed is refreshed in between."""
    asked: dict[tuple[str, str], tuple[int, int | None]] = {}
    feed = b""
    for day, ((thing, withdraws), is_published) in enumerate(zip(events, published, strict=False)):
        if withdraws and thing in asked:
            asked[thing] = (asked[thing][0], day)
        elif not withdraws:
            asked[thing] = (day, asked.get(thing, (0, None))[1])
        rows = [(kind, value, at, None) for (kind, value), (at, _) in asked.items()]
        rows += [
            ("withdrawal", f"{kind} {value}", at, None) for (kind, value), (_, at) in asked.items() if at is not None
        ]
        requests = requests_of(table(*rows))
        if is_published:
            grown = append_feed(feed, requests)
            ensure_successor(feed, grown)
            assert append_feed(grown, requests) == grown
            standing = {request.thing for request in requests if not request.is_withdrawn}
            assert read_feed(grown).in_force == standing
            feed = grown


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda feed: feed[:-5], "cut off: row 2"),
        (lambda feed: feed.replace(b'"n":2', b'"n":3'), "row 2 of the feed says that it is row 3"),
        (lambda feed: feed.splitlines(keepends=True)[1], "row 1 of the feed says that it is row 2"),
        (lambda feed: feed.replace(b'"domain":"a.example"', b'"domain":null'), "row 2 of the feed: expected one thing"),
        (lambda feed: feed.replace(b'"kind":"domain"', b'"kind":"phash"'), "row 2 of the feed cannot be read"),
        (lambda feed: feed.replace(b"a.example", b"A.example"), "is not written as a feed writes it"),
        (lambda feed: b"<html>\n", "row 1 of the feed cannot be read"),
        (lambda feed: b"\xff\xfe\n", "row 1 of the feed cannot be read"),
    ],
)
def test_what_is_no_feed_is_told_by_its_row(broken, told: str) -> None:
    feed = feed_lines(requests_of(table(("pair_id", "5", 1, None), ("domain", "a.example", 2, None))))
    assert len(read_feed(feed).rows) == 2
    with pytest.raises(FeedError, match=told):
        read_feed(broken(feed))


def test_a_feed_that_does_not_go_on_is_told_by_where_they_part() -> None:
    one, other = (feed_lines(requests_of(table(("domain", f"{name}.example", 1, None)))) for name in "ab")
    with pytest.raises(FeedError, match=r"expected row 1 to be .*a\.example.*, found .*b\.example"):
        ensure_successor(one, other)
    with pytest.raises(FeedError, match="has 0 rows, and 1 in an earlier version"):
        ensure_successor(one, b"")


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        (None, "other"), ("", "other"), ("privacy", "privacy"), ("Privacy: she wrote", "privacy"),
        ("opted-out: robots.txt", "opted_out"), ("Opted Out", "opted_out"), ("a privacy matter", "other"),
        ("safety : x", "safety"), ("rights\nand more", "other"),
    ],
)  # fmt: skip
def test_a_reason_is_one_word_to_everybody(reason: str | None, named: str) -> None:
    assert reason_class(reason) == named
    assert named in REASONS


def test_requests_are_said_once_a_thing_with_the_day_of_the_first() -> None:
    requests = [
        Request(at=START + timedelta(days=day), kind="domain", value="a.example", reason=reason)
        for day, reason in ((2, "listed"), (1, "rights"))
    ]
    assert [(row["date"], row["reason"]) for row in said(feed_lines(requests))] == [("2026-01-02", "rights")]
