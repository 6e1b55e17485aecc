"""WARC files: the pages themselves, read to the same rows as their WAT where a WAT can tell."""

import gzip
import zlib

import brotli
import polars as pl
import pytest

PAGE = "http://pages.test/a/page.html"


def response(body: bytes, *headers: str, kind: str = "response", status: str = "200 OK", page: str = PAGE) -> bytes:
    http = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body
    warc = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {page}",
        "WARC-Date: 2024-01-01T00:00:00Z",
        "Content-Type: application/http; msgtype=response",
        f"Content-Length: {len(http)}",
    ]
    return "\r\n".join([*warc, "", ""]).encode() + http + b"\r\n\r\n"


HTML = (
    '<base href="/b/"><img src=1.jpg alt="ein roter Kreis"><img src=2.jpg>'
    '<img data-src=//x.test/3.jpg alt="a blue &amp; square">'
)
ROWS = [("http://pages.test/b/1.jpg", "ein roter Kreis", 0), ("http://x.test/3.jpg", "a blue & square", 2)]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (HTML.encode(), ["Content-Type: text/html"]),
        (HTML.encode(), ["Content-Type: TEXT/HTML; charset=utf-8", "X-Crawler-Content-Encoding: gzip"]),
        (gzip.compress(HTML.encode(), mtime=0), ["Content-Type: text/html", "Content-Encoding: gzip"]),
        (zlib.compress(HTML.encode()), ["Content-Type: text/html", "Content-Encoding: deflate"]),
        (brotli.compress(HTML.encode()), ["Content-Type: text/html", "Content-Encoding: br"]),
        (
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(HTML), HTML.encode()),
            ["Content-Type: text/html", "Transfer-Encoding: chunked"],
        ),
        (HTML.encode("utf-16"), ["Content-Type: application/xhtml+xml"]),
    ],
)
def test_pages_are_read_whatever_their_coding(body, headers, wat_files, extract_bytes):
    rows, counts = extract_bytes(wat_files.gz([response(body, *headers)]), format="warc")
    assert rows.select("url", "text", "link_position").rows() == ROWS
    assert (counts.pages, counts.links, counts.drops) == (1, 3, {"no_alt": 1})


def test_where_the_page_lies_is_where_its_record_lies(wat_files, extract_bytes):
    first = response(b"plain", "Content-Type: text/plain")
    rows, counts = extract_bytes(
        wat_files.gz([first, response(HTML.encode(), "Content-Type: text/html")]), format="warc"
    )
    offset = len(wat_files.gz([first]))
    assert rows.select("record_offset", "warc_offset", "warc_filename", "page_url").row(0) == (
        offset,
        offset,
        "file",
        PAGE,
    )
    assert (counts.records, counts.pages) == (2, 1)


@pytest.mark.parametrize(
    ("record", "bad_records"),
    [
        (
            response(b"\x28\xb5\x2f\xfd" + HTML.encode(), "Content-Type: text/html", "Content-Encoding: zstd"),
            {"bad_encoding": 1},
        ),
        (
            response(gzip.compress(HTML.encode(), mtime=0)[:40], "Content-Type: text/html", "Content-Encoding: gzip"),
            {"bad_encoding": 1},
        ),
        (
            response(gzip.compress(b"x" * (17 << 20), mtime=0), "Content-Type: text/html", "Content-Encoding: gzip"),
            {"page_too_large": 1},
        ),
        (response(b"<div>" * 80_000 + HTML.encode(), "Content-Type: text/html"), {"page_too_costly": 1}),
        (response(b"").replace(b"Content-Length: 19", b"Content-Length: 17"), {"bad_http": 1}),
    ],
    ids=["unknown coding", "cut short", "too large", "too costly", "no end of the head"],
)
def test_what_is_no_readable_page_costs_itself(record, bad_records, wat_files, extract_bytes):
    good = response(HTML.encode(), "Content-Type: text/html")
    rows, counts = extract_bytes(wat_files.gz([record, good]), format="warc")
    assert rows.select("url", "text", "link_position").rows()[-2:] == ROWS
    assert counts.bad_records == bad_records


