"""Pages out of Common Crawl's WAT files, fast.

The fast reader (FastWARC for the framing, a test of the raw bytes for an image link, msgspec for just the fields that
are needed) reads as long as nothing is wrong. At the first sign of damage the careful reader (``records``) takes over
from the record before it and stays to the end of the file. It also reads the last record of every file, for only it
notices that a file was clipped. Files that are not compressed, which Common Crawl has none of, it reads alone: between
their records there is nothing by which the fast one could tell damage.

What a WAT cannot tell, and the WARC reader can: images named by ``srcset``, ``data-src`` and ``<picture>`` alone. See
``html`` for all that may differ.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec
from fastwarc.warc import ArchiveIterator, WarcRecordType

from laion_assets.consent.pages import HEADER_HINTS, META_HINTS, Named, page_says
from laion_assets.consent.signals import Said
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.page import Page, capture_time
from laion_assets.sources.records import MAX_RECORD_BYTES, Record, read_records
from laion_assets.sources.references import decode_references, is_undecoded
from laion_assets.sources.sources import Source, UnexpectedContent
from laion_assets.sources.urls import page_base
from laion_assets.text.normalise import without_surrogates

_MEMBER_BYTES = 10
# RFC 1952, 2.3: magic, deflate, flags without reserved ones, time, extra flags, operating system.
_MEMBER = re.compile(rb"(?s)\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]")
_IMAGE = "IMG@/src"
_IMAGE_HINT = b"IMG@"
_PAGE_HINT = b'"HTML-Metadata"'
_ENVELOPE = b'"Envelope"'
_NOTHING = msgspec.Raw()


class _Link(msgspec.Struct, gc=False):
    path: str | None = None
    url: str | None = None
    alt: str | None = None


class _Head(msgspec.Struct):
    base: str | None = msgspec.field(name="Base", default=None)
    metas: msgspec.Raw = msgspec.field(name="Metas", default=_NOTHING)  # read where they may say something


class _Html(msgspec.Struct):
    links: list[_Link] | None = msgspec.field(name="Links", default=None)
    head: _Head | None = msgspec.field(name="Head", default=None)


class _Response(msgspec.Struct):
    html: _Html | None = msgspec.field(name="HTML-Metadata", default=None)
    headers: msgspec.Raw = msgspec.field(name="Headers", default=_NOTHING)


class _Payload(msgspec.Struct):
    response: _Response | None = msgspec.field(name="HTTP-Response-Metadata", default=None)


class _Header(msgspec.Struct):
    target_uri: str | None = msgspec.field(name="WARC-Target-URI", default=None)
    date: str | None = msgspec.field(name="WARC-Date", default=None)


class _Envelope(msgspec.Struct):
    header: _Header | None = msgspec.field(name="WARC-Header-Metadata", default=None)
    payload: _Payload | None = msgspec.field(name="Payload-Metadata", default=None)


class _Container(msgspec.Struct):
    filename: str | None = msgspec.field(name="Filename", default=None)
    offset: str | int | None = msgspec.field(name="Offset", default=None)


class _Wat(msgspec.Struct):
    container: _Container | None = msgspec.field(name="Container", default=None)
    envelope: _Envelope | None = msgspec.field(name="Envelope", default=None)


_DECODER = msgspec.json.Decoder(_Wat)


def read_pages(source: Source, path: str, counts: ExtractionCounts, *, crawl: str | None = None) -> Iterator[Page]:
    """Read the HTML pages of a WAT file.

    Args:
        source: Where the file lies.
        path: The file.
        counts: ``records``, ``pages``, ``non_pages``, ``links``, ``drops["no_alt"]`` and ``bad_records`` (``bad_json``,
            ``wrong_length``, and those of ``records.read_records``) are raised.
        crawl: The crawl it belongs to, which tells whether character references are still to be decoded; see
            ``references``.

    Yields:
        Every page with an ``IMG@/src`` link that has an alt text, in the order of the file.

    Raises:
        SourceError: The source did not deliver the file, or it is no WAT; see ``records.read_records``.
    """
    undecoded = is_undecoded(crawl, path)
    others, is_wat, can_be_alone = 0, False, False
    for record in _records(source, path, counts):
        if not is_wat and (payload := record.payload.lstrip()):
            is_wat = payload.startswith(b"{") and (_ENVELOPE in payload or not payload.rstrip().endswith(b"}"))
            can_be_alone = record.field("WARC-Type") in ("warcinfo", "metadata")
            others += 1
        page = _page(record, counts, undecoded=undecoded)
        if page is not None:
            yield page
    if not is_wat and others > can_be_alone:  # a file that holds no page has its warcinfo
        raise UnexpectedContent(
            f"{source.uri}/{path}: expected a WAT file, found {others:,} records without any JSON of an Envelope"
        )


def _records(source: Source, path: str, counts: ExtractionCounts) -> Iterator[Record]:
    offset = 0
    with source.open(path) as stream:
        for number, record in enumerate(_undamaged_records(stream)):
            if record.intact:
                counts.records += 1
                yield record
            elif number:  # where nothing could be read, the careful reader begins at the file's first byte
                offset = record.offset
    yield from read_records(source, path, counts, offset=offset)


def _undamaged_records(stream: BinaryIO) -> Iterator[Record]:
    """Records up to the last one, or to the one before the first that looks odd.

    What comes last is no record to use (it is marked as not intact): it says from where the careful reader must go on.

    A record is given only when the reader has got past it to the next: then its checksum was right and its length true.
    """
    held: Record | None = None
    watched = _WatchedStream(stream)
    iterator = ArchiveIterator(watched, parse_http=False)
    while True:
        try:
            warc_record = next(iterator, None)
            if warc_record is None or warc_record.record_type == WarcRecordType.unknown:
                break
            position = warc_record.stream_pos
            if not watched.begins_record(position):
                break
            length = warc_record.content_length
            # A length that is no number is 0 to FastWARC; a header that was cut off runs into that of the next record.
            if length > MAX_RECORD_BYTES or warc_record.headers.get_multiple("Content-Length") != (str(length),):
                break
            payload = warc_record.reader.read()
            is_json = warc_record.record_type == WarcRecordType.metadata
            target = warc_record.headers.get("WARC-Target-URI") if is_json else None
        except (OSError, KeyError, ValueError):
            break  # damage of any kind: the careful reader will say which
        if len(payload) != length or (held is not None and position <= held.offset):
            break
        if held is not None:
            yield held
        header = b"WARC/1.0\nWARC-Target-URI: " + (target or "").encode("utf-8", "replace") if is_json else b""
        held = Record(position, header, payload, intact=True)
    if held is not None:
        yield Record(held.offset, b"", b"", intact=False)


class _WatchedStream:
    """Passes a stream through, and notes where gzip members begin in it.

    FastWARC's positions are right for members of one record each, and wrong for members of several. It goes on in the
    next member where a record ends too early, so that a member may be passed over in silence.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._tail = b""
        self._end = 0
        self._members: deque[int] = deque()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        window, start = self._tail + data, self._end - len(self._tail)
        self._members.extend(start + found.start() for found in _MEMBER.finditer(window))
        self._end += len(data)
        self._tail = window[-_MEMBER_BYTES + 1 :]  # too short for a member's header, which thus is found once
        return data

    def tell(self) -> int:
        return self._end

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError(f"a crawl file is read once, front to back; it cannot seek to {offset} ({whence})")

    def close(self) -> None:
        self._stream.close()

    def begins_record(self, position: int) -> bool:
        """Whether the next gzip member begins at a position."""
        return bool(self._members) and self._members.popleft() == position


