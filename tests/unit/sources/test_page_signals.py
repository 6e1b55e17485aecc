"""What pages say of their use goes with each of their pairs, read from a WAT or from the WARC itself."""

import gzip
import json
from datetime import UTC, datetime

import pytest

LINKS = [{"url": "/a.jpg", "alt": "a red circle"}, {"url": "/b.jpg"}, {"url": "/c.jpg", "alt": "a blue square"}]
DATE = "2026-01-15T12:30:00Z"
SAID = [
    {"signal": "x_robots_page", "raw": "noindex, noai", "forbids": ["train", "index"]},
    {"signal": "tdm_meta", "raw": "tdm-reservation: 0", "forbids": []},
]


def wat(wat_files, headers, metas, links=LINKS) -> bytes:
    envelope = wat_files.envelope(links)
    envelope["Envelope"]["WARC-Header-Metadata"]["WARC-Date"] = DATE
    response = envelope["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]
    response["Headers"] = headers
    response["HTML-Metadata"]["Head"]["Metas"] = metas
    return wat_files.record(json.dumps(envelope).encode())


def warc(headers: str, metas: str) -> bytes:
    images = "".join(f'<img src="{link["url"]}" alt="{link.get("alt", "")}">' for link in LINKS)
    body = f"<html><head>{metas}</head><body>{images}</body></html>"
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{headers}\r\n{body}".encode()
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: {DATE}\r\nWARC-Target-URI: http://pages.test/a\r\n"
    return gzip.compress(f"{head}Content-Length: {len(answer)}\r\n\r\n".encode() + answer + b"\r\n\r\n", mtime=0)


def said_by(rows) -> list:
    return rows.select("page_signals", "page_seen_at").rows()


def test_every_pair_of_a_page_carries_what_the_page_said_and_when(wat_files, extract_bytes):
    speaking = wat(
        wat_files,
        {"X-Robots-Tag": ["noindex", "noai"], "Content-Type": "text/html"},
        [{"name": "TDM-Reservation", "content": "0"}, {"property": "og:robots", "content": "noai"}, "odd", {"name": 1}],
    )
    silent = wat(wat_files, {"X-Robots-Tag": "all"}, [{"name": "robots", "content": "index, follow"}])
    rows, _ = extract_bytes(wat_files.gz([speaking, silent]))
    seen = datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
    assert said_by(rows) == [(SAID, seen), (SAID, seen), (None, None), (None, None)]


def test_a_warc_says_the_same(extract_bytes):
    meta = '<META content="0" NAME="tdm-reservation"><meta name="viewport" content="noai">'
    content = warc("X-Robots-Tag: noindex\r\nX-Robots-Tag: noai\r\n", meta) + warc("", "")
    rows, _ = extract_bytes(content, format="warc")
    seen = datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
    assert said_by(rows) == [(SAID, seen), (SAID, seen), (None, None), (None, None)]


@pytest.mark.parametrize(
    "headers",
    [None, [], 7, {"X-Robots-Tag": None}, {"X-Robots-Tag": [None, 7]}, {"x": {"X-Robots-Tag": "noai"}}],
    ids=repr,
)
def test_headers_of_another_form_say_nothing_and_cost_nothing(headers, wat_files, extract_bytes):
    rows, counts = extract_bytes(wat_files.gz([wat(wat_files, headers, headers)]))
    assert said_by(rows) == [(None, None)] * 2
    assert counts.bad_records == {}


def test_what_only_the_lenient_reader_takes_is_heard_too(wat_files, extract_bytes):
    odd = wat(wat_files, {"Robots": "\ud800", "X-Robots-Tag": "noai"}, [], [*LINKS, {"url": 7}])
    rows, _ = extract_bytes(wat_files.gz([odd]))
    assert [said["raw"] for said in rows["page_signals"][0]] == ["noai"]


def test_batches_make_no_difference(wat_files, extract_bytes):
    pages = [wat(wat_files, {"X-Robots-Tag": "noai"} if n % 3 == 0 else {}, []) for n in range(9)]
    one, _ = extract_bytes(wat_files.gz(pages))
    other, _ = extract_bytes(wat_files.gz(pages), batch_rows=2)
    assert one.equals(other)
    assert one["page_signals"].null_count() == 12
