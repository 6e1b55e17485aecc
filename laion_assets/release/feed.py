"""The removals feed: what was to be removed, in a form that everybody may have and that reaches copies.

A file of JSON lines, one row an event, in the order in which things were listed. Rows are only ever added at the end:
an earlier version is the beginning of each later one, byte for byte. An address stands in it as the SHA-256 of its
canonical form (``laion_assets.consent.urls``), a reason as one of few words (``laion_assets.consent.reasons``): whoever
has a copy finds its rows with it, and nobody else learns from it what they were. Domains can be read: a site is listed
as a whole.

The last row about a thing decides: a ``withdrawal`` takes back what was listed before.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import msgspec
import polars as pl

from laion_assets.common.files import BrokenFile
from laion_assets.consent.reasons import reason_class
from laion_assets.consent.removals import WITHDRAWAL, Removals, in_force, normal_value
from laion_assets.consent.urls import canonical_digest

FEED: Final = "removals.jsonl"
"""Its name in a release."""

_FIELDS: Final = {"url": "url_sha256", "domain": "domain", "sha256": "sha256", "pair_id": "pair_id"}
"""By kind of request, the field of a row that says what is meant."""

Thing = tuple[str, str]
"""A kind out of ``url, domain, sha256, pair_id`` and the value that stands in the kind's field."""


class FeedError(BrokenFile):
    """A feed is not what it has to be; the message names the row."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a feed: a thing to be removed, or one that is to be removed no more."""

    n: int
    """Its number, from 1."""
    date: date
    """When it was asked for (UTC), or, for what a deny list names, first listed here."""
    kind: Literal["url", "domain", "sha256", "pair_id", "withdrawal"]
    url_sha256: str | None = None
    domain: str | None = None
    sha256: str | None = None
    pair_id: str | None = None
    """In digits: many a reader of JSON would round the number."""
    reason: str = "other"

    @property
    def thing(self) -> Thing | None:
        """What it is about; None where it does not say one thing, or another than its kind."""
        named = [(kind, value) for kind, field in _FIELDS.items() if (value := getattr(self, field)) is not None]
        return named[0] if len(named) == 1 and self.kind in (WITHDRAWAL, named[0][0]) else None


@dataclass(frozen=True, kw_only=True, order=True)
class Request:
    """A thing to be removed, or no more, in the form in which a feed has it."""

    at: datetime
    """When it was asked for, or, where it was withdrawn, when that was."""
    kind: str
    value: str
    """As it stands in a feed: of a url the digest."""
    reason: str
    """One of ``REASONS``."""
    is_withdrawn: bool = False

    @property
    def thing(self) -> Thing:
        """What is meant."""
        return self.kind, self.value


