"""Publishes pages as Common Crawl does: WARC files, the WAT files about them, path lists and collinfo.json.

`write_crawl` takes any pages. What they show, and which of them are broken on purpose, is decided elsewhere.
"""

import base64
import gzip
import hashlib
import json
import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from warcio.warcwriter import WARCWriter

from laion_assets.common.files import appearing_folder, write_file
from laion_assets.sample.pages import TRANSPORT_DAMAGE, Page, html_metadata

_RAW_BYTES = "\ue0f0"
"""Stands for bytes that are no UTF-8 until a record is written."""
_SURROGATE = "\ue0f1"
"""Stands for one half of a surrogate pair until a record is written."""

_ODDITIES: tuple[dict[str, Any], ...] = ({"alt": None}, {"url": 404}, {"alt": ["a", "list"]}, {"url": None})

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip


@dataclass(frozen=True, slots=True)
class CrawlFiles:
    """What a published crawl consists of; paths are relative to its root."""

    crawl: str
    wat: tuple[str, ...]
    warc: tuple[str, ...]
    pages: int


@dataclass(frozen=True, slots=True)
class _File:
    """Names and times of one WARC file and its WAT file."""

    crawl: str
    number: int
    folder: str
    stem: str
    start: datetime

    @property
    def warc_name(self) -> str:
        return f"{self.stem}.warc.gz"

    @property
    def wat_name(self) -> str:
        return f"{self.stem}.warc.wat.gz"

    def record_id(self, *what: object) -> str:
        """An id that depends only on what it names, so that the same pages give the same bytes."""
        name = "/".join(map(str, (self.crawl, self.number, *what)))
        return f"<urn:uuid:{uuid.UUID(bytes=hashlib.blake2b(name.encode(), digest_size=16).digest(), version=4)}>"


def write_crawl(
    root: Path,
    crawl: str,
    pages: Iterable[Page],
    wat_files: int,
    *,
    first_capture: datetime | None = None,
    last_capture: datetime | None = None,
) -> CrawlFiles:
    """Publish `pages` as the crawl `crawl` under `root`, in place of what that crawl held there before.

    The same arguments give the same bytes. Page k goes to file k modulo `wat_files`; within a file the order stays,
    except that a page whose record is `clipped` comes last. The crawl is added to `collinfo.json`; others stay listed.

    Args:
        root: Folder that a crawl source points at.
        crawl: Name such as CC-MAIN-2026-04; year and week give the capture times unless these are given.
        pages: What was captured.
        wat_files: Number of WAT files, and of WARC files.
        first_capture: Start of the crawl, UTC.
        last_capture: End of the crawl, UTC.

    Raises:
        ValueError: `wat_files` is not positive.
    """
    if wat_files < 1:
        raise ValueError(f"a crawl needs at least one WAT file, not {wat_files}")
    first, last = _captures(crawl, first_capture, last_capture)
    files: list[list[Page]] = [[] for _ in range(wat_files)]
    total = 0
    for total, page in enumerate(pages, start=1):
        files[(total - 1) % wat_files].append(page)
    wat_paths, warc_paths = [], []
    step = (last - first) / wat_files
    with appearing_folder(root / "crawl-data" / crawl) as staged:
        for number, members in enumerate(files):
            file = _file(crawl, number, first + number * step)
            segment = staged / file.folder
            (segment / "wat").mkdir(parents=True, exist_ok=True)
            (segment / "warc").mkdir(parents=True, exist_ok=True)
            warc, wat = _write_file(file, sorted(members, key=lambda page: page.damage == "clipped"))
            (segment / "warc" / file.warc_name).write_bytes(warc)
            (segment / "wat" / file.wat_name).write_bytes(wat)
            warc_paths.append(f"crawl-data/{crawl}/{file.folder}/warc/{file.warc_name}")
            wat_paths.append(f"crawl-data/{crawl}/{file.folder}/wat/{file.wat_name}")
        for name, paths in (("wat.paths.gz", wat_paths), ("warc.paths.gz", warc_paths)):
            (staged / name).write_bytes(gzip.compress("".join(f"{path}\n" for path in paths).encode(), mtime=0))
    _list_crawl(root, crawl, first, last)
    return CrawlFiles(crawl, tuple(wat_paths), tuple(warc_paths), total)


def _captures(crawl: str, first: datetime | None, last: datetime | None) -> tuple[datetime, datetime]:
    if first is None:
        try:
            year, week = crawl.split("-")[-2:]
            first = datetime.fromisocalendar(int(year), int(week), 1).replace(hour=17, minute=5, tzinfo=UTC)
        except ValueError:
            first = datetime(2026, 1, 1, tzinfo=UTC)
    return first, last or first + timedelta(days=12, hours=5)


