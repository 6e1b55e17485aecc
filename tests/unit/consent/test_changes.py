"""What came to lists of removals and what went, however they were written."""

from pathlib import Path

import polars as pl

from laion_assets.consent.changes import as_kept, change_between, merged
from laion_assets.consent.removals import Removals, load_removals


def listed(*entries: tuple[str, str]) -> Removals:
    frame = pl.DataFrame(sorted(entries), schema={"kind": pl.String, "value": pl.String}, orient="row")
    return as_kept(Removals(frame))


def test_a_list_is_kept_without_addresses_and_finds_the_same(tmp_path: Path) -> None:
    urls = tmp_path / "urls"
    urls.write_text("http://a.example/b.jpg\nhttps://A.example:443/b.jpg#x\nhttp://c.example/\n")
    removals = load_removals(None, url_lists=(str(urls),))
    kept = as_kept(removals)
    assert kept.frame["kind"].to_list() == ["url_sha256", "url_sha256"]
    assert as_kept(kept).digest == kept.digest
    for url in ("http://user@a.example/b.jpg", "https://c.example"):
        assert (removals.matcher().match_url(url), kept.matcher().match_url(url)) == ("url", "url")
    assert kept.matcher().match_url("http://a.example/c.jpg") is None


def test_what_both_lists_have_is_no_change() -> None:
    both, came, went = ("domain", "a.example"), ("pair_id", "7"), ("sha256", "a" * 64)
    change = change_between(listed(both, went), listed(both, came))
    assert change.entries.frame.rows() == [came, went]
    assert (change.is_none, change.lets_in_addresses, change.judges_bodies) == (False, False, False)
    assert change_between(listed(both), listed(both)).is_none


def test_what_lets_in_an_address_or_judges_bytes_is_said() -> None:
    for entry in (("url", "a.example/"), ("domain", "a.example"), ("hash", "a" * 64)):
        assert change_between(listed(entry), listed()).lets_in_addresses
        assert not change_between(listed(), listed(entry)).lets_in_addresses
    for entry in (("hash", "5" * 32), ("hash", "1" * 40)):
        assert change_between(listed(entry), listed()).judges_bodies
        assert change_between(listed(), listed(entry)).judges_bodies
    assert not change_between(listed(), listed(("hash", "a" * 64))).judges_bodies


def test_of_what_is_not_at_hand_only_what_was_withdrawn_went() -> None:
    ours, theirs = ("domain", "a.example"), ("domain", "listed.example")
    before = listed(ours, theirs)
    assert change_between(before, listed(ours), withdrawn=listed(ours)).is_none
    assert change_between(before, listed(), withdrawn=listed(ours)).entries.frame.rows() == [ours]


def test_merged_lists_are_what_one_list_of_both_is(tmp_path: Path) -> None:
    takedowns = pl.DataFrame({"kind": ["domain", "url"], "value": ["b.example", "http://z.example/é"]})
    domains = tmp_path / "domains"
    domains.write_text("a.example\nb.example\nbücher.example\n")
    one = load_removals(takedowns, domain_lists=(str(domains),))
    other = load_removals(None, domain_lists=(str(domains),))
    assert merged(load_removals(takedowns), other).digest == one.digest
