"""Which crawls a source has, and which files a crawl is made of."""

import io
import json
import logging
import re
import reprlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from laion_assets.sources.address import parse_address, shown
from laion_assets.sources.contents import unexpected
from laion_assets.sources.sources import (
    ErrorPage,
    Source,
    SourceNotFound,
    SourceRefused,
    TransferError,
    UnexpectedContent,
    open_source,
)
from laion_assets.text.normalise import without_surrogates

logger = logging.getLogger(__name__)

Format = Literal["wat", "warc"]
"""What a crawl is read from: WAT (extracted metadata) or WARC (the pages themselves)."""

MAX_COLLINFO_BYTES = 16 << 20
"""A longer list of crawls is refused; Common Crawl's has 50 kB."""
MAX_LIST_BYTES = 64 << 20
"""A longer list of files is refused, as stored and inflated; Common Crawl's longest have about 14 MB inflated."""
MAX_FILES = 1_000_000
"""A list of more files is refused; Common Crawl's crawls have 100,000 at most."""

_COLLINFO = "collinfo.json"
# Common Crawl serves its data and the list of its crawls from different places.
_COLLINFO_OF_COMMON_CRAWL = "https://index.commoncrawl.org"
_COMMON_CRAWL = frozenset({("s3", "commoncrawl"), ("https", "data.commoncrawl.org")})
# Every source is laid out as Common Crawl's bucket is, and people put one of its addresses before the paths of a list.
_ADDRESSES_OF_COMMON_CRAWL = (
    "s3://commoncrawl",
    "https://data.commoncrawl.org",
    "http://data.commoncrawl.org",
    "https://commoncrawl.s3.amazonaws.com",
    "https://s3.amazonaws.com/commoncrawl",
)
_CHUNK_BYTES = 1 << 20
_GZIP_BYTES = 1 << 13
_MAX_MEMBERS = 10_000
_MAX_PATH = 1024  # S3's limit of a key, in bytes
_SHOWN = 200
_BLANK = b"\xef\xbb\xbf \t\r\n"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class IndexFormatError(UnexpectedContent):
    """A listing is there and is not what Common Crawl publishes under that name."""


class _ListErrorPage(IndexFormatError, ErrorPage):
    """The same, and another try may bring the listing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawl:
    """One crawl snapshot, as ``collinfo.json`` describes it."""

    crawl: str
    """Common Crawl's own name, such as ``CC-MAIN-2024-10``."""
    name: str
    """A name for people."""
    first_capture: datetime | None
    """Time of the first capture, UTC; null where the list does not say."""
    last_capture: datetime | None
    """Time of the last capture, UTC; null where the list does not say."""


def is_common_crawl(uri: str) -> bool:
    """Whether this is the real Common Crawl, in its bucket or its mirror."""
    parts = urlsplit(parse_address(uri).uri)
    return (parts.scheme, parts.netloc) in _COMMON_CRAWL


