"""Real WAT and WARC files: the same counts as a reader that knows nothing but the standard library."""

import gzip
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from laion_assets.sources.sources import UnexpectedContent

WATS = [
    *(
        f"wat-generated/{name}.warc.wat.gz"
        for name in (
            "aut-example",
            "cc-main-2020-34-head",
            "cdxt-ranges",
            "pywb-iana",
            "ukwa-govuk1",
            "ukwa-govuk2",
            "w2z-kiwix-with-redirects",
            "whirlwind",
        )
    ),
    *(f"wat/priyanlc/CC-MAIN-sample{number}.warc.wat.gz" for number in ("", "2", "3", "4")),
    "wat/whirlwind/whirlwind.warc.wat",
    "wat/whirlwind/whirlwind.warc.wat.gz",
    *(
        f"wat/toimik/WarcParser{name}.warc"
        for name in (
            "Streamer_conversion",
            "Streamer_warcinfo",
            "WatUrlExtractor_Invalid_invalid",
            "WatUrlExtractor_Optional_head",
            "WatUrlExtractor_Optional_html-metadata",
            "WatUrlExtractor_Optional_http-response-metadata",
            "WatUrlExtractor_Optional_missing",
            "WatUrlExtractor_Optional_payload-metadata",
            "WatUrlExtractor_Optional_warc-target-uri",
            "WatUrlExtractor_metadata",
            "WatUrlExtractor_metadata2",
            "WatUrlExtractor_metadata3",
        )
    ),
]
PAIRS = {
    "wat-generated/aut-example.warc.wat.gz": "warc/aut/example.warc.gz",
    "wat-generated/cc-main-2020-34-head.warc.wat.gz": "warc/resiliparse/warcfile.warc.gz",
    "wat-generated/cdxt-ranges.warc.wat.gz": "warc/cdx_toolkit/cc-range-records.warc.gz",
    "wat-generated/pywb-iana.warc.wat.gz": "warc/pywb/iana.warc.gz",
    "wat-generated/whirlwind.warc.wat.gz": "wat/whirlwind/whirlwind.warc.gz",
}
WARCS = [
    "warc/aut/example.warc.gz",
    "warc/resiliparse/warcfile.warc",
    "warc/resiliparse/warcfile.warc.gz",
    "warc/warc2zim/kiwix-with-redirects.warc.gz",
    "warc/pywb/iana.warc.gz",
    "warc/pywb/dupes.warc.gz",
    "warc/pywb/example-bad.warc.gz.bad",
    "warc/ukwa/BL-20140325121225068-00000-32090~opera~8443.warc.gz",
    "warc/ukwa/BL-20140325122341434-00000-32090~opera~8443.warc.gz",
    "warc/cdx_toolkit/cc-range-records.warc.gz",
    "wat/whirlwind/whirlwind.warc.gz",
]


def naive_records(path: Path):
    """(header, payload) of every record, by Content-Length alone."""
    content = path.read_bytes()
    data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    while match := re.search(rb"^WARC/\d\.\d+\r?\n", data, re.MULTILINE):
        end = re.compile(rb"\r?\n\r?\n").search(data, match.start())
        header = data[match.start() : end.start()]
        length = int(re.search(rb"(?im)^content-length: *(\d+)", header)[1])
        yield header, data[end.end() : end.end() + length]
        data = data[end.end() + length :]


def naive_wat(path: Path) -> Counter:
    """What a WAT holds: records, pages, image links with and without alt text, and records that are no JSON."""
    found = Counter()
    for header, payload in naive_records(path):
        found["records"] += 1
        if b"WARC-Type: metadata" not in header:
            continue
        try:
            envelope = json.loads(payload)["Envelope"]
        except ValueError:
            found["bad"] += 1
            continue
        html = envelope.get("Payload-Metadata", {}).get("HTTP-Response-Metadata", {}).get("HTML-Metadata")
        if html is None:
            continue
        found["pages"] += 1
        for link in html.get("Links", []):
            if link.get("path") == "IMG@/src":
                found["links"] += 1
                found["alt"] += bool(link.get("alt", "").strip())
                found["pairs"] += len(" ".join(link.get("alt", "").split())) >= 5 and not link["url"].startswith(
                    "data:"
                )
    return found