def _page(record: Record, counts: ExtractionCounts, *, undecoded: bool) -> Page | None:
    payload = record.payload.strip()
    if not payload.startswith(b"{"):
        counts.non_page("no_json")  # warcinfo, or a metadata record of another kind
        return None
    if not payload.endswith(b"}"):
        counts.bad_record("bad_json" if record.intact else "wrong_length")
        return None
    if _IMAGE_HINT not in payload:
        if _PAGE_HINT in payload:
            counts.pages += 1
        else:
            counts.non_page("no_html")
        return None
    try:
        wat = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        lenient = _lenient(payload)
        if lenient is None:
            counts.bad_record("bad_json" if record.intact else "wrong_length")
            return None
        wat = lenient
    response = wat.envelope.payload.response if wat.envelope and wat.envelope.payload else None
    html = response.html if response else None
    if html is None:
        counts.non_page("no_html")
        return None
    counts.pages += 1
    if undecoded:
        _decode(html)
    return _with_links(record, wat, html, counts)


def _decode(html: _Html) -> None:
    for link in html.links or ():
        if link.path == _IMAGE:
            link.url = link.url and decode_references(link.url)
            link.alt = link.alt and decode_references(link.alt)
    if html.head and html.head.base:
        html.head.base = decode_references(html.head.base)


