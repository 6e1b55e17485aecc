"""Which crawls a source has, and which files a crawl is made of."""

import gzip
import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from laion_assets.crawl.sources import Source, SourceError, SourceNotFound, TransferError, open_source

Format = Literal["wat", "warc"]
"""What a crawl is read from: WAT (extracted metadata) or WARC (the pages themselves)."""

_COLLINFO = "collinfo.json"
# Common Crawl serves its data and the list of its crawls from different places.
_COLLINFO_OF_COMMON_CRAWL = "https://index.commoncrawl.org"
_COMMON_CRAWL = frozenset({("s3", "commoncrawl"), ("https", "data.commoncrawl.org")})


class IndexFormatError(SourceError):
    """A listing is there and is not what Common Crawl publishes under that name."""


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
    parts = urlsplit(uri)
    return (parts.scheme, parts.netloc) in _COMMON_CRAWL


def list_crawls(source: Source) -> list[Crawl]:
    """List the crawls of a source, in the order of its ``collinfo.json`` (Common Crawl: newest first).

    Common Crawl's own bucket and mirror keep that list on another host, which is asked when they have none.

    Raises:
        IndexFormatError: The list is not a JSON array of objects with an ``id``.
        SourceError: The list is missing or cannot be fetched.
    """
    try:
        content = source.read(_COLLINFO)
    except SourceNotFound:
        if not is_common_crawl(source.uri):
            raise
        source = open_source(_COLLINFO_OF_COMMON_CRAWL)
        content = source.read(_COLLINFO)
    where = f"{source.uri}/{_COLLINFO}"
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise IndexFormatError(f"{where} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise IndexFormatError(f"{where}: expected a list of crawls, found {type(entries).__name__}")
    return [_crawl(entry, where) for entry in entries]


def list_files(source: Source, crawl: str, format: Format) -> list[str]:
    """List a crawl's WAT or WARC files, in Common Crawl's order: a file's number is its place in this list.

    Args:
        source: Where the crawl lies.
        crawl: Its name.
        format: Which files.

    Returns:
        Paths relative to the source.

    Raises:
        SourceNotFound: The crawl has no such list.
        TransferError: The list is no intact gzip file.
        IndexFormatError: A line is not the path of a file of the source.
    """
    path = f"crawl-data/{crawl}/{format}.paths.gz"
    content = source.read(path)
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise TransferError(f"{source.uri}/{path} is damaged: {error}; fetch or publish it again") from error
    try:
        paths = [line.strip() for line in content.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise IndexFormatError(f"{source.uri}/{path} is no list of paths: {error}") from error
    for line in paths:
        if line.startswith("/") or "\0" in line or ".." in line.split("/"):
            raise IndexFormatError(f"{source.uri}/{path}: expected paths below the source, found {line!r}")
    return paths


def _crawl(entry: Any, where: str) -> Crawl:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
        raise IndexFormatError(f"{where}: expected every entry to be an object with an id, found {str(entry)[:80]!r}")
    name = entry.get("name")
    return Crawl(
        crawl=entry["id"],
        name=name if isinstance(name, str) and name else entry["id"],
        first_capture=_utc(entry.get("from"), where),
        last_capture=_utc(entry.get("to"), where),
    )


def _utc(value: Any, where: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise IndexFormatError(f"{where}: expected a time like 2024-02-20T21:01:13, found {value!r}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