def _file(crawl: str, number: int, start: datetime) -> _File:
    end = start + timedelta(hours=3)
    folder = f"segments/{int(start.timestamp())}{number % 1000:03d}.{number % 100}"
    return _File(crawl, number, folder, f"CC-MAIN-{start:%Y%m%d%H%M%S}-{end:%Y%m%d%H%M%S}-{number:05d}", start)


def _list_crawl(root: Path, crawl: str, first: datetime, last: datetime) -> None:
    """Enter the crawl in collinfo.json, newest name first."""
    path = root / "collinfo.json"
    listed = json.loads(path.read_text("utf-8")) if path.exists() else []
    entry = {
        "id": crawl,
        "name": f"{_MONTHS[first.month - 1]} {first.year} Index",
        "timegate": f"https://index.example.org/{crawl}/",
        "cdx-api": f"https://index.example.org/{crawl}-index",
        "from": f"{first:%Y-%m-%dT%H:%M:%S}",
        "to": f"{last:%Y-%m-%dT%H:%M:%S}",
    }
    listed = sorted([*(other for other in listed if other["id"] != crawl), entry], key=lambda c: c["id"], reverse=True)
    write_file(path, json.dumps(listed, indent=1) + "\n")


def _write_file(file: _File, pages: Sequence[Page]) -> tuple[bytes, bytes]:
    """The bytes of a WARC file and of the WAT file about it."""
    warc, wat = BytesIO(), BytesIO()
    info = f"isPartOf: {file.crawl}\r\npublisher: the sample\r\nformat: WARC File Format 1.1\r\n".encode()
    about = b"Software-Info: laion-assets sample\r\nformat: WARC File Format 1.0\r\n"
    date = _stamp(file.start)
    warc.write(
        _record("warcinfo", None, date, file.record_id("warcinfo"), info, extra={"WARC-Filename": file.warc_name})
    )
    wat.write(_record("warcinfo", None, date, file.record_id("wat"), about, extra={"WARC-Filename": file.wat_name}))
    for number, page in enumerate(pages):
        captured = _stamp(file.start + timedelta(seconds=7 * number))
        for kind in ("request", "response", "metadata"):
            offset = warc.tell()
            record_id = file.record_id(kind, number, page.url)
            envelope, member = _CAPTURES[kind](page, captured, record_id)
            if kind == "response":
                member = _spoil(member, page)
            warc.write(member)
            container = {
                "Filename": file.warc_name,
                "Compressed": True,
                "Offset": str(offset),
                "Gzip-Metadata": {"Deflate-Length": str(len(member)), "Header-Length": "10", "Footer-Length": "8"},
            }
            document = {"Container": container, "Envelope": envelope}
            wat.write(_wat_record(document, page, kind, captured, record_id, file))
    return warc.getvalue(), wat.getvalue()


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _record(
    kind: str, uri: str | None, date: str, record_id: str, block: bytes, *, content_type: str = "",
    extra: dict[str, str] | None = None, compress: bool = True,
) -> bytes:  # fmt: skip
    """One WARC record as its own gzip member, written by warcio."""
    out = BytesIO()
    writer = WARCWriter(out, gzip=compress, warc_version="1.0")
    headers = {"WARC-Type": kind, "WARC-Date": date, "WARC-Record-ID": record_id} | (extra or {})
    record = writer.create_warc_record(
        uri or "", kind, payload=BytesIO(block), length=len(block), warc_content_type=content_type,
        warc_headers_dict=headers,
    )  # fmt: skip
    writer.write_record(record)
    return out.getvalue()


def _request(page: Page, date: str, record_id: str) -> tuple[dict[str, Any], bytes]:
    host, _, path = page.url.partition("://")[2].partition("/")
    block = (
        f"GET /{path} HTTP/1.1\r\nUser-Agent: CCBot/2.0 (https://commoncrawl.org/faq/)\r\n"
        f"Accept-Encoding: br,gzip\r\nHost: {host}\r\nConnection: Keep-Alive\r\n\r\n"
    ).encode()
    what = {
        "Request-Message": {"Method": "GET", "Path": f"/{path}", "Version": "HTTP/1.1"},
        "Headers": {"User-Agent": "CCBot/2.0 (https://commoncrawl.org/faq/)", "Host": host},
    }
    kind = "application/http; msgtype=request"
    envelope = _envelope("request", page.url, date, record_id, block, kind, {"HTTP-Request-Metadata": what})
    return envelope, _record("request", page.url, date, record_id, block, content_type=kind)


