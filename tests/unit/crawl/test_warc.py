"""WARC files: the pages themselves, read to the same rows as their WAT where a WAT can tell."""

import gzip
import zlib

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
        (response(HTML.encode(), "Content-Type: text/html", "Content-Encoding: zstd"), {"bad_encoding": 1}),
        (response(gzip.compress(HTML.encode(), mtime=0)[:40], "Content-Type: text/html", "Content-Encoding: gzip"), {}),
        (
            response(gzip.compress(b"x" * (17 << 20), mtime=0), "Content-Type: text/html", "Content-Encoding: gzip"),
            {"page_too_large": 1},
        ),
        (response(b"", kind="revisit"), {}),
        (response(HTML.encode(), kind="request"), {}),
        (response(HTML.encode(), "Content-Type: image/png"), {}),
        (response(HTML.encode()), {}),
    ],
    ids=["unknown coding", "cut short", "too large", "revisit", "request", "a picture", "no type"],
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
