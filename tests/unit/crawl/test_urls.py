"""Image references are resolved as the standard library does, and sorted by what is wrong with them."""

from urllib.parse import urljoin

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.crawl.urls import MAX_URL_LENGTH, page_base, resolve

BASE = "http://h.test/a/b.html?x=/y/"


def resolved(reference: str | None, base: str | None = BASE) -> tuple[str | None, str | None]:
    frame = pl.DataFrame({"reference": [reference], "base": [base]}, schema={"reference": pl.String, "base": pl.String})
    return resolve(frame).select("url", "fault").row(0)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("http://x.test/p.jpg", "http://x.test/p.jpg"),
        ("HTTPS://x.test/p.jpg", "https://x.test/p.jpg"),
        ("//x.test/p.jpg", "http://x.test/p.jpg"),
        ("/p.jpg", "http://h.test/p.jpg"),
        ("p.jpg", "http://h.test/a/p.jpg"),
        ("../p.jpg", "http://h.test/p.jpg"),
        ("./c/../p.jpg", "http://h.test/a/p.jpg"),
        ("?id=3", "http://h.test/a/b.html?id=3"),
        (" /a b.jpg\n", "http://h.test/a%20b.jpg"),
        ("/ä/Å.jpg?q=日本", "http://h.test/ä/Å.jpg?q=日本"),
        ("http://[::1]:8080/p.jpg", "http://[::1]:8080/p.jpg"),
        ("http://u:p@h.test:81/p", "http://u:p@h.test:81/p"),
    ],
)
def test_references_become_addresses(reference, url):
    assert resolved(reference) == (url, None)


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        (None, "no_url"),
        ("", "no_url"),
        (" \t ", "no_url"),
        ("data:image/gif;base64,R0lG", "data_url"),
        (" DATA:image/png,x", "data_url"),
        ("javascript:void(0)", "not_http"),
        ("ftp://x.test/p.jpg", "not_http"),
        ("file:///etc/passwd", "not_http"),
        ("blob:http://x.test/1", "not_http"),
        ("https://", "bad_url"),
        ("https:///p.jpg", "bad_url"),
        ("http://[::1/p.jpg", "bad_url"),
        ("http://a b.test/p.jpg", "bad_url"),
        ("http://x.test:99999999/p", "bad_url"),
        ("http://x.test/p\x00.jpg", "bad_url"),
        ("http://x.test/" + "a" * MAX_URL_LENGTH, "url_too_long"),
        ("https://www.facebook.com/tr?id=1&noscript=1", "tracking_pixel"),
        ("/images/pixel.gif", "tracking_pixel"),
        ("https://stats.g.doubleclick.net/x", "tracking_pixel"),
        ("//stats.x.test/matomo.php?idsite=5", "tracking_pixel"),
    ],
)
def test_what_cannot_be_a_picture_has_a_reason(reference, fault):
    assert resolved(reference)[1] == fault


@pytest.mark.parametrize(
    "reference", ["/a/pixel-art.gif", "/blanket.png", "/transparent-box.png", "/10.gif", "/1x1-lego.png"]
)
def test_pictures_are_not_taken_for_tracking_pixels(reference):
    assert resolved(reference)[1] is None


def test_a_relative_reference_without_an_address_to_resolve_against_is_bad():
    assert resolved("p.jpg", None)[1] == "bad_url"
    assert resolved("http://x.test/p.jpg", None) == ("http://x.test/p.jpg", None)


@pytest.mark.parametrize(
    ("page", "declared", "base"),
    [
        ("http://h.test/a/b", None, "http://h.test/a/b"),
        ("http://h.test/a/b", "http://cdn.test/", "http://cdn.test/"),
        ("http://h.test/a/b", "/img/", "http://h.test/img/"),
        ("http://h.test/a/b", "javascript:x", "http://h.test/a/b"),
        ("http://h.test/a/b", "http://[", "http://h.test/a/b"),
        ("warcinfo", None, None),
    ],
)
def test_the_base_of_a_page(page, declared, base):
    assert page_base(page, declared) == base


PIECES = [
    "a",
    "b.jpg",
    "/",
    "//",
    "..",
    ".",
    "?",
    "#",
    ":",
    "http:",
    "https:",
    "x",
    "@",
    "%20",
    ";",
    "é",
    "[",
    "]",
    "data:",
    "\\",
]
BASES = [
    "http://h.test",
    "https://h.test/a/b.html?x=/y/#f/g",
    "http://h.test:80/a/../b/c",
    "http://h.test?q/r",
    "http://h.test/a//b;p/c",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.sampled_from(BASES)), min_size=1)
)
def test_what_is_resolved_in_bulk_is_what_urljoin_resolves_one_by_one(cases):
    frame = resolve(pl.DataFrame(cases, schema={"reference": pl.String, "base": pl.String}, orient="row"))
    for reference, base, url, fault in frame.select("reference", "base", "url", "fault").iter_rows():
        if fault is None and not reference.lower().startswith(("http://", "https://")):
            assert url == urljoin(base, reference)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.none() | st.text(), st.none() | st.sampled_from(BASES) | st.text()), max_size=5))
def test_any_text_is_an_address_or_has_a_reason(cases):
    clean = [
        (r and r.encode("utf-8", "replace").decode(), b and b.encode("utf-8", "replace").decode()) for r, b in cases
    ]
    frame = resolve(pl.DataFrame(clean, schema={"reference": pl.String, "base": pl.String}, orient="row"))
    assert frame.height == len(cases)
    good = frame.filter(pl.col("fault").is_null())["url"]
    assert good.str.contains(r"^https?://[^/?#\s]").all()
