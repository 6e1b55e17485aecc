"""Two spellings of one resource have one canonical url, in Python and in SQL."""

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laion_assets.pairs.urls import canonical_host, canonical_url, canonical_url_sql, host_of, host_sql


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.com/a.jpg", "example.com/a.jpg"),
        ("HTTP://Example.COM/A.jpg", "example.com/A.jpg"),
        ("http://example.com", "example.com/"),
        ("http://example.com./a.jpg", "example.com/a.jpg"),
        ("http://example.com?w=1", "example.com/?w=1"),
        ("http://example.com:80/a", "example.com/a"),
        ("https://example.com:443/a", "example.com/a"),
        ("http://example.com:08080/a", "example.com:8080/a"),
        ("http://example.com:/a", "example.com/a"),
        ("http://user:pass@word@example.com/a", "example.com/a"),
        ("http://example.com/a.jpg#top", "example.com/a.jpg"),
        ("http://example.com/a.jpg?", "example.com/a.jpg"),
        ("http://example.com/a.jpg?w=1&h=2#x?y", "example.com/a.jpg?w=1&h=2"),
        ("http://example.com/%7euser/%e4%b8%ad", "example.com/~user/%E4%B8%AD"),
        ("http://example.com/~user/中", "example.com/~user/%E4%B8%AD"),
        ("http://example.com/a b|c", "example.com/a%20b%7Cc"),
        ("http://example.com/100%", "example.com/100%25"),
        ("http://example.com/a%2Fb", "example.com/a%2Fb"),
        ("http://example.com/x/../a/./b/..", "example.com/a/"),
        ("http://example.com/..//a", "example.com//a"),
        ("http://example.com/x?y=/../z", "example.com/x?y=/../z"),
        ("http://bücher.example/a", "xn--bcher-kva.example/a"),
        ("http://BÜCHER.example/a", "xn--bcher-kva.example/a"),
        ("http://xn--bcher-kva.example/a", "xn--bcher-kva.example/a"),
        ("http://ex%61mple.com/a", "example.com/a"),
        ("http://a%2Fb.example/a", "a%2fb.example/a"),
        ("http://💩.la/a", "xn--ls8h.la/a"),
        ("http://例。com/a", "xn--fsq.com/a"),
        ("http://[2001:DB8:0::1]:8080/a", "[2001:db8::1]:8080/a"),
        ("http://my_bucket.example.com/a", "my_bucket.example.com/a"),
        (" \thttp://exa\nmple.com/a ", "example.com/a"),
        ('http://example.com/it\'s/"quoted"', "example.com/it's/%22quoted%22"),
        ("ftp://Example.com/a", "ftp://Example.com/a"),
        ("", ""),
    ],
)
def test_canonical_form(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical
    assert _in_sql([url]) == [(canonical, host_of(canonical))]


@pytest.mark.parametrize("host", ["Example.COM.", "ex%61mple.com", "example。com"])
def test_hosts_are_compared_without_case_escapes_or_final_dot(host: str) -> None:
    assert canonical_host(host) == "example.com"


MARKS = list("/.?#@:%[]'\"\\&=+~_-$!*(),;|{}^\t\n\x00\u3002\u200dü中💩")
WORDS = [
    "http://",
    "HTTPS://",
    "//",
    "..",
    ":80",
    ":8080",
    "%41",
    "%e9",
    "%2F",
    "example.COM",
    "xn--bcher-kva",
    "[::1]",
]
PIECES = st.sampled_from(MARKS + WORDS)
ANY_URL = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=12).map(lambda pieces: "http://h.example/" + "".join(pieces)),
    st.lists(PIECES, max_size=12).map(lambda pieces: "https://" + "".join(pieces)),
)


@settings(deadline=None)
@given(ANY_URL)
@example("http://\udce9/\ud800")
def test_no_string_is_refused(url: str) -> None:
    canonical = canonical_url(url)
    assert isinstance(host_of(canonical), str)


@settings(deadline=None)
@given(ANY_URL)
def test_a_canonical_url_is_its_own_canonical_form(url: str) -> None:
    canonical = canonical_url(url)
    if url.startswith("http") and host_of(canonical).replace(".", "").isalnum():
        assert canonical_url("http://" + canonical) == canonical


@settings(deadline=None)
@given(st.lists(ANY_URL, min_size=1, max_size=50))
def test_sql_and_python_agree(urls: list[str]) -> None:
    assert _in_sql(urls) == [(canonical_url(url), host_of(canonical_url(url))) for url in urls]


CONNECTION = duckdb.connect(config={"threads": 1})
CONNECTION.create_function("canonical", canonical_url, ["VARCHAR"], "VARCHAR")


def _in_sql(urls: list[str]) -> list[tuple[str, str]]:
    query = f"SELECT c, {host_sql('c')} FROM (SELECT {canonical_url_sql('url', 'canonical')} AS c, n FROM"
    return CONNECTION.execute(
        f"{query} unnest($1::VARCHAR[]) WITH ORDINALITY AS t(url, n)) ORDER BY n", [urls]
    ).fetchall()
