"""Which urls are known already: what is taken over, from whom, and what is attempted again."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.download.failures import Failure, is_transient
from laion_assets.download.results import SCHEMA
from laion_assets.download.reuse import Reuse, plan_attempts

CRAWL = "CC-MAIN-2024-18"
EARLIER, EARLIEST, LATER = "CC-MAIN-2024-10", "CC-MAIN-2023-50", "CC-MAIN-2024-33"
COLUMNS = tuple(SCHEMA.names)
PAIRS = {"url_id": pl.Int64, "url": pl.String, "expected_md5": pl.String, "expected_sha256": pl.String}
IMAGES = {**pl.DataFrame(SCHEMA.empty_table()).schema, "crawl": pl.String, "bucket": pl.Int32, "outdated": pl.Boolean}


def row(url: str, crawl: str = EARLIER, failure: str | None = None, **others: Any) -> dict[str, Any]:
    """A row of ``images`` as some crawl left it."""
    known = dict.fromkeys(COLUMNS) | {
        "url_id": len(url),
        "url": url,
        "status": "failed" if failure else "success",
        "failure": failure,
        "attempts": 1,
        "fetched_at": datetime(2024, 3, 1, tzinfo=UTC),
        "crawl": crawl,
        "bucket": 0,
        "outdated": False,
    }
    if not failure:
        content = f"{url} at {crawl}".encode()
        known |= {
            "width": 4,
            "height": 3,
            "byte_size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "shard_path": f"files/{crawl}/00000.tar",
            "sample_key": "000000000",
        }
    return known | others


class Planner:
    """Plans against rows of earlier crawls."""

    def __init__(self, folder: Path) -> None:
        self._output = folder / "known.parquet"

    def __call__(
        self,
        urls: list[str],
        earlier: list[dict[str, Any]],
        removals: Removals | None = None,
        *,
        expected: dict[str, dict[str, str]] | None = None,
        **options: bool,
    ) -> Reuse:
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            pairs = [{"url_id": len(url), "url": url} | (expected or {}).get(url, {}) for url in urls]
            con.register("pairs", pl.DataFrame(pairs, schema=PAIRS))
            con.register("earlier", pl.DataFrame(earlier, schema=IMAGES, orient="row"))
            reuse = plan_attempts(
                con,
                pairs="pairs",
                earlier="earlier",
                crawl=CRAWL,
                columns=COLUMNS,
                removals=removals or Removals.none(),
                output=self._output,
                **options,
            )
            self.attempted = con.table("attempted").pl()["url"].to_list()
            self.known = {r["url"]: r for r in pl.read_parquet(self._output).iter_rows(named=True)}
        assert reuse.wanted == reuse.known + reuse.removed + reuse.attempted
        assert reuse.attempted == len(self.attempted)
        assert reuse.known == sum(reuse.sources.values())
        return reuse


@pytest.fixture
def plan(tmp_path: Path) -> Planner:
    return Planner(tmp_path)


def test_what_nobody_knows_is_attempted_each_url_once(plan):
    reuse = plan(["http://b", "http://a", "http://b"], [])
    assert reuse == Reuse(wanted=2, known=0, removed=0, attempted=2)
    assert plan.attempted == ["http://a", "http://b"]
    assert plan.known == {}


def test_a_success_is_taken_over_as_it_is(plan):
    known = row("http://a", width=7, exif='{"Make": "x"}', attempts=3)
    assert plan(["http://a"], [known]).sources == {EARLIER: 1}
    assert plan.known["http://a"] == {name: known[name] for name in COLUMNS}
    assert plan.attempted == []


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_is_taken_over_unless_it_can_pass_or_was_a_list_s_verdict(plan, failure):
    plan(["http://a"], [row("http://a", failure=failure)])
    again = is_transient(failure) or failure == "deny_listed"
    assert plan.attempted == (["http://a"] if again else [])
    assert list(plan.known) == ([] if again else ["http://a"])


@pytest.mark.parametrize("failure", ["hash_mismatch", "decode"])
def test_a_failure_that_only_this_crawl_s_list_or_tars_know_of_stays_with_it(plan, failure):
    plan(["http://a"], [row("http://a", CRAWL, failure=failure, attempts=0)])
    assert plan.attempted == []
    plan(["http://a"], [row("http://a", LATER, failure=failure, attempts=0)])
    assert plan.attempted == ["http://a"]


def test_what_others_could_not_fetch_is_copied_out_of_tars_unless_somebody_said_no(plan):
    failures = {f"http://{failure}": failure for failure in ("http_4xx", "decode", "hash_listed", "opted_out")}
    rows = [row(url, failure=failure) for url, failure in failures.items()]
    plan([*failures, "http://a"], [*rows, row("http://a")], copied=True)
    assert sorted(plan.attempted) == ["http://decode", "http://http_4xx"]
    assert {url: known["status"] for url, known in plan.known.items()} == {
        "http://a": "success", "http://hash_listed": "failed", "http://opted_out": "failed",
    }  # fmt: skip
    plan(["http://a"], [row("http://a", CRAWL, failure="decode", attempts=0)], copied=True)
    assert plan.attempted == ["http://a"]  # the tar may have been mended


@pytest.mark.parametrize(
    ("status", "again"), [(404, False), (410, False), (403, False), (408, True), (425, True), (429, True)]
)
def test_the_status_says_whether_a_refusal_can_pass(plan, status, again):
    plan(["http://a"], [row("http://a", failure="http_4xx", http_status=status)])
    assert bool(plan.attempted) is again


def test_the_crawl_s_own_row_goes_first_then_the_earliest_crawl_s(plan):
    rows = [row("http://a", crawl) for crawl in (LATER, CRAWL, EARLIER, EARLIEST)]
    assert plan(["http://a"], rows).sources == {CRAWL: 1}
    assert plan.known["http://a"]["sha256"] == rows[1]["sha256"]
    assert plan(["http://a"], [rows[0], rows[2], rows[3]]).sources == {EARLIEST: 1}
    assert plan(["http://a"], [rows[0]]).sources == {LATER: 1}


def test_a_picture_that_another_crawl_got_goes_before_a_failure_that_can_pass(plan):
    own = row("http://a", CRAWL, failure="timeout")
    assert plan(["http://a"], [own, row("http://a", EARLIER)]).sources == {EARLIER: 1}
    assert plan.attempted == []


def test_only_urls_that_are_wanted_are_looked_at(plan):
    assert plan(["http://a"], [row("http://b"), row("http://A")]).wanted == 1
    assert plan.attempted == ["http://a"]


def test_a_removed_picture_becomes_a_failure_without_a_request(plan):
    known = row("http://a")
    takedown = load_removals(pl.DataFrame({"kind": ["sha256"], "value": [known["sha256"]]}))
    reuse = plan(["http://a", "http://b"], [known, row("http://b")], takedown)
    assert (reuse.known, reuse.removed, reuse.attempted) == (1, 1, 0)
    gone = plan.known["http://a"]
    assert (gone["status"], gone["failure"]) == ("failed", "hash_listed")
    pictured = {"width", "height", "original_width", "original_height", "perceptual_hash", "exif", "shard_path"}
    assert all(gone[name] is None for name in pictured | {"sample_key"})
    assert (gone["sha256"], gone["byte_size"]) == (known["sha256"], known["byte_size"])  # as a download would say
    assert plan.known["http://b"]["status"] == "success"


def test_a_url_on_a_hash_list_becomes_a_failure_without_a_request(plan, tmp_path):
    listed = tmp_path / "hashes"
    listed.write_text(hashlib.md5(b"http://a").hexdigest())
    reuse = plan(["http://a"], [row("http://a")], load_removals(hash_lists=(str(listed),)))
    assert (reuse.removed, plan.known["http://a"]["failure"]) == (1, "hash_listed")


@pytest.mark.parametrize(("kind", "value"), [("url", "http://a.test/x.png"), ("domain", "a.test")])
def test_what_a_deny_list_names_is_left_to_the_list_whatever_was_known(plan, kind, value):
    """It is 'attempted', which costs no connection: the fetch asks the list before anything else."""
    url = "http://a.test/x.png"
    removals = load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))
    assert plan([url], [row(url)], removals).attempted == 1
    assert plan([url], [row(url, failure="http_4xx", http_status=404)], removals).attempted == 1


@pytest.mark.parametrize(("kind", "value"), [("url", "https://b.test:80/y%2epng#top"), ("domain", "B.test.")])
def test_a_picture_that_came_by_a_redirect_from_what_is_removed_since_is_asked_for_anew(plan, kind, value):
    removals = load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))
    redirected, direct = row("http://a.test/x", final_url="http://b.test/y.png"), row("http://a.test/z")
    plan(["http://a.test/x", "http://a.test/z"], [redirected, direct], removals)
    assert (plan.attempted, list(plan.known)) == (["http://a.test/x"], ["http://a.test/z"])


def test_a_redirect_s_target_on_a_hash_list_makes_a_failure_without_a_request(plan, tmp_path):
    listed = tmp_path / "hashes"
    listed.write_text(hashlib.sha1(b"http://b.test/y.png").hexdigest())
    removals = load_removals(hash_lists=(str(listed),))
    assert plan(["http://a"], [row("http://a", final_url="http://b.test/y.png")], removals).removed == 1
    assert plan.known["http://a"]["failure"] == "hash_listed"


def test_what_is_on_a_list_no_longer_is_attempted_again(plan):
    assert plan(["http://a"], [row("http://a", failure="deny_listed")]).attempted == 1


def test_refetching_attempts_everything_but_what_was_removed(plan):
    urls = ["http://a", "http://b", "http://c"]
    rows = [row("http://a"), row("http://b", failure="http_4xx", http_status=404), row("http://c")]
    takedown = load_removals(pl.DataFrame({"kind": ["sha256"], "value": [rows[2]["sha256"]]}))
    plan(urls, rows, takedown, refetch=True)
    assert plan.attempted == ["http://a", "http://b"]
    assert plan.known["http://c"]["failure"] == "hash_listed"


@pytest.mark.parametrize(
    ("known", "again"),
    [
        ({"content_type": "image/jpeg"}, False),
        ({"content_type": "image/webp; charset=x"}, False),
        ({"content_type": "image/jpeg", "exif": '{"Orientation": "6"}'}, True),
        ({"content_type": "image/png"}, True),
        ({"content_type": None}, True),
        ({"failure": "other"}, True),
        ({"failure": "not_an_image"}, True),
        ({"failure": "decode"}, True),
        ({"failure": "too_small"}, False),
        ({"failure": "http_4xx", "http_status": 404}, False),
    ],
)
def test_of_what_other_code_fetched_that_is_attempted_again_which_it_may_have_got_wrong(plan, known, again):
    plan(["http://a"], [row("http://a", **known, outdated=True)])
    assert bool(plan.attempted) is again
    plan(["http://a"], [row("http://a", **known)])
    assert plan.attempted == []


URLS = [f"http://h{n}.test/" for n in range(5)]
ROWS = st.builds(
    row,
    st.sampled_from(URLS),
    st.sampled_from([CRAWL, EARLIER, EARLIEST, LATER]),
    st.sampled_from([None, None, *(f.value for f in Failure)]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    urls=st.lists(st.sampled_from(URLS), max_size=8),
    rows=st.lists(ROWS, max_size=12, unique_by=lambda r: (r["url"], r["crawl"])),
    refetch=st.booleans(),
)
def test_every_url_is_known_or_attempted_and_none_is_both(plan, urls, rows, refetch):
    plan(urls, rows, refetch=refetch)
    assert sorted([*plan.known, *plan.attempted]) == sorted(set(urls))


def test_a_picture_whose_removal_was_withdrawn_is_attempted_again(plan, tmp_path):
    listed = row("http://a", failure="hash_listed", sha256="a" * 64)
    plan(["http://a"], [listed], load_removals(pl.DataFrame({"kind": ["sha256"], "value": ["a" * 64]})))
    assert plan.attempted == []
    plan(["http://a"], [listed], load_removals(pl.DataFrame({"kind": ["sha256"], "value": ["b" * 64]})))
    assert plan.attempted == ["http://a"]
    # A list of md5 may name the picture still: who asks its host to find out asks at every build.
    (tmp_path / "md5").write_text("0" * 32)
    plan(["http://a"], [listed], load_removals(hash_lists=(str(tmp_path / "md5"),)))
    assert plan.attempted == []


# -- what lists promise ----------------------------------------------------------------------------------------------

MD5, SHA256 = "a" * 32, "b" * 64


@pytest.mark.parametrize(
    ("known", "now", "is_taken"),
    [
        ({}, {}, True),
        ({}, {"expected_md5": MD5}, False),
        ({"expected": MD5}, {"expected_md5": MD5}, True),
        ({"expected": "c" * 32}, {"expected_md5": MD5}, False),
        ({"expected": MD5}, {}, True),
        ({"sha256": SHA256}, {"expected_sha256": SHA256}, True),
        ({"sha256": SHA256}, {"expected_sha256": "c" * 64}, False),
        ({"sha256": SHA256}, {"expected_sha256": "c" * 64, "expected_md5": MD5}, False),
        ({"failure": "hash_mismatch", "expected": MD5}, {"expected_md5": MD5}, True),
        ({"failure": "hash_mismatch", "expected": MD5}, {"expected_md5": "c" * 32}, False),
        ({"failure": "hash_mismatch", "expected": MD5}, {}, False),
        ({"failure": "not_an_image"}, {"expected_md5": MD5}, True),
        ({"failure": "dns", "expected": MD5}, {"expected_md5": MD5}, False),
    ],
)
def test_a_row_counts_where_it_was_held_against_what_is_promised_now(plan, known, now, is_taken):
    plan(["http://a"], [row("http://a", **known)], expected={"http://a": now})
    assert [*plan.known] == (["http://a"] if is_taken else [])
    told = " ".join(sorted(now.values())) or None
    assert all(found["expected"] == told for found in plan.known.values())


def test_of_what_several_rows_of_a_url_promise_any_will_do(plan, tmp_path):
    with duckdb.connect() as con:
        promised = [("http://a", MD5), ("http://a", None), ("http://a", "c" * 32), ("http://b", None)]
        rows = [{"url_id": len(url), "url": url, "expected_md5": digest} for url, digest in promised]
        con.register("pairs", pl.DataFrame(rows, schema=PAIRS))
        con.register("earlier", pl.DataFrame(schema=IMAGES))
        plan_attempts(con, pairs="pairs", earlier="earlier", crawl=CRAWL, columns=COLUMNS, removals=Removals.none(),
                      output=tmp_path / "known.parquet")  # fmt: skip
        assert con.sql("SELECT url, expected FROM attempted").fetchall() == [
            ("http://a", f"{MD5} {'c' * 32}"), ("http://b", None),
        ]  # fmt: skip


def test_an_old_yes_does_not_outvote_a_newer_no_nor_the_other_way_round(plan):
    old, new = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    yes = row("http://a", EARLIEST, fetched_at=old)
    no = row("http://a", LATER, "opted_out", fetched_at=old, asked_at=new, attempts=0)
    assert plan(["http://a"], [yes, no]).sources == {LATER: 1}
    assert plan.known["http://a"]["failure"] == "opted_out"
    assert plan(
        ["http://a"], [row("http://a", EARLIEST, "opted_out", fetched_at=old), row("http://a", LATER)]
    ).sources == {LATER: 1}
    assert plan.known["http://a"]["status"] == "success"


def test_a_no_that_was_asked_about_long_ago_is_asked_for_again(plan):
    no = row("http://a", CRAWL, "opted_out", attempts=0)
    assert plan(["http://a"], [no], ask_again=datetime(2024, 3, 1, tzinfo=UTC)).attempted == 0
    assert plan(["http://a"], [no], ask_again=datetime(2024, 3, 2, tzinfo=UTC)).attempted == 1
