"""Pages out of WARC files, for crawls (or folders) that have no WAT files."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecordLoader
from warcio.statusandheaders import StatusAndHeadersParserException

from laion_assets.crawl.counts import ExtractionCounts
from laion_assets.crawl.html import decode_page, image_links
from laion_assets.crawl.page import Page
from laion_assets.crawl.records import Record, read_records
from laion_assets.crawl.sources import Source
from laion_assets.crawl.urls import page_base

MAX_PAGE_BYTES = 16 << 20
"""A page that is longer once decoded is counted as ``page_too_large``; Common Crawl clips pages at 1 to 5 MiB."""

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_CHARSET = re.compile(r"(?i)charset\s*=\s*[\"']?\s*([a-z0-9_:.()-]+)")
_ENCODINGS = frozenset({"", "identity", "none", "gzip", "x-gzip", "deflate", "br"})


def read_pages(source: Source, path: str, counts: ExtractionCounts) -> Iterator[Page]:
    """Read the HTML pages of a WARC file.

    A page is a ``response`` record with an HTML content type, whatever its HTTP status: that is what Common Crawl's
    extractor makes WAT links of. ``revisit`` records hold no page.

    Args:
        source: Where the file lies.
        path: The file.
        counts: ``records``, ``pages``, ``links``, ``drops["no_alt"]`` and ``bad_records`` are raised.

    Yields:
        Every page with an image link that has an alt text, in the order of the file.

    Raises:
        SourceError: The source did not deliver the file.
    """
    loader = ArcWarcRecordLoader(verify_http=False)
    name = PurePosixPath(path).name
    for record in read_records(source, path, counts):
        if record.field("WARC-Type") != "response":
            continue
        page = _page(loader, record, name, counts)
        if page is not None:
            yield page


def _page(loader: ArcWarcRecordLoader, record: Record, name: str, counts: ExtractionCounts) -> Page | None:
    try:
        parsed = loader.parse_record_stream(BytesIO(record.header + record.payload))
    except (ArchiveLoadFailed, StatusAndHeadersParserException, ValueError, EOFError, IndexError, AttributeError):
        counts.bad_record("bad_http")
        return None
    if parsed.http_headers is None:
        return None
    content_type = parsed.http_headers.get_header("Content-Type") or record.field("WARC-Identified-Payload-Type") or ""
    if content_type.partition(";")[0].strip().lower() not in _HTML_TYPES:
        return None
    content = _content(parsed, counts)
    if content is None:
        return None
    charset = _CHARSET.search(content_type)
    found = image_links(decode_page(content, charset[1] if charset else None))
    links: list[tuple[int, str | None, str]] = [
        (position, link.reference, link.alt) for position, link in enumerate(found.links) if link.alt
    ]
    counts.pages += 1
    counts.links += len(found.links)
    counts.drop("no_alt", len(found.links) - len(links))
    if not links:
        return None
    page_url = (record.field("WARC-Target-URI") or "").strip("<>")
    return Page(
        record_offset=record.offset,
        page_url=page_url,
        base=page_base(page_url, found.base),
        warc_filename=name,
        warc_offset=record.offset,
        image_links=len(found.links),
        links=links,
    )


def _content(parsed: Any, counts: ExtractionCounts) -> bytes | None:
    """The page's bytes after transfer and content encoding; null and counted if they cannot be had."""
    encoding = (parsed.http_headers.get_header("Content-Encoding") or "").strip().lower()
    if encoding not in _ENCODINGS:
        counts.bad_record("bad_encoding")
        return None
    try:
        content: bytes = parsed.content_stream().read(MAX_PAGE_BYTES + 1)
    except Exception:  # noqa: BLE001
        # warcio lets through whatever a decompressor raises; it is recorded as a bad record
        counts.bad_record("bad_encoding")
        return None
    if len(content) > MAX_PAGE_BYTES:
        counts.bad_record("page_too_large")
        return None
    return content
