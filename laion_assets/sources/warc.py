"""Pages out of WARC files, for crawls (or folders) that have no WAT files."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from laion_assets.consent.pages import page_says
from laion_assets.sources.content_type import content_type, is_html, kind, looks_like_html
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.html import PageTooCostlyError, decode_page, image_links, page_encoding
from laion_assets.sources.http_message import Answer, BodyError, decoded_body, read_answer
from laion_assets.sources.page import Page, capture_time
from laion_assets.sources.records import Record, read_records
from laion_assets.sources.sources import Source
from laion_assets.sources.urls import page_base

_RECORD_TYPES = frozenset(["warcinfo", "resource", "request", "metadata", "revisit", "conversion", "continuation"])


def read_pages(source: Source, path: str, counts: ExtractionCounts) -> Iterator[Page]:
    """Read the HTML pages of a WARC file.

    A page is a ``response`` record of an http(s) address with HTML in it, whatever its HTTP status: that is what Common
    Crawl's extractor makes WAT links of. HTML is what its ``Content-Type`` says; where there is none that means
    anything, what ``WARC-Identified-Payload-Type`` says or what looks like HTML. Every other record is counted: as no
    page, by its type (``resource`` records have no head and are none) or by what it holds, or as a fault.

    Args:
        source: Where the file lies.
        path: The file.
        counts: ``records``, ``pages``, ``non_pages``, ``links``, ``drops["no_alt"]`` and ``bad_records`` (``bad_http``,
            ``bad_encoding``, ``page_too_large``, ``page_too_costly``, those of ``records.read_records``) are raised.

    Yields:
        Every page with an image link that has an alt text, in the order of the file.

    Raises:
        SourceError: The source did not deliver the file.
    """
    name = PurePosixPath(path).name
    for record in read_records(source, path, counts):
        record_type = (record.field("WARC-Type") or "").lower()
        if record_type == "response":
            page = _page(record, name, counts)
            if page is not None:
                yield page
        else:
            counts.non_page(record_type if record_type in _RECORD_TYPES else "other")


def _page(record: Record, name: str, counts: ExtractionCounts) -> Page | None:
    page_url = (record.field("WARC-Target-URI") or "").strip("<> \t")
    if page_url and not page_url[:8].lower().startswith(("http://", "https://")):
        counts.non_page("not_http")
        return None
    answer = read_answer(record.payload)
    if answer is None:
        counts.bad_record("bad_http")
        return None
    try:
        content, charset = _html(record, answer, counts)
        if content is None:
            return None
        encoding = page_encoding(content, charset)
        found = image_links(decode_page(content, encoding))
    except BodyError as error:
        counts.bad_record(str(error))
        return None
    except PageTooCostlyError:
        counts.bad_record("page_too_costly")
        return None
    links: list[tuple[int, str | None, str]] = [
        (position, link.reference, link.alt) for position, link in enumerate(found.links) if link.alt
    ]
    counts.pages += 1
    counts.links += len(found.links)
    counts.drop("no_alt", len(found.links) - len(links))
    if not links:
        return None
    seen_at = capture_time(record.field("WARC-Date"))
    signals = tuple(page_says(answer.headers, found.metas, seen_at))
    return Page(
        record_offset=record.offset,
        page_url=page_url,
        base=page_base(page_url, found.base),
        warc_filename=name,
        warc_offset=record.offset,
        image_links=len(found.links),
        links=links,
        encoding=encoding,
        signals=signals,
        seen_at=seen_at if signals else None,
    )


def _html(record: Record, answer: Answer, counts: ExtractionCounts) -> tuple[bytes | None, str | None]:
    """The page's bytes, and the charset of its header; null and counted where the answer holds something else."""
    essence, charset = content_type(answer.values("content-type"))
    if essence is None:
        identified, _ = content_type([record.field("WARC-Identified-Payload-Type") or ""])
        essence = identified if identified and is_html(identified) else None
    if essence is not None and not is_html(essence):
        counts.non_page(kind(essence))
        return None, None
    content = decoded_body(answer)
    if essence is None and not looks_like_html(content):
        counts.non_page("unknown_type")
        return None, None
    return content, charset