def test_damage_in_the_middle_costs_one_record(wat_files, extract_bytes):
    members = [
        wat_files.gz([response(HTML.encode(), "Content-Type: text/html", page=f"http://p{n}.test/")]) for n in range(4)
    ]
    members[1] = members[1][:80] + b"\xff\xff\xff" + members[1][83:]
    rows, counts = extract_bytes(b"".join(members), format="warc")
    assert rows["page_url"].unique(maintain_order=True).to_list() == [
        "http://p0.test/",
        "http://p2.test/",
        "http://p3.test/",
    ]
    assert counts.bad_records == {"corrupt_gzip": 1}


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (response(b"", kind="revisit"), "revisit"),
        (response(HTML.encode(), kind="request"), "request"),
        (response(HTML.encode(), kind="resource"), "resource"),
        (response(HTML.encode(), kind="x-own"), "other"),
        (response(HTML.encode(), "Content-Type: image/png"), "image"),
        (response(HTML.encode(), "Content-Type: text/plain"), "text"),
        (response(HTML.encode(), "Content-Type: text/html, application/pdf"), "application"),
        (response(HTML.encode(), "Content-Type: my/own"), "other"),
        (response(b"%PDF-1.7"), "unknown_type"),
        (response(b""), "unknown_type"),
        (response(b"20240101000000\nexample.org. 1 IN A 192.0.2.1", page="dns:example.org"), "not_http"),
        (response(HTML.encode(), "Content-Type: text/html", page="ftp://h/page.html"), "not_http"),
    ],
)
def test_every_record_without_a_page_is_counted_by_what_it_is(record, kind, wat_files, extract_bytes):
    good = response(HTML.encode(), "Content-Type: text/html")
    rows, counts = extract_bytes(wat_files.gz([record, good]), format="warc")
    assert rows.height == len(ROWS)
    assert (counts.records, counts.pages, counts.non_pages, counts.bad_records) == (2, 1, {kind: 1}, {})


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ([], {}),
        ([""], {}),
        (["Content-Type:"], {}),
        (["Content-Type: unknown/unknown"], {}),
        (["Content-Type: text/html", "Content-Type: text/html; charset=utf-8"], {}),
        (["Content-Type: text/plain", "content-type: text/html"], {}),
        (["Content-Type: text/html, text/html; charset=utf-8"], {}),
        (["Content-Type: text/html charset=utf-8"], {}),
        (["Content-Type:", " text/html"], {}),
        (["CONTENT-TYPE:TEXT/HTML"], {}),
        (["Content-Type: text/html"], {"status": "404 Not Found"}),
        (["Content-Type: text/html"], {"page": PAGE.replace("http://pages", "HTTP://PAGES")}),
        (["Content-Type: text/html"], {"page": f"<{PAGE}>"}),
        (["Content-Type: text/html"], {"kind": "Response"}),
    ],
)
def test_pages_are_read_whatever_their_type_line(headers, more, wat_files, extract_bytes):
    page = response(b"<!doctype html>" + HTML.encode(), *filter(None, headers), **more)
    rows, counts = extract_bytes(wat_files.gz([page]), format="warc")
    assert rows.select(pl.col("url").str.to_lowercase(), "text", "link_position").rows() == ROWS
    assert (counts.pages, counts.non_pages, counts.bad_records) == (1, {}, {})


def test_a_type_that_the_crawler_found_stands_in_for_none(wat_files, extract_bytes):
    fragment = response(HTML.encode()).replace(b"WARC-Date", b"WARC-Identified-Payload-Type: text/html\r\nWARC-Date")
    rows, counts = extract_bytes(wat_files.gz([fragment]), format="warc")
    assert (rows.height, counts.pages) == (len(ROWS), 1)


def test_record_fields_are_read_as_they_come(wat_files, extract_bytes):
    page = response(HTML.encode(), "Content-Type: text/html")
    page = page.replace(b"WARC-Type: response", b"warc-type:response").replace(
        b"WARC-Target-URI: ", b"WARC-Target-URI:\r\n "
    )
    rows, _ = extract_bytes(wat_files.gz([page]), format="warc")
    assert rows.select("url", "text", "link_position").rows() == ROWS


def test_a_clipped_page_is_read_as_far_as_it_goes(wat_files, extract_bytes):
    page = response(HTML.encode()[:-30], "Content-Type: text/html")
    page = page.replace(b"WARC-Date", b"WARC-Truncated: length\r\nWARC-Date")
    rows, counts = extract_bytes(wat_files.gz([page]), format="warc")
    assert (rows["url"].to_list(), counts.pages) == ([ROWS[0][0]], 1)


def test_no_link_is_the_page_itself_where_a_lazy_source_is(wat_files, extract_bytes):
    html = (
        b'<img src="#" data-src="/a.jpg" alt="a real picture"><img src="//:0" data-lazy-src="b.jpg" alt="another one">'
    )
    rows, counts = extract_bytes(wat_files.gz([response(html, "Content-Type: text/html")]), format="warc")
    assert rows["url"].to_list() == ["http://pages.test/a.jpg", "http://pages.test/a/b.jpg"]
    assert counts.drops == {}