def list_crawls(source: Source) -> list[Crawl]:
    """List the crawls of a source, in the order of its ``collinfo.json`` (Common Crawl: newest first).

    Common Crawl's own bucket and mirror keep that list on another host, which is asked when they have none, or do not
    say that they have none. A crawl that is listed twice is told once, as it is listed first.

    Raises:
        IndexFormatError: The list is not a JSON array of objects with an ``id``, or has more than
            ``MAX_COLLINFO_BYTES``.
        SourceError: The list is missing or cannot be fetched.
    """
    try:
        content = b"".join(_bounded(source, _COLLINFO, MAX_COLLINFO_BYTES))
    except (SourceNotFound, SourceRefused):
        if not is_common_crawl(source.uri):
            raise
        source = open_source(_COLLINFO_OF_COMMON_CRAWL)
        content = b"".join(_bounded(source, _COLLINFO, MAX_COLLINFO_BYTES))
    where = f"{source.uri}/{_COLLINFO}"
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        if content.lstrip(_BLANK)[:1] not in (b"[", b"{"):
            raise _unlisted(where, "a list of crawls: not JSON", content) from None
        raise IndexFormatError(f"{where} is not JSON that can be read: {str(error)[:_SHOWN]}") from None
    if not isinstance(entries, list):
        raise _unlisted(where, "a list of crawls", content)
    crawls: dict[str, Crawl] = {}
    for entry in entries:
        crawl = _crawl(entry, where)
        crawls.setdefault(crawl.crawl, crawl)
    if len(crawls) < len(entries):
        logger.warning("%s lists %d crawls more than once; the first entry counts", where, len(entries) - len(crawls))
    return list(crawls.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class FileList:
    """The files of a crawl, in Common Crawl's order: a file's number is its place among them."""

    paths: list[str]
    """Paths relative to the source, each once."""
    repeated: int
    """Entries of the list that name a file which another entry before them names."""


def list_files(source: Source, crawl: str, format: Format) -> list[str]:
    """The paths of ``read_file_list``."""
    return read_file_list(source, crawl, format).paths


def count_files(source: Source, crawl: str, format: Format) -> int:
    """How many WAT or WARC files a crawl has; 0 where it has no such list.

    A refusal says of one file alone that it is absent or forbidden. Where the crawl's other list can be read, this one
    is absent.

    Raises:
        SourceError: The list cannot be read, and it is not known to be absent.
    """
    try:
        return len(list_files(source, crawl, format))
    except SourceNotFound:
        return 0
    except SourceRefused as refusal:
        try:
            list_files(source, crawl, "warc" if format == "wat" else "wat")
        except (SourceNotFound, SourceRefused):
            raise refusal from None
        return 0


def read_file_list(source: Source, crawl: str, format: Format) -> FileList:
    """Read the list of a crawl's WAT or WARC files, compressed or not.

    Before a path may stand the source's own address, or one of Common Crawl's, whose layout every source has; such an
    entry is a url, and percent-escapes in it are undone. ``./`` and, before ``crawl-data/``, ``/`` are left out.

    Args:
        source: Where the crawl lies.
        crawl: Its name.
        format: Which files.

    Raises:
        SourceNotFound: The crawl has no such list.
        SourceRefused: It has none, or none for us: the source does not say which.
        TransferError: The list is no intact gzip file, or there is an error page in its place.
        IndexFormatError: A line is not the path of a file of the source; the list has more than ``MAX_LIST_BYTES``, or
            names more than ``MAX_FILES`` files.
    """
    path = f"crawl-data/{crawl}/{format}.paths.gz"
    where = f"{source.uri}/{path}"
    stored = b"".join(_bounded(source, path, MAX_LIST_BYTES))
    try:
        content = b"".join(_inflated(stored, where)) if stored.startswith(b"\x1f\x8b") else stored
        text = content.decode("utf-8-sig")
    except (EOFError, zlib.error) as error:
        raise TransferError(f"{where} is damaged: {error}; fetch or publish it again") from None
    except UnicodeDecodeError as error:
        raise IndexFormatError(f"{where} is no list of paths: {error.reason} at byte {error.start}") from None
    if not stored.strip() or content.lstrip(_BLANK)[:1] in (b"<", b"{"):
        raise _unlisted(where, "a list of paths", stored)
    # No splitlines: it divides at characters that a path may hold.
    lines = [line[0].strip() for line in islice(re.finditer(r"[^\r\n]+", text), MAX_FILES + 1)]
    if len(lines) > MAX_FILES:
        raise IndexFormatError(f"{where} names more than {MAX_FILES:,} files")
    entries = [line for line in lines if line]
    paths = dict.fromkeys(_relative(entry, source.uri, where) for entry in entries)
    repeated = len(entries) - len(paths)
    if repeated:
        logger.warning("%s names %d files again; each is read once", where, repeated)
    return FileList(paths=list(paths), repeated=repeated)


def _bounded(source: Source, path: str, max_bytes: int) -> Iterator[bytes]:
    """A file's bytes, as long as they are no more than may be read into memory."""
    with source.open(path) as stream:
        for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
            max_bytes -= len(chunk)
            if max_bytes < 0:
                raise IndexFormatError(f"{source.uri}/{path} is too long to be a list: more than is read of one")
            yield chunk


def _inflated(stored: bytes, where: str) -> Iterator[bytes]:
    """What the members of a gzip file hold (RFC 1952), as far as a list may go."""
    left, members = MAX_LIST_BYTES, 0
    waiting = io.BytesIO(stored)
    data = b""
    while data := data.lstrip(b"\0") or waiting.read(_GZIP_BYTES):
        inflater = zlib.decompressobj(31)
        members += 1
        while not inflater.eof:
            if not data:
                raise EOFError("it is cut off")
            piece = inflater.decompress(data, left + 1)
            left -= len(piece)
            if left < 0 or members > _MAX_MEMBERS:
                raise IndexFormatError(f"{where} is too long to be a list: inflated it has more than is read of one")
            yield piece
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail or waiting.read(_GZIP_BYTES)


def _relative(entry: str, uri: str, where: str) -> str:
    """The path that an entry of a list names, relative to the source."""
    path = None if ".." in re.split(r"[/\\]", unquote(entry)) else _below(entry, uri)
    path = "/".join(part for part in path.split("/") if part != ".") if path else ""
    if not path or path.startswith("/") or len(path) > _MAX_PATH or _CONTROL.search(path):
        raise IndexFormatError(f"{where}: expected paths below the source, found {shown(entry)[:_SHOWN]!r}")
    return path


def _below(entry: str, uri: str) -> str | None:
    """What follows the source's address in an entry that begins with one; other entries as they are."""
    address = parse_address(entry)
    if not address.scheme:
        if entry.startswith("/") and entry.startswith((f"{uri}/", "/crawl-data/")):
            return entry.removeprefix(uri)[1:] if entry.startswith(f"{uri}/") else entry[1:]
        return entry
    if address.query:
        return None
    named = f"file://{uri}" if uri.startswith("/") else uri
    full = re.sub(r"^s3[an]://", "s3://", address.uri)
    base = next((base for base in (named, *_ADDRESSES_OF_COMMON_CRAWL) if full.startswith(f"{base}/")), None)
    if base is None:
        return None
    path = full[len(base) + 1 :]
    return path if full.startswith("s3:") else unquote(path)


def _unlisted(where: str, wanted: str, content: bytes) -> UnexpectedContent:
    return unexpected(where, wanted, content, kind=IndexFormatError, passing=_ListErrorPage)


def _crawl(entry: Any, where: str) -> Crawl:
    crawl = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(crawl, str) or not crawl or without_surrogates(crawl) != crawl:
        raise IndexFormatError(f"{where}: expected every entry to be an object with an id, found {reprlib.repr(entry)}")
    name = entry.get("name")
    return Crawl(
        crawl=crawl,
        name=without_surrogates(name) if isinstance(name, str) and name else crawl,
        first_capture=_utc(entry.get("from"), where),
        last_capture=_utc(entry.get("to"), where),
    )


def _utc(value: Any, where: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        found = reprlib.repr(value)
        raise IndexFormatError(f"{where}: expected a time like 2024-02-20T21:01:13, found {found}") from None