def _with_links(record: Record, wat: _Wat, html: _Html, counts: ExtractionCounts) -> Page | None:
    images = [link for link in html.links or () if link.path == _IMAGE]
    links = [(position, link.url, link.alt) for position, link in enumerate(images) if link.alt]
    counts.links += len(images)
    counts.drop("no_alt", len(images) - len(links))
    if not links:
        return None
    header = wat.envelope.header if wat.envelope else None
    page_url = (header.target_uri if header else None) or record.field("WARC-Target-URI") or ""
    container = wat.container or _Container()
    offset = str(container.offset)
    signals, seen_at = _signals(wat, html)
    return Page(
        record_offset=record.offset,
        page_url=page_url,
        base=page_base(page_url, html.head.base if html.head else None),
        warc_filename=container.filename,
        warc_offset=int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 19 else None,
        image_links=len(images),
        links=links,
        signals=signals,
        seen_at=seen_at,
    )


def _signals(wat: _Wat, html: _Html) -> tuple[tuple[Said, ...], datetime | None]:
    """What a page says of its use, and when it was captured, where it says anything.

    Its headers and meta elements are read only where they hold what such are called.
    """
    envelope = wat.envelope
    response = envelope.payload.response if envelope and envelope.payload else None
    headers = _may_say(response.headers if response else _NOTHING, HEADER_HINTS)
    metas = _may_say(html.head.metas if html.head else _NOTHING, META_HINTS)
    if not headers and not metas:
        return (), None
    seen_at = capture_time(envelope.header.date) if envelope and envelope.header else None
    signals = tuple(page_says(_headers(headers), _metas(metas), seen_at))
    return signals, seen_at if signals else None


def _may_say(raw: msgspec.Raw, hints: tuple[bytes, ...]) -> Any:
    text = bytes(raw)
    lower = text.lower()
    if not any(hint in lower for hint in hints):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None


def _headers(found: Any) -> Iterable[Named]:
    """Headers by name; of those that came more than once a list."""
    for name, values in found.items() if isinstance(found, dict) else ():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str):
                yield name, without_surrogates(value)


def _metas(found: Any) -> Iterable[Named]:
    for meta in found if isinstance(found, list) else ():
        if isinstance(meta, dict):
            name, content = meta.get("name"), meta.get("content")
            if isinstance(name, str) and isinstance(content, str):
                yield name, without_surrogates(content)


def _lenient(payload: bytes) -> _Wat | None:
    """Read what the typed decoder refuses and Python accepts: invalid UTF-8, lone surrogates, fields of other types."""
    try:
        value: Any = json.loads(payload.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    envelope, container = _object(value, "Envelope"), _object(value, "Container")
    response = _object(_object(envelope, "Payload-Metadata"), "HTTP-Response-Metadata")
    html: Any = response.get("HTML-Metadata")
    links = html.get("Links") if isinstance(html, dict) else None
    found = [
        _Link(_text(link, "path"), _text(link, "url"), _text(link, "alt"))
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict)
    ]
    offset = container.get("Offset")
    header, head = _object(envelope, "WARC-Header-Metadata"), _object(html, "Head")
    read = _Html(found, _Head(_text(head, "Base"), _raw(head, "Metas"))) if isinstance(html, dict) else None
    return _Wat(
        _Container(_text(container, "Filename"), offset if isinstance(offset, str | int) else None),
        _Envelope(
            _Header(_text(header, "WARC-Target-URI"), _text(header, "WARC-Date")),
            _Payload(_Response(read, _raw(response, "Headers"))),
        ),
    )


def _raw(value: dict[str, Any], key: str) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value[key]).encode()) if key in value else _NOTHING


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _text(value: dict[str, Any], key: str) -> str | None:
    found = value.get(key)
    return without_surrogates(found) if isinstance(found, str) else None
