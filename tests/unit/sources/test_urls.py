"""Image references are resolved as a browser does, and sorted by what is wrong with them.

Right values are those of the URL standard (https://url.spec.whatwg.org), section 4.4, "basic URL parser", where no
other source is named; its own tests are run in ``tests/unit/test_urls.py``.
"""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.sources.urls import MAX_URL_LENGTH, page_base, resolve
from laion_assets.urls import parse_http_url, resolve_url

BASE = "http://h.test/a/b.html?x=/y/"
LINK = {"reference": pl.String, "base": pl.String, "page_url": pl.String}


def resolved(
    reference: str | None, base: str | None = BASE, page_url: str | None = None
) -> tuple[str | None, str | None]:
    frame = pl.DataFrame({"reference": reference, "base": base, "page_url": page_url}, schema=LINK)
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
        ("/ä/Å.jpg?q=日本", "http://h.test/%C3%A4/%C3%85.jpg?q=%E6%97%A5%E6%9C%AC"),
        ("/p.jpg#top", "http://h.test/p.jpg"),
        ("images\\photo.jpg", "http://h.test/a/images/photo.jpg"),
        ("\\\\x.test\\p.jpg", "http://x.test/p.jpg"),
        ("///x.test/p.jpg", "http://x.test/p.jpg"),
        ("https:///x.test/p.jpg", "https://x.test/p.jpg"),
        ("http:///x.test/p.jpg", "http://x.test/p.jpg"),
        ("http:/x.test/p.jpg", "http://h.test/x.test/p.jpg"),  # of the base's scheme: relative
        ("https:/x.test/p.jpg", "https://x.test/p.jpg"),  # of another: absolute, however many slashes
        ("https:x.test/p.jpg", "https://x.test/p.jpg"),
        ("http:p.jpg", "http://h.test/a/p.jpg"),
        ("..//p.jpg", "http://h.test//p.jpg"),
        ("https://x.test/a/../b.jpg", "https://x.test/b.jpg"),
        ("https://x.test/a/%2e%2E/.%2e/b.jpg", "https://x.test/b.jpg"),
        ("/../../p.jpg", "http://h.test/p.jpg"),
        ("http://ex%61mple.test/p.jpg", "http://example.test/p.jpg"),
        ("http://EXAMPLE.test:80", "http://example.test/"),
        ("http://straße.test/p.jpg", "http://xn--strae-oqa.test/p.jpg"),
        ("http://ｘ．test/p.jpg", "http://x.test/p.jpg"),
        ("http://0x7f.1/p.jpg", "http://127.0.0.1/p.jpg"),
        ("http://x.test/p\x00.jpg", "http://x.test/p%00.jpg"),
        ("http://x.test/p.jpg\u00a0", "http://x.test/p.jpg%C2%A0"),
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
        ("about:blank", "not_http"),
        ("da\nta:image/gif,x", "data_url"),
        ("https://", "bad_url"),
        ("//:0", "bad_url"),
        ("http://x.test:port/p", "bad_url"),
        ("http://256.256.256.256/p", "bad_url"),
        ("http://x%2ftest/p", "bad_url"),
        ("http://[::1/p.jpg", "bad_url"),
        ("http://a b.test/p.jpg", "bad_url"),
        ("http://x.test:99999999/p", "bad_url"),
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
    "reference",
    [
        "${image.url}",
        "/img/${name}.jpg",
        "/img/$%7Bname%7D.jpg",
        "/img/%24%7bname%7d.jpg",
        "{{ product.image }}",
        "https://x.test/{{id}}.jpg",
        "https://{{host}}/p.jpg",
        "https://[{{host}}]/p.jpg",
        "https://x.test/%7B%7Bid%7D%7D.jpg",
        "https://x.test/resize?u=http%3A%2F%2Fy.test%2F%257B%257Bid%257D%257D.jpg",
        "{{ image(",  # a quote within the variable ended the attribute
        "{% static 'p.jpg' %}",
        "{%static 'p.jpg' %}",
        "<%= image_path %>",
        "/img/<?php echo $name ?>.jpg",
        "/img/<?= $name ?>.jpg",
        "/img/#{name}.jpg",
    ],
)
def test_a_template_that_was_never_filled_in_is_no_address(reference):
    assert resolved(reference)[1] == "template"


@pytest.mark.parametrize(
    "reference",
    [
        "http://tex.test/latex.php?latex=%7B%7B%5Cbf+x%7D%7D&bg=fff",
        "http://tex.test/gif.latex?%24%7B%5Cfrac%7Bx%7D2%7D%24",
        "http://tex.test/gif.latex?${\\frac{x}2}$",
        "http://h.test/a.jpg#%7B%22w%22%3A1%7D",
        'http://h.test/a.jpg#{"w":1}',
        "http://h.test/a/{x}/b.jpg",
    ],
)
def test_braces_of_formulas_and_of_json_are_no_template(reference):
    assert resolved(reference)[1] is None


