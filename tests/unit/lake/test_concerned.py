"""What a change of removals makes stale: the partitions into which something goes that is concerned, and no others."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.lake import Lake
from laion_assets.delta.staleness import judge
from laion_assets.delta.states import Expectation
from laion_assets.lake.concerned import Concerned
from laion_assets.lake.opening import open_lake
from laion_assets.lake.removal_lists import keep_list, kept_list
from laion_assets.lake.takedowns import request_takedown, withdraw_takedowns
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from tests.unit.delta.tables_made import FIRST, SECOND, made, pair, record

BUCKETS = range(3)
JUDGED = ("unique_pairs", "images", "filtered_pairs")
PAIRS, PICTURES = ("unique_pairs", "filtered_pairs"), ("images", "filtered_pairs")
OLD = load_removals()
MD5, SHA1 = "5" * 32, "1" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crawls of three pairs each: pair 1 in bucket 1, redirected; a picture's digest is its number in hex."""
    folder = tmp_path_factory.mktemp("concerned") / "lake"
    opened = open_lake(str(folder), shards=2, buckets=len(BUCKETS))
    for crawl in (FIRST, SECOND):
        built(opened, crawl)
    return folder


@pytest.fixture
def lake(template: Path, tmp_path: Path) -> Lake:
    return open_lake(str(shutil.copytree(template, tmp_path / "lake")), shards=2, buckets=len(BUCKETS))


def url(crawl: str, number: int) -> str:
    return f"http://{crawl}.example/{number}.jpg"


def built(lake: Lake, crawl: str, *, images: Mapping[int, Mapping[str, Any]] | None = None) -> None:
    numbers = [*BUCKETS]
    places = {n: pair(n, bucket=n, url=url(crawl, n)) | record(0, n) for n in numbers}
    shards = [f"crawl={crawl}/shard={n}" for n in range(2)]
    for shard, of in zip(shards, (numbers[:2], numbers[2:]), strict=True):
        publish(lake, "candidate_pairs", shard, [places[n] for n in of])
    for n in numbers:
        name = f"crawl={crawl}/bucket={n}"
        publish(lake, "unique_pairs", name, [places[n]], {"candidate_pairs": shards})
        row = {**places[n], "status": "success", "attempts": 1, "sha256": f"{n:064x}", "final_url": url(crawl, n)}
        if n == 1:
            row["final_url"] = f"https://cdn.{crawl}.example/moved"
        row |= (images or {}).get(n, {})
        publish(lake, "images", name, [row], {"unique_pairs": [name]})
        publish(lake, "filtered_pairs", name, [places[n]], {"unique_pairs": [name], "images": [name]})


def publish(lake: Lake, table: str, name: str, rows: list[Any], reads: dict[str, list[str]] | None = None) -> None:
    removals = load_removals(lake.scan("takedowns").collect())
    with_lists = bool(TABLES[table].outside)
    if with_lists:
        keep_list(lake, removals, lake.root / "fresh")
        reads = {**(reads or {}), "takedowns": [*lake.ledger("takedowns").commits]}
    externals = {"removals": removals.digest} if with_lists else {}
    made(lake, table, name, rows, reads=reads, externals=externals, code_version=TABLES[table].code_version)


def stale(lake: Lake, *, deny: Removals | None = OLD, lists: Mapping[str, Any] | None = None) -> set[str]:
    """``TABLE CRAWL BUCKET`` of what is stale for removals."""
    still, at_hand = lake.at_rest(), load_removals(None, **lists) if lists else deny
    now = load_removals(lake.scan("takedowns").collect(), **(lists or {}))
    concerned = Concerned(still, now, at_hand)
    digest = now.digest if at_hand is not None else ""
    expected = Expectation(settings_digest="s", externals={"removals": digest}, concerns=lambda _, one: concerned(one))
    found = set()
    for table in JUDGED:
        for name in still.ledger(table).commits:
            place = CATALOGUE.partition(name)
            if "removals changed" in judge(still, TABLES[table], place, expected, {}).reasons:
                found.add(f"{table} {place['crawl']} {place['bucket']}")
    return found


def of(crawl: str, bucket: int, *tables: str) -> set[str]:
    return {f"{table} {crawl} {bucket}" for table in tables or JUDGED}


def test_a_request_that_finds_nothing_makes_nothing_stale(lake: Lake) -> None:
    assert stale(lake) == set()
    for kind, value in (("url", "http://nobody.example/x"), ("domain", "example.org"), ("pair_id", "99")):
        request_takedown(lake, kind, value, None)
    request_takedown(lake, "sha256", "e" * 64, None)
    assert stale(lake) == set()


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("url", "HTTPS://CC-2024-10.EXAMPLE:443/%32.jpg#x", of(FIRST, 2)),
        ("domain", "cc-2024-20.example", of(SECOND, 0) | of(SECOND, 1) | of(SECOND, 2)),
        ("pair_id", "2", of(FIRST, 2, *PAIRS) | of(SECOND, 2, *PAIRS)),
        ("sha256", f"{2:064X}", of(FIRST, 2, *PICTURES) | of(SECOND, 2, *PICTURES)),
        ("url", "http://cdn.cc-2024-10.example/moved", of(FIRST, 1, *PICTURES)),
        ("domain", "cdn.cc-2024-20.example", of(SECOND, 1, *PICTURES)),
    ],
)  # fmt: skip
def test_only_what_it_finds_is_stale_and_its_withdrawal_mends_that(
    lake: Lake, kind: str, value: str, found: set[str]
) -> None:
    request_takedown(lake, kind, value, None)
    assert stale(lake) == found
    withdraw_takedowns(lake, kind, [value], None)
    assert stale(lake) == set()


