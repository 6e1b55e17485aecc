"""The one place that knows what a web address means: it holds the URL standard's own tests, without exception."""

import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.urls import HttpUrl, parse_http_url, resolve_url

PORTS = {"http:": 80, "https:": 443}


@pytest.fixture(scope="module")
def suite(shared_data: Path) -> Path:
    """The tests that the standard's authors keep, and its README (web-platform-tests, ``url/resources``)."""
    return shared_data / "conformance/url"


def cases_of(path: Path) -> list[dict[str, Any]]:
    """The cases of a file of tests; the texts between them are comments."""
    return [case for case in json.loads(path.read_text(encoding="utf-8")) if isinstance(case, dict)]


def host_of(name: str) -> str | None:
    """A host as it is connected to, null where there can be none."""
    try:
        return parse_http_url(f"https://{name}/x").host
    except ValueError:
        return None


def test_every_address_of_the_standard_s_tests_resolves_as_they_say(suite: Path) -> None:
    cases = cases_of(suite / "urltestdata.json")
    wrong = {}
    for case in cases:
        right = None if case.get("failure") else case["href"].partition("#")[0]
        found = resolve_url(case["input"], case["base"])
        if found != right:
            wrong[case["input"], case["base"]] = (found, right)
    assert (len(cases), wrong) == (891, {})


def test_what_is_asked_of_whom_is_what_the_standard_s_tests_say(suite: Path) -> None:
    cases = [case for case in cases_of(suite / "urltestdata.json") if case.get("protocol") in PORTS]
    for case in cases:
        asked = parse_http_url(case["href"])
        port = int(case["port"]) if case["port"] else PORTS[case["protocol"]]
        assert (f"{asked.scheme}:", asked.host, asked.port) == (case["protocol"], case["hostname"].strip("[]"), port)
        assert asked.authority == case["host"]
        # A question mark with nothing behind it is asked for as well, which `search` does not show.
        assert asked.target.removesuffix("?") == case["pathname"] + case["search"]
        assert asked.href == f"{case['protocol']}//{case['host']}{asked.target}"
        assert (asked.target.endswith("?") and not case["search"]) == case["href"].partition("#")[0].endswith("?")
    assert len(cases) == 247


def test_every_address_that_the_standard_s_tests_refuse_is_refused(suite: Path) -> None:
    absolute = [case for case in cases_of(suite / "urltestdata.json") if case.get("failure") and case["base"] is None]
    for case in absolute:
        with pytest.raises(ValueError, match="no address in the sense of the URL standard"):
            parse_http_url(case["input"])
    assert len(absolute) == 205


@pytest.mark.parametrize(("file", "number"), [("toascii.json", 87), ("IdnaTestV2.json", 2671)])
def test_names_become_ascii_as_the_standard_s_tests_say(suite: Path, file: str, number: int) -> None:
    cases = cases_of(suite / file)
    # An empty name cannot be had in an address: the next part takes its place (section 4.4, "special authority ignore
    # slashes state"). The file has it for callers of ToASCII alone.
    wrong = {case["input"]: host_of(case["input"]) for case in cases if host_of(case["input"]) != case["output"]}
    assert (len(cases), wrong) == (number, {"": "x"} if file == "IdnaTestV2.json" else {})


def test_queries_are_escaped_in_the_encoding_of_their_page_as_the_standard_s_tests_say(suite: Path) -> None:
    cases = {
        (case["input"], encoding): (resolve_url(f"https://h.test/?{case['input']}#x", None, encoding), right)
        for case in cases_of(suite / "percent-encoding.json")
        for encoding, right in case["output"].items()
    }
    wrong = [case for case, (found, right) in cases.items() if found != f"https://h.test/?{right}"]
    # Left out, both met in no address: Python's codecs let a control character of ISO 2022 pass, and have a place for
    # a private character that the standard's GB 18030 lacks.
    assert wrong == [("\x0eA", "iso-2022-jp"), ("\ue5e5", "gb18030")]
    assert len(cases) == 16


