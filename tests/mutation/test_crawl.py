"""12,000 damaged records and pages: no crash, no hang, every link is a row or is counted, no neighbour is lost."""

import gzip
import json
import os
import re
from pathlib import Path

import polars as pl
import pytest

from laion_assets.sources.html import PageTooCostlyError, decode_page, image_links, page_encoding
from laion_assets.sources.urls import page_base
from laion_assets.urls import resolve_url
from tests.conftest import REPOSITORY
from tests.mutation import inputs
from tests.mutation.mutator import Mutator
from tests.mutation.watch import Watch
from tests.unit.sources.conftest import WatFiles, extract_file
from tests.unit.sources.test_warc import response

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DATA = Path(os.environ.get("LAION_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
PARTS = 2
TEXTS = ["first of the neighbours", "second of the neighbours"]


def neighbour(format: str, name: str) -> bytes:
    """A record of a page with two pictures that nobody damaged."""
    page = f"http://neighbour.test/{name}"
    if format == "wat":
        links = [{"url": f"/{n}.jpg", "alt": text} for n, text in enumerate(TEXTS)]
        return WatFiles.record(json.dumps(WatFiles.envelope(links, page=page)).encode())
    html = "".join(f"<img src=/{n}.jpg alt='{text}'>" for n, text in enumerate(TEXTS))
    return response(html.encode(), "Content-Type: text/html", page=page)


def with_its_length(record: bytes) -> bytes:
    """The record with its true length in its head, so that the damage lies in its content."""
    head, blank, body = record.partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % max(len(body) - 4, 0)
    return re.sub(rb"(?i)content-length:[^\r\n]*", length, head, count=1) + blank + body


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("format", ["wat", "warc"])
def test_a_damaged_record_costs_itself_alone(format, part, tmp_path, record_property):
    """Damaged before it is compressed, or after, or in a file that is not compressed, whose end it may take along."""
    data = DATA if DATA.is_dir() else None
    records = inputs.wat_records(data) if format == "wat" else inputs.warc_records(data)
    tokens = inputs.WARC_TOKENS + (inputs.JSON_TOKENS if format == "wat" else inputs.MARKUP_TOKENS)
    plain = Mutator(records, tokens)
    packed = Mutator(
        [gzip.compress(record, mtime=0) for record in records], [b"\x1f\x8b\x08", b"\x00" * 64, b"\xff" * 9]
    )
    before, after = neighbour(format, "before"), neighbour(format, "after")
    watch = Watch(f"{format.upper()} records, part {part + 1}")
    for number in range(2_000 * part, 2_000 * (part + 1)):
        way = number % 3
        mutant = (packed if way == 1 else plain).mutant(number)
        if way != 1 and number % 2:
            mutant = with_its_length(mutant)
        content = [before, mutant, after] if way == 2 else [gzip.compress(before), mutant, gzip.compress(after)]
        if way == 0:
            content[1] = gzip.compress(mutant, mtime=0)
        (tmp_path / "file").write_bytes(b"".join(content))
        with watch.over(number, mutant):
            rows, counts = extract_file(tmp_path, "file", format=format)
            intact = ["before"] if way == 2 else ["before", "after"]
            for name in intact:
                found = rows.filter(pl.col("page_url") == f"http://neighbour.test/{name}")
                assert set(TEXTS) <= set(found["text"]), f"the record {name} it is lost: {counts}"
        watch.ends["rows"] += counts.rows
        watch.ends["mutants with rows"] += counts.rows > 2 * len(intact)
        watch.ends["dropped links"] += sum(counts.drops.values())
        watch.ends["bad records"] += sum(counts.bad_records.values())
    watch.tell(record_property)


def test_a_damaged_page_has_links_that_are_texts(record_property):
    watch = Watch("HTML pages")
    charsets = (None, "utf-8", "x-sjis", "utf-16", "iso-8859-1", "iso-2022-jp", "nonsense", "gb18030", "big5", "euc-kr")
    for number, mutant in Mutator(inputs.pages(), inputs.MARKUP_TOKENS).mutants(4_000):
        with watch.over(number, mutant):
            text = decode_page(mutant, page_encoding(mutant, charsets[number % len(charsets)]))
            try:
                found = image_links(text)
            except PageTooCostlyError:
                watch.ends["too costly"] += 1
                continue
            text.encode()  # no lone surrogate, which no table can hold
            for link in found.links:
                assert link.reference
                (link.reference + (link.alt or "")).encode()
            base = page_base("http://pages.test/", found.base)
            assert base is None or resolve_url(base) == base
        watch.ends["links"] += len(found.links)
    watch.tell(record_property)