@dataclass(frozen=True)
class Feed:
    """A feed that was read."""

    rows: tuple[Row, ...]
    content: bytes

    @cached_property
    def in_force(self) -> frozenset[Thing]:
        """What is to be removed, all rows considered."""
        stands: dict[Thing, bool] = {}
        for row in self.rows:
            if row.thing is not None:
                stands[row.thing] = row.kind != WITHDRAWAL
        return frozenset(thing for thing, is_listed in stands.items() if is_listed)

    @property
    def removals(self) -> Removals:
        """What is to be removed, as rows are matched with it."""
        entries = sorted((_FIELDS[kind], value) for kind, value in self.in_force)
        return Removals(pl.DataFrame(entries, schema={"kind": pl.String, "value": pl.String}, orient="row"))

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of its bytes."""
        return bytes_digest(self.content)


def read_feed(source: bytes | Path) -> Feed:
    """Read a feed.

    Raises:
        FeedError: a row is not what it has to be, is not at its place, or the last one is cut off.
        OSError: the file cannot be read.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    if content and not content.endswith(b"\n"):
        ends = content.count(b"\n")
        raise FeedError(f"the feed is cut off: row {ends + 1} has no end; fetch it again")
    try:
        rows = _DECODER.decode_lines(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FeedError(_first_fault(content)) from None
    for number, row in enumerate(rows, start=1):
        if row.n != number:
            raise FeedError(f"row {number} of the feed says that it is row {row.n}; fetch it again")
        _understood(row)
    return Feed(tuple(rows), content)


def feed_lines(requests: Iterable[Request]) -> bytes:
    """A feed of all that is to be removed, in the order in which it was asked for."""
    return append_feed(b"", requests)


def append_feed(existing: bytes, requests: Iterable[Request]) -> bytes:
    """A feed with rows at its end for what changed since: what is listed anew, what was withdrawn.

    What the feed lists and the requests do not mention stays listed: what is not known here may have been removed for
    a reason that is known elsewhere. Whoever wants it back withdraws it.

    Args:
        existing: the feed so far; empty where there is none.
        requests: as they stand now; of several about one thing the first that is not withdrawn counts.

    Returns:
        bytes that begin with ``existing``, and are ``existing`` where nothing changed.

    Raises:
        FeedError: ``existing`` is no feed.
    """
    feed = read_feed(existing)
    changed = [*_changed(feed.in_force, requests)]
    rows = [_row(number, request) for number, request in enumerate(changed, start=len(feed.rows) + 1)]
    return existing + b"".join(_ENCODER.encode(row) + b"\n" for row in rows)


def ensure_successor(earlier: bytes, later: bytes) -> None:
    """Make sure that a feed goes on from an earlier version of it.

    Raises:
        FeedError: it does not; says where they part.
    """
    if later.startswith(earlier):
        return
    before, after = earlier.splitlines(), later.splitlines()
    same = next((place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), None)
    if same is None:
        raise FeedError(f"the feed has {len(after)} rows, and {len(before)} in an earlier version: rows only ever come")
    expected, found = (lines[same].decode(errors="replace") for lines in (before, after))
    raise FeedError(
        f"the feed does not go on from an earlier version: expected row {same + 1} to be {expected}, found {found}"
    )


def requests_of(takedowns: pl.DataFrame) -> list[Request]:
    """The requests in a lake's table ``takedowns``: those in force, and those that were withdrawn.

    Args:
        takedowns: its rows: ``kind, value, requested_at, reason``.

    Raises:
        RemovalError: a row is not what it has to be.
    """
    rows = [*zip(*(takedowns[name].to_list() for name in ("kind", "value", "requested_at", "reason")), strict=True)]
    standing = {number for number, *_ in in_force(takedowns)}
    withdrawn = {value: (at, reason) for kind, value, at, reason in rows if kind == WITHDRAWAL}
    found = []
    for number, (kind, value, at, reason) in enumerate(rows, start=1):
        if kind == WITHDRAWAL:
            continue
        stands = number in standing
        asked, why = (at, reason) if stands else withdrawn[f"{kind} {value}"]
        meant = value_in_feed(kind, normal_value(kind, value, f"row {number} of the takedowns"))
        found.append(Request(at=asked, kind=kind, value=meant, reason=reason_class(why), is_withdrawn=not stands))
    return found


def value_in_feed(kind: str, value: str) -> str:
    """What of an entry stands in a feed, of its comparable form (``consent.removals.normal_value``)."""
    return canonical_digest(value) if kind == "url" else value


def bytes_digest(content: bytes) -> str:
    """The SHA-256 (hex) by which a manifest knows a version of a feed."""
    return hashlib.sha256(content).hexdigest()


_DECODER: Final = msgspec.json.Decoder(Row)
_ENCODER: Final = msgspec.json.Encoder()


def _changed(listed: frozenset[Thing], requests: Iterable[Request]) -> Iterator[Request]:
    """The requests that say something else than the feed does, one a thing, in the order in which they were made."""
    said: dict[Thing, Request] = {}
    for request in sorted(requests):
        before = said.get(request.thing)
        if before is None or before.is_withdrawn:
            said[request.thing] = request
    yield from (one for one in sorted(said.values()) if one.is_withdrawn == (one.thing in listed))


def _row(number: int, request: Request) -> Row:
    day = request.at.astimezone(UTC).date() if request.at.tzinfo else request.at.date()
    kind = WITHDRAWAL if request.is_withdrawn else request.kind
    return msgspec.convert(
        {"n": number, "date": day, "kind": kind, _FIELDS[request.kind]: request.value, "reason": request.reason}, Row
    )


def _understood(row: Row) -> None:
    thing = row.thing
    if thing is None:
        raise FeedError(f"row {row.n} of the feed: expected one thing of its kind ({row.kind})")
    try:
        kind, value = thing
        right = normal_value("sha256" if kind == "url" else kind, value, f"row {row.n} of the feed") == value
    except ValueError as error:
        raise FeedError(str(error)) from error
    if not right:
        raise FeedError(f"row {row.n} of the feed: {value!r} is not written as a feed writes it")


def _first_fault(content: bytes) -> str:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"row {number} of the feed cannot be read: {error}"
    return "the feed cannot be read: it is not text of JSON lines"