def test_a_base_that_is_a_template_makes_templates_of_its_references():
    assert resolved("p.jpg", page_base("http://h.test/", "{{ root }}/"))[1] == "template"


@pytest.mark.parametrize(
    "reference",
    [
        "/a$b.jpg",
        "/{width}x{height}.jpg",
        "/p?filter={%22a%22:{%22b%22:1}}",
        "/p?filter=%7B%22a%22%3A%7B%22b%22%3A1%7D%7D",
        "/%3C%20x%20%3E.jpg",
        "/100%25.jpg",
        "/p.jpg#x{1}",
    ],
)
def test_addresses_with_braces_are_not_taken_for_templates(reference):
    assert resolved(reference)[1] is None


@pytest.mark.parametrize(
    ("reference", "base", "page"),
    [
        ("#", "http://h.test/a/b.html", "http://h.test/a/b.html"),
        ("#top", "http://h.test/a/b.html#end", "http://h.test/a/b.html"),
        ("?", "http://h.test/a/b.html", "http://h.test/a/b.html"),
        ("b.html", "http://h.test/a/b.html", "http://h.test/a/b.html"),
        ("./", "http://h.test/a/", "http://h.test/a/"),
        ("HTTPS://H.test:443/a/x/../b.html", "https://h.test/a/b.html", "https://h.test/a/b.html"),
        ("https://h.test/a", "http://h.test/a", "http://h.test/a"),
        ("#", "http://cdn.test/", "http://h.test/a/b.html"),  # the base is declared, and no picture either
        ("http://h.test/a/b.html", "http://cdn.test/", "http://H.test/a/b.html#x"),
        ("//straße.test/", "http://cdn.test/", "http://straße.test"),
    ],
)
def test_the_address_of_the_page_is_no_picture(reference, base, page):
    assert resolved(reference, base, page)[1] == "page_itself"


@pytest.mark.parametrize("reference", ["/", "?x=1", "b.html?", "b.jpg"])
def test_other_addresses_than_the_page_s_are_pictures(reference):
    assert resolved(reference, "http://h.test/a/b.html?q=1", "http://h.test/a/b.html?q=1")[1] is None


@pytest.mark.parametrize(
    "reference", ["/a/pixel-art.gif", "/blanket.png", "/transparent-box.png", "/10.gif", "/1x1-lego.png"]
)
def test_pictures_are_not_taken_for_tracking_pixels(reference):
    assert resolved(reference)[1] is None


def test_a_query_is_in_the_encoding_of_its_page():
    links = pl.DataFrame(
        {"reference": ["?ж", "?ж", "ж"], "base": [BASE] * 3, "encoding": ["windows-1251", "utf-8", "windows-1251"]}
    )
    found = resolve(links)["url"].to_list()
    assert found == ["http://h.test/a/b.html?%E6", "http://h.test/a/b.html?%D0%B6", "http://h.test/a/%D0%B6"]


def test_a_relative_reference_without_an_address_to_resolve_against_is_bad():
    assert resolved("p.jpg", None)[1] == "bad_url"
    assert resolved("http://x.test/p.jpg", None) == ("http://x.test/p.jpg", None)


@pytest.mark.parametrize(
    ("page", "declared", "base"),
    [
        ("http://h.test/a/b", None, "http://h.test/a/b"),
        ("http://h.test/a/b", "", "http://h.test/a/b"),
        ("http://h.test/a/b", "http://cdn.test/", "http://cdn.test/"),
        ("http://h.test/a/b", "/img/", "http://h.test/img/"),
        ("http://h.test/a/b", " //cdn.test ", "http://cdn.test/"),
        ("http://h.test/a/b", "javascript:x", "http://h.test/a/b"),
        ("http://h.test/a/b", "data:text/plain,x", "http://h.test/a/b"),
        ("http://h.test/a/b", "http://", "http://h.test/a/b"),
        ("http://h.test/a/b", "http://[", "http://h.test/a/b"),
        ("http://h.test/a/b", "file:///C:/site/", "file:///C:/site/"),
        ("warcinfo", None, None),
        ("", "/img/", None),
        ("", "http://cdn.test/", "http://cdn.test/"),
    ],
)
def test_the_base_of_a_page(page, declared, base):
    """HTML standard, section 4.2.3, "set the frozen base URL"."""
    assert page_base(page, declared) == base


def test_pictures_below_a_base_on_somebody_s_own_disk_are_no_addresses_of_the_web():
    assert resolved("p.jpg", page_base("http://h.test/", "file:///C:/site/"))[1] == "not_http"


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
def test_what_is_stored_is_its_own_serialisation_and_what_is_asked(cases):
    frame = resolve(pl.DataFrame(cases, schema={"reference": pl.String, "base": pl.String}, orient="row"))
    for reference, base, url, fault in frame.select("reference", "base", "url", "fault").iter_rows():
        assert url == (resolve_url(reference, base) if fault not in ("data_url", "no_url") else url)
        if fault is None:
            asked = parse_http_url(url)
            assert url == resolve_url(url)
            assert url.endswith(asked.authority + asked.target)


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