@pytest.mark.parametrize(
    ("reference", "encoding", "url"),
    [
        ("p?n=тест", "windows-1251", "http://h.test/a/p?n=%F2%E5%F1%F2"),
        ("/ä?ä#ä", "latin1", "http://h.test/%C3%A4?%E4"),  # a path is UTF-8 in any page
        ("//ä.test/?ä", "latin1", "http://xn--4ca.test/?%E4"),
        ("?a\tä 'b\" ", "iso-8859-1", "http://h.test/a/?a%E4%20%27b%22"),
        ("?%E4ä", "windows-1252", "http://h.test/a/?%E4%E4"),
        ("?ä†", "iso-8859-2", "http://h.test/a/?%E4%26%238224%3B"),
        ("?ä", "utf-16", "http://h.test/a/?%C3%A4"),  # Encoding standard, "get an output encoding"
        ("?ä", "nonsense", "http://h.test/a/?%C3%A4"),
    ],
)
def test_the_encoding_of_a_page_changes_its_queries_alone(reference: str, encoding: str, url: str) -> None:
    """URL standard, section 4.4, "query state"."""
    assert resolve_url(reference, "http://h.test/a/", encoding) == url


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://h.test", HttpUrl("http://h.test/", "http", "h.test", 80, "/")),
        ("https://h.test:80/a#b", HttpUrl("https://h.test:80/a", "https", "h.test", 80, "/a")),
        ("http://u:p@h.test:8080/a?b", HttpUrl("http://h.test:8080/a?b", "http", "h.test", 8080, "/a?b")),
        ("http://good.test@bad.test/@c", HttpUrl("http://bad.test/@c", "http", "bad.test", 80, "/@c")),
        ("http://good.test\\@bad.test", HttpUrl("http://good.test/@bad.test", "http", "good.test", 80, "/@bad.test")),
        ("http://[2001:DB8::1]:81/", HttpUrl("http://[2001:db8::1]:81/", "http", "2001:db8::1", 81, "/")),
        ("http://[2001:db8::1]", HttpUrl("http://[2001:db8::1]/", "http", "2001:db8::1", 80, "/")),
        ("http://straße.test/", HttpUrl("http://xn--strae-oqa.test/", "http", "xn--strae-oqa.test", 80, "/")),
        ("http://h.test/ä b?ä", HttpUrl("http://h.test/%C3%A4%20b?%C3%A4", "http", "h.test", 80, "/%C3%A4%20b?%C3%A4")),
    ],
)  # fmt: skip
def test_an_address_says_whom_to_ask_and_what(url: str, asked: HttpUrl) -> None:
    assert parse_http_url(url) == asked


@pytest.mark.parametrize("url", ["ftp://h.test/", "javascript:x", "data:,x", "file:///etc/passwd", "blob:http://h/1"])
def test_other_schemes_are_named_and_refused(url: str) -> None:
    with pytest.raises(ValueError, match=f"its scheme '{url.partition(':')[0]}' is not http or https"):
        parse_http_url(url)


def test_half_a_surrogate_is_a_replacement_character() -> None:
    """Web IDL, "convert to a USVString"."""
    assert resolve_url("\ud800.jpg", "http://h.test/\udc00/") == "http://h.test/%EF%BF%BD/%EF%BF%BD.jpg"
    assert resolve_url("http://h.test/\ud83d\udca9") == "http://h.test/%F0%9F%92%A9"


@given(
    st.text(),
    st.none() | st.text() | st.sampled_from(["http://h.test/a/b?c#d", "https://h.test"]),
    st.sampled_from(["utf-8", "shift_jis", "gb18030", "iso-2022-jp", "x-user-defined", "big5", "euc-kr", "koi8-u", ""]),
)
def test_any_text_is_a_serialisation_or_nothing(reference: str, base: str | None, encoding: str) -> None:
    url = resolve_url(reference, base, encoding)
    if url is not None:
        assert resolve_url(url) == url
        assert url.isascii()
        assert "#" not in url


def how_it_changed(raw: str, stored: str | None) -> str:
    """Which of the standard's rules wrote a raw address in another way; none of those below meets another."""
    if stored is None:
        return "no address"
    if not raw.isascii():
        return "non-ASCII"
    parts = urlsplit(raw)
    changes = {
        "upper case in the host": parts.netloc != parts.netloc.lower(),
        "default port": f"{parts.scheme}:{parts.port}" in ("http:80", "https:443"),
        "fragment": bool(parts.fragment),
        "dot segment": "/../" in parts.path,
        "blank": " " in raw,
        "brace": "{" in parts.path,
    }
    return " and ".join(change for change, made in changes.items() if made)


def test_the_standard_writes_few_real_addresses_in_another_way(shared_data: Path) -> None:
    """Addresses as LAION published them: about 0.3 % get another ``pair_id`` than their raw text has."""
    path = shared_data / "meta/img2dataset/tests/test_files/test_10000.parquet"
    urls = pl.read_parquet(path)["URL"].to_list()
    changed = Counter(how_it_changed(url, resolve_url(url)) for url in urls if resolve_url(url) != url)
    assert len(urls) == 10_000
    assert changed == {
        "upper case in the host": 10,
        "default port": 7,
        "blank": 4,
        "fragment": 2,
        "non-ASCII": 2,
        "dot segment": 1,
        "brace": 1,
        "no address": 1,
    }