def test_what_was_built_against_a_request_is_stale_once_it_is_withdrawn_and_nothing_else(lake: Lake) -> None:
    request_takedown(lake, "url", url(FIRST, 0), None)
    for table in JUDGED:  # as a build leaves it
        publish(lake, table, f"crawl={FIRST}/bucket=0", [], {})
    withdraw_takedowns(lake, "url", [url(FIRST, 0)], None)
    assert stale(lake) == of(FIRST, 0, "unique_pairs")  # which brings back what the others are made from


def test_a_picture_that_was_refused_on_its_way_comes_back_when_an_address_is_let_in(lake: Lake) -> None:
    refused = {"status": "failed", "failure": "deny_listed", "final_url": url(SECOND, 1), "sha256": None}
    refused["failure_detail"] = "redirect to a url on a list of domain entries"
    request_takedown(lake, "domain", "cdn.cc-2024-20.example", None)
    built(lake, SECOND, images={1: refused})
    built(lake, FIRST, images={1: {"final_url": url(FIRST, 1)}})
    withdraw_takedowns(lake, "domain", ["cdn.cc-2024-20.example"], None)
    assert stale(lake) == of(SECOND, 1, "images")


def test_a_deny_list_is_judged_as_a_request_is(lake: Lake, tmp_path: Path) -> None:
    listed = tmp_path / "domains"
    listed.write_text("nowhere.example\n")
    lists = {"domain_lists": (str(listed),)}
    assert stale(lake, lists=lists) == set()
    listed.write_text("nowhere.example\ncc-2024-10.example\n")
    assert stale(lake, lists=lists) == of(FIRST, 0) | of(FIRST, 1) | of(FIRST, 2)


def test_digests_that_no_row_holds_concern_what_they_may_have_refused(lake: Lake, tmp_path: Path) -> None:
    listed = tmp_path / "hashes"
    listed.write_text(f"{MD5}\n{SHA1}\n")
    lists = {"hash_lists": (str(listed),)}
    assert stale(lake, lists=lists) == set()
    built(lake, FIRST, images={2: {"status": "failed", "failure": "hash_listed"}})
    built(lake, SECOND, images={0: {"attempts": 0}})  # copied out of a tar: it is looked at again
    assert stale(lake, lists=lists) == of(FIRST, 2, "images") | of(SECOND, 0, "images")


def test_what_was_found_is_kept_and_its_loss_changes_nothing(lake: Lake, cache: Path) -> None:
    request_takedown(lake, "url", url(SECOND, 2), None)
    found = stale(lake)
    [kept] = cache.rglob("removals-*")
    assert stale(lake) == found
    for content in (b"", b"\x93", kept.read_bytes()[:-3]):
        kept.write_bytes(content)
        assert stale(lake) == found
    kept.unlink()
    assert stale(lake) == found == of(SECOND, 2)


def test_a_lake_from_before_lists_were_kept_is_judged_by_its_old_requests(lake: Lake) -> None:
    remove_lists(lake)
    assert stale(lake) == set()
    request_takedown(lake, "url", url(FIRST, 0), None)
    assert stale(lake) == of(FIRST, 0)


def test_where_nobody_knows_the_list_any_more_every_partition_counts(lake: Lake, tmp_path: Path) -> None:
    remove_lists(lake)
    listed = tmp_path / "domains"
    listed.write_text("nowhere.example\n")
    assert len(stale(lake, lists={"domain_lists": (str(listed),)})) == len(JUDGED) * len(BUCKETS) * 2


def test_where_deny_lists_are_not_at_hand_requests_count_all_the_same(lake: Lake) -> None:
    assert stale(lake, deny=None) == set()
    request_takedown(lake, "url", url(FIRST, 0), None)
    assert stale(lake, deny=None) == of(FIRST, 0)


def test_a_kept_list_holds_no_address(lake: Lake, tmp_path: Path) -> None:
    removals = load_removals(None, url_lists=(str(lists_file(tmp_path)),))
    keep_list(lake, removals, tmp_path / "scratch")
    kept = kept_list(lake, removals.digest)
    assert kept is not None
    assert kept.frame["kind"].to_list() == ["url_sha256"]
    assert not any(b"secret" in file.read_bytes() for file in lake.root.rglob("_laion/removals/*"))


def lists_file(folder: Path) -> Path:
    file = folder / "urls"
    file.write_text("http://secret.example/a.jpg\n")
    return file


def remove_lists(lake: Lake) -> None:
    for file in (lake.root / "_laion" / "removals").iterdir():
        file.unlink()


def test_where_what_is_searched_is_damaged_every_partition_counts(lake: Lake) -> None:
    place = CATALOGUE.partition(f"crawl={FIRST}/bucket=1")
    [(damaged, _)] = lake.partition_sizes("images", place)
    Path(damaged).write_bytes(b"no parquet")
    request_takedown(lake, "pair_id", "99", None)
    assert stale(lake) >= of(FIRST, 1, *PICTURES)
