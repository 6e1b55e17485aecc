"""Two spellings of one resource have one canonical url, in Python and in SQL."""

import time

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laion_assets.consent.urls import (
    WRITTEN_FORMS,
    canonical_host,
    canonical_url,
    canonical_url_sql,
    host_of,
    host_sql,
    written_forms,
    written_forms_sql,
)
from laion_assets.urls import resolve_url


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
        ("http://a%2Fb.example/a", "http://a%2Fb.example/a"),  # no host (URL standard, "forbidden host code point")
        ("http://straße.example/a", "xn--strae-oqa.example/a"),
        ("http://STRAẞE.example/a", "xn--strae-oqa.example/a"),
        ("http://stra%C3%9Fe.example/a", "xn--strae-oqa.example/a"),
        ("http://βόλος.example/a", "xn--nxasmm1c.example/a"),
        ("http://ශ්‍රී.example/a", "xn--10cl1a0b660p.example/a"),  # a joiner where it has a meaning
        ("http://a\u00adb\u200b.example/a", "ab.example/a"),
        ("http://ｅｘａｍｐｌｅ．ｃｏｍ/a", "example.com/a"),
        ("http://example｡com｡/a", "example.com/a"),
        ("http://example.com../a", "example.com/a"),
        ("http://2130706433/a", "127.0.0.1/a"),
        ("http://0x7f.0.1/a", "127.0.0.1/a"),
        ("http://0177.0.0.01/a", "127.0.0.1/a"),
        ("http://127.0.0.1./a", "127.0.0.1/a"),
        ("http://127.0.0.1../a", "127.0.0.1/a"),
        ("http://１２７.1/a", "127.0.0.1/a"),
        ("http://[::ffff:127.0.0.1]/a", "127.0.0.1/a"),
        ("http://[::ffff:7f00:1]:80/a", "127.0.0.1/a"),
        ("http://[64:ff9b::7f00:1]/a", "127.0.0.1/a"),  # RFC 6052, section 2.1
        ("http://good.example@example.com/a", "example.com/a"),
        ("http://good.example%40@example.com\\@good.example/..//a", "example.com//a"),
        ("http:\\\\example.com\\a", "example.com/a"),
        ("http:example.com/a", "example.com/a"),
        ("https:///example.com/a", "example.com/a"),
        ("\x00ht\ttp://exam\nple.com/\ra\x1f", "example.com/a"),
        ("http://example.com/a.jpg ", "example.com/a.jpg"),
        ("http://example.com/a.jpg%20%09", "example.com/a.jpg"),
        ("http://example.com/a.jpg\u00a0", "example.com/a.jpg"),
        ("http://example.com/a.jpg%c2%a0", "example.com/a.jpg"),
        ("http://example.com/a.jpg%A0", "example.com/a.jpg"),  # Latin-1
        ("http://example.com/a.jpg%20%A0", "example.com/a.jpg"),
        ("http://example.com/你", "example.com/%E4%BD%A0"),  # the last byte of a character is no blank
        ("http://example.com/a.jpg&nbsp;", "example.com/a.jpg"),
        ("http://example.com/a.jpg\ufe0f", "example.com/a.jpg"),
        ("http://example.com/a.jpg%CD%8F%F3%A0%80%81", "example.com/a.jpg"),
        ("http://example.com/a.jpg\u3000\u2003\u202f\ufeff\u200b#x", "example.com/a.jpg"),
        ("http://example.com/a.jpg%E3%80%80?w=1%20\u2009", "example.com/a.jpg?w=1"),
        ("http://example.com/a.jpg?%20", "example.com/a.jpg"),
        ("http://example.com/b/..\u00a0", "example.com/"),
        ("http://example.com/%20a%20b.jpg", "example.com/%20a%20b.jpg"),
        ("http://example.com/a%28%2C%2b%29?q=%2C%2B", "example.com/a(,+)?q=,%2B"),
        ("http://example.com/a?q=it's", "example.com/a?q=it's"),
        ("http://example.com/a?x=%26&y=%3D", "example.com/a?x=%26&y=%3D"),
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


@pytest.mark.parametrize("host", ["Example.COM.", "ex%61mple.com", "example。com", "example.com..", "ｅxample.com"])
def test_hosts_are_compared_without_case_escapes_or_final_dot(host: str) -> None:
    assert canonical_host(host) == "example.com"


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("[::1]", "[::1]"),
        ("0:0::1", "[::1]"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("0x0a.1", "10.0.0.1"),
        ("straße.example", "xn--strae-oqa.example"),
        ("example.com:80", ""),
        ("[::1]:80", ""),
        ("u@example.com", ""),
        ("example.com/a", ""),
        ("example.com\\a", ""),
        ("two words.example", ""),
        ("256.0.0.1", ""),
        ("", ""),
        (".", ""),
    ],
)
def test_what_is_no_host_has_no_form(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    ("url", "forms"),
    [
        ("http://h.test/a.jpg", []),
        ("HTTP://H.test:80/a.jpg#x", ["HTTP://H.test:80/a.jpg", "http://h.test/a.jpg"]),
        ("http://h.test/%C3%A4%20%E9%2F", ["http://h.test/ä%20%E9%2F"]),
        ("http://h.test/ä b", ["http://h.test/%C3%A4%20b", "http://h.test/ä%20b"]),
        ("http://h.test?it's", ["http://h.test/?it%27s"]),
        ("http://[", []),
    ],
)
def test_lists_of_hashes_may_have_been_made_of_other_forms(url: str, forms: list[str]) -> None:
    assert written_forms(url) == [url, *forms]
    assert len(forms) < WRITTEN_FORMS


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
    "%20",
    "%C2%A0",
    "&nbsp;",
    "127.1",
    "0x7f",
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


@pytest.mark.parametrize("part", ["%20", "&nbsp;", "%E4%BD%A0", "/..", "%", "\u3000"])
def test_a_long_url_costs_no_more_than_its_length(part: str) -> None:
    started = time.process_time()
    canonical_url(f"http://h.example/{part * 50_000}x%2F?{part * 50_000}%41%20")
    assert time.process_time() - started < 2


@settings(deadline=None)
@given(ANY_URL)
def test_a_canonical_url_is_its_own_canonical_form(url: str) -> None:
    canonical = canonical_url(url)
    if host_of(canonical) and resolve_url(url) is not None and canonical != url:
        assert canonical_url("http://" + canonical) == canonical


@settings(deadline=None)
@given(st.lists(ANY_URL, min_size=1, max_size=50))
def test_sql_and_python_agree(urls: list[str]) -> None:
    assert _in_sql(urls) == [(canonical_url(url), host_of(canonical_url(url))) for url in urls]
    query = f"SELECT {written_forms_sql('url', 'written')} FROM unnest($1::VARCHAR[]) WITH ORDINALITY AS t(url, n)"
    forms = CONNECTION.execute(f"{query} ORDER BY n", [urls]).fetchall()
    assert [found for (found,) in forms] == [written_forms(url) for url in urls]


CONNECTION = duckdb.connect(config={"threads": 1})
CONNECTION.create_function("canonical", canonical_url, ["VARCHAR"], "VARCHAR")
CONNECTION.create_function("written", written_forms, ["VARCHAR"], "VARCHAR[]")


def _in_sql(urls: list[str]) -> list[tuple[str, str]]:
    query = f"SELECT c, {host_sql('c')} FROM (SELECT {canonical_url_sql('url', 'canonical')} AS c, n FROM"
    return CONNECTION.execute(
        f"{query} unnest($1::VARCHAR[]) WITH ORDINALITY AS t(url, n)) ORDER BY n", [urls]
    ).fetchall()
