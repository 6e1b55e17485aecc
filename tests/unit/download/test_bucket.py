"""A bucket's urls: what is known of them, what their work is called, and what became of them."""

from collections.abc import Iterator

import duckdb
import polars as pl
import pytest

from laion_assets.download.bucket import FetchedTar, attempts_token, open_earlier, outcomes


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine that knows some rows of ``images``, made by this code and by another."""
    rows = [
        ("http://a.example/1.jpg", "success", None, 200, 70, "good.tar"),
        ("http://a.example:81/2.jpg", "failed", "http_4xx", 404, None, None),
        ("http://u:p@b.example?x", "failed", "http_5xx", 503, None, None),
        ("http://c.example/4.jpg", "success", None, 200, 30, "broken.tar"),
    ]
    names = ["url", "status", "failure", "http_status", "byte_size", "shard_path"]
    with duckdb.connect() as opened:
        opened.register("now", pl.DataFrame(rows, schema=names, orient="row").to_arrow())
        opened.execute("CREATE VIEW before AS FROM now WHERE false")
        yield opened


def test_pictures_in_broken_tars_are_not_known(con):
    view = open_earlier(con, {False: "now", True: "before"}, {"broken.tar"})
    assert con.sql(f"SELECT url, outdated FROM {view} WHERE url LIKE '%c.example%'").fetchall() == []
    assert con.sql(f"SELECT count(*), any_value(outdated) FROM {view}").fetchall() == [(3, False)]
    assert con.table(open_earlier(con, {False: "before", True: "now"}, ())).shape[0] == 4


def test_outcomes_are_counted_by_kind_and_host(con):
    found = outcomes(con, "now")
    assert found.by_kind == {"success": 2, "http_4xx": 1, "http_5xx": 1}
    assert (found.transient, found.bytes, found.success_rate) == (1, 100, 0.5)
    assert [tuple(host) for host in found.hosts] == [
        ("a.example", 2, 0.5, "http_4xx"),
        ("b.example", 1, 0.0, "http_5xx"),
        ("c.example", 1, 1.0, None),
    ]
    nothing = outcomes(con, "before")
    assert (nothing.by_kind["success"], nothing.success_rate, nothing.hosts) == (0, 0, [])


def test_work_is_named_after_urls_and_what_they_are_attempted_on(con):
    con.execute("CREATE TEMP TABLE attempted AS SELECT url, NULL::VARCHAR AS expected FROM now")
    token = attempts_token(con, 3)
    assert attempts_token(con, -1) != token
    con.execute(
        "CREATE OR REPLACE TEMP TABLE attempted AS SELECT url, NULL::VARCHAR AS expected FROM now ORDER BY url DESC"
    )
    assert attempts_token(con, 3) == token
    con.execute("DELETE FROM attempted WHERE url LIKE '%b.example%'")
    assert attempts_token(con, 3) != token


def test_a_tar_counts_requests_and_what_became_of_urls():
    rows = {
        "attempts": [1, 3, 1],
        "byte_size": [10, None, 5],
        "failure": [None, "timeout", None],
        "shard_path": ["a", None, "a"],
    }
    fetched = FetchedTar(pl.DataFrame(rows))
    assert fetched.tars == ["a"]
    assert fetched.counts == {"requests": 5, "bytes downloaded": 15, "succeeded": 2, "failure: timeout": 1}
