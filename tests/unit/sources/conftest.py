"""Small WAT and WARC files, written record by record so that a test can break any part of them."""

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import CANDIDATE_SCHEMA, PAGE_SCHEMA, ExtractionOptions, extract
from laion_assets.sources.sources import open_source

PAGE = "http://pages.test/a/page.html"


class WatFiles:
    """Builds records and files of Common Crawl's shape."""

    @staticmethod
    def envelope(
        links: list[dict[str, Any]], *, page: str = PAGE, base: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        found = [{"path": "IMG@/src", **link} if images else link for link in links]
        html: dict[str, Any] = {"Head": {"Base": base} if base else {}, "Links": found}
        return {
            "Container": {"Filename": "CC-MAIN-x-00000.warc.gz", "Offset": "4711"},
            "Envelope": {
                "Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": html}},
                "WARC-Header-Metadata": {"WARC-Target-URI": page, "WARC-Type": "response"},
            },
        }

    @staticmethod
    def record(payload: bytes, *, kind: str = "metadata", length: int | None = None, newline: bytes = b"\r\n") -> bytes:
        lines = [b"WARC/1.0", b"WARC-Type: " + kind.encode(), b"WARC-Target-URI: " + PAGE.encode()]
        lines += [
            b"Content-Type: application/json",
            b"Content-Length: %d" % (len(payload) if length is None else length),
        ]
        return newline.join([*lines, b"", payload]) + newline * 2

    def page(self, *texts: str, **more: Any) -> bytes:
        """A record of a page with one picture for each text, at /0.jpg, /1.jpg, …"""
        links = [{"url": f"/{number}.jpg", "alt": text} for number, text in enumerate(texts)]
        return self.record(json.dumps(self.envelope(links), ensure_ascii=False).encode(), **more)

    @staticmethod
    def gz(records: Iterable[bytes]) -> bytes:
        return b"".join(gzip.compress(record, mtime=0) for record in records)


@pytest.fixture(scope="session")
def wat_files() -> WatFiles:
    return WatFiles()


Extracted = tuple[pl.DataFrame, ExtractionCounts]


@pytest.fixture
def extract_bytes(tmp_path: Path) -> Callable[..., Extracted]:
    """Extract from bytes that are put into a folder first; checks what always holds."""

    def run(content: bytes, **options: Any) -> Extracted:
        (tmp_path / "file").write_bytes(content)
        return extract_file(tmp_path, "file", **options)

    return run


def extract_file(
    folder: Path,
    path: str,
    *,
    format: str = "wat",
    crawl: str | None = None,
    batch_rows: int = 50_000,
    **options: Any,
) -> Extracted:
    counts = ExtractionCounts()
    source = open_source(str(folder))
    arguments = {"options": ExtractionOptions(**options), "counts": counts, "crawl": crawl, "batch_rows": batch_rows}
    frames = list(extract(source, path, format=format, **arguments))
    rows = pl.concat(frames) if frames else pl.DataFrame(schema={**CANDIDATE_SCHEMA, **PAGE_SCHEMA})
    assert counts.balanced, counts
    assert counts.every_record_counted, counts
    assert counts.rows == rows.height
    assert counts.records >= sum(counts.bad_records.values())
    key = rows.select("record_offset", "link_position")
    assert key.is_unique().all()
    assert key.rows() == sorted(key.rows())
    return rows, counts


@pytest.fixture
def extract_from() -> Callable[..., Extracted]:
    return extract_file