def _response(page: Page, date: str, record_id: str) -> tuple[dict[str, Any], bytes]:
    body = page.body()
    kind = page.content_type + (f"; charset={page.charset}" if page.declared_in == "header" else "")
    headers = {
        "Date": format_datetime(datetime.fromisoformat(date), usegmt=True),
        "Content-Type": kind,
        "Server": "nginx",
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
    what: dict[str, Any] = {
        "Response-Message": {"Status": "200", "Version": "HTTP/1.1", "Reason": "OK"},
        "Headers-Length": str(len(block)),
        "Headers": headers,
        "Entity-Length": str(len(body)),
        "Entity-Digest": _digest(body),
    }
    if page.content_type == "text/html":
        what["HTML-Metadata"] = html_metadata(page.document())
    actual = "application/http; msgtype=response"
    envelope = _envelope("response", page.url, date, record_id, block + body, actual, {"HTTP-Response-Metadata": what})
    return envelope, _record("response", page.url, date, record_id, block + body, content_type=actual)


def _metadata(page: Page, date: str, record_id: str) -> tuple[dict[str, Any], bytes]:
    block = f"fetchTimeMs: 258\r\ncharset-detected: {page.charset.upper()}\r\n\r\n".encode()
    pairs = [{"Name": "fetchTimeMs", "Value": "258"}, {"Name": "charset-detected", "Value": page.charset.upper()}]
    what = {"WARC-Metadata-Metadata": {"Metadata-Records": pairs}}
    envelope = _envelope("metadata", page.url, date, record_id, block, "application/metadata-fields", what)
    return envelope, _record("metadata", page.url, date, record_id, block)


_CAPTURES = {"request": _request, "response": _response, "metadata": _metadata}


def _digest(content: bytes) -> str:
    return f"sha1:{base64.b32encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()}"


def _envelope(
    kind: str, url: str, date: str, record_id: str, block: bytes, content_type: str, what: dict[str, Any]
) -> dict[str, Any]:
    return {
        "Format": "WARC/1.0",
        "WARC-Header-Metadata": {
            "WARC-Type": kind,
            "WARC-Date": date,
            "WARC-Record-ID": record_id,
            "Content-Length": str(len(block)),
            "Content-Type": content_type,
            "WARC-Target-URI": url,
        },
        "Payload-Metadata": {
            "Actual-Content-Type": content_type,
            **what,
            "Actual-Content-Length": str(len(block)),
            "Trailing-Slop-Length": "4",
        },
    }


def _wat_record(document: dict[str, Any], page: Page, kind: str, date: str, refers_to: str, file: _File) -> bytes:
    """The WAT's metadata record about one record of the WARC file."""
    if kind == "response":
        _confuse(document, page)
    if _turned(file.crawl):
        document = _reversed_keys(document)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    block = text.encode().replace(_RAW_BYTES.encode(), b"\xc3\x28\xff\xfe").replace(_SURROGATE.encode(), b"\\ud83d")
    if kind == "response" and page.damage == "not_json":
        block = block[: len(block) * 2 // 3]
    record_id = file.record_id("about", refers_to)
    member = _record(
        "metadata",
        page.url,
        date,
        record_id,
        block,
        content_type="application/json",
        extra={"WARC-Refers-To": refers_to},
    )
    return _spoil(member, page) if kind == "response" else member


def _turned(crawl: str) -> bool:
    """Whether this crawl writes its JSON keys the other way round, as Common Crawl's years differ."""
    return zlib.crc32(crawl.encode()) % 2 == 1


def _reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed_keys(value[key]) for key in reversed(value)}
    return [_reversed_keys(member) for member in value] if isinstance(value, list) else value


def _confuse(document: dict[str, Any], page: Page) -> None:
    """Spoil what the JSON says, for the kinds of damage that leave the record itself whole."""
    response = document["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]
    images = [link for link in response.get("HTML-Metadata", {}).get("Links", ()) if link["path"] == "IMG@/src"]
    if page.damage == "odd_types":
        for link, oddity in zip(images, _ODDITIES, strict=False):
            link.update(oddity)
    elif page.damage == "invalid_utf8" and images:
        images[0]["alt"] = images[0].get("alt", "") + _RAW_BYTES
    elif page.damage == "lone_surrogate" and images:
        images[0]["alt"] = images[0].get("alt", "") + " " + _SURROGATE


def _spoil(member: bytes, page: Page) -> bytes:
    """A record with the page's transport damage."""
    if page.damage not in TRANSPORT_DAMAGE:
        return member
    if page.damage == "clipped":
        return member[: len(member) * 3 // 5]
    if page.damage == "corrupt":
        middle = len(member) // 2
        return member[:middle] + bytes(byte ^ 0x5A for byte in member[middle : middle + 24]) + member[middle + 24 :]
    head, mark, block = gzip.decompress(member).partition(b"\r\n\r\n")
    name, _, rest = head.partition(b"Content-Length: ")
    length, _, after = rest.partition(b"\r\n")
    wrong = int(length) + (611 if page.damage == "length_too_long" else -57)
    return gzip.compress(b"%sContent-Length: %d\r\n%s%s%s" % (name, wrong, after, mark, block), mtime=0)