@pytest.mark.parametrize("path", WATS)
def test_every_image_link_of_a_wat_is_accounted_for(path, shared_data, extract_from):
    rows, counts = extract_from(shared_data, path)
    naive = naive_wat(shared_data / path)
    assert counts.records == naive["records"]
    assert sum(counts.bad_records.values()) == naive["bad"]
    assert counts.pages == naive["pages"]
    assert counts.links == naive["links"]
    assert counts.links - counts.drops.get("no_alt", 0) == naive["alt"]
    assert rows.height + counts.drops.get("tracking_pixel", 0) + counts.drops.get("bad_url", 0) == naive["pairs"]


def test_a_record_that_describes_no_page_gives_no_link_and_no_error(shared_data, extract_from):
    rows, counts = extract_from(shared_data, "wat/toimik/WarcParserStreamer_metadata.warc")
    assert (rows.height, counts.links, counts.records, counts.bad_records) == (0, 0, 1, {})


def test_a_file_that_holds_a_byte_order_mark_alone_is_no_wat(shared_data, extract_from):
    with pytest.raises(UnexpectedContent, match=r"example\.wat: .* an empty file"):
        extract_from(shared_data, "wat/toimik/WarcParserStreamer_example.wat")


class NaiveImages(HTMLParser):
    """Counts <img> with a source and an alt text."""

    def __init__(self):
        super().__init__()
        self.sources = self.texts = 0

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "img" and (found.get("src") or "").strip():
            self.sources += 1
            self.texts += bool((found.get("alt") or "").strip())


def naive_unchunked(body: bytes) -> bytes:
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        if length == 0:
            break
        chunks.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(chunks)


@pytest.mark.parametrize("path", WARCS)
def test_every_image_of_a_warc_is_accounted_for(path, shared_data, extract_from):
    naive = NaiveImages()
    pages = 0
    for header, payload in naive_records(shared_data / path):
        head, _, body = payload.partition(b"\r\n\r\n")
        kind = re.search(rb"(?im)^content-type: *([^;\r\n]+)", head)
        if b"WARC-Type: response" not in header or kind is None or b"html" not in kind[1].lower():
            continue
        pages += 1
        if re.search(rb"(?im)^transfer-encoding: *chunked", head) and re.match(rb"[0-9a-fA-F]+\s*[\r;]", body):
            body = naive_unchunked(body)
        if re.search(rb"(?im)^content-encoding: *gzip", head) and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        naive.feed(body.decode("utf-8", "replace"))
        naive.reset()
    _, counts = extract_from(shared_data, path, format="warc")
    assert counts.bad_records == {}
    assert counts.pages == pages
    assert counts.links == naive.sources
    assert counts.links - counts.drops.get("no_alt", 0) == naive.texts


@pytest.mark.parametrize(("wat", "warc"), PAIRS.items())
def test_wat_and_warc_give_the_same_rows(wat, warc, shared_data, extract_from):
    columns = ["page_url", "url", "text", "pair_id", "url_id", "language", "language_confidence"]
    one, _ = extract_from(shared_data, wat)
    other, _ = extract_from(shared_data, warc, format="warc")
    assert one.select(columns).rows() == other.select(columns).rows()


def test_wat_rows_point_at_the_page_in_its_warc(shared_data, extract_from):
    one, _ = extract_from(shared_data, "wat-generated/aut-example.warc.wat.gz")
    other, _ = extract_from(shared_data, "warc/aut/example.warc.gz", format="warc")
    key = ["warc_offset", "url", "text"]
    assert one.select(key).rows() == other.select(key).rows()


def test_a_file_clipped_anywhere_loses_only_what_was_clipped(shared_data, extract_from, tmp_path):
    whole, _ = extract_from(shared_data, "wat-generated/aut-example.warc.wat.gz")
    content = (shared_data / "wat-generated/aut-example.warc.wat.gz").read_bytes()
    for tenths in range(1, 10):
        (tmp_path / "clipped").write_bytes(content[: len(content) * tenths // 10])
        rows, counts = extract_from(tmp_path, "clipped")
        assert rows.drop("warc_filename").equals(whole.head(rows.height).drop("warc_filename"))
        assert rows.height == whole.filter(pl.col("record_offset") <= rows["record_offset"].max()).height
        assert counts.bad_records in ({}, {"clipped_gzip": 1})
