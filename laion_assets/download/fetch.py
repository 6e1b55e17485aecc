"""Fetching urls: bounded in time and bytes, guarded on every hop, refused where an owner or a list says so.

What comes back says what happened; nothing raises. Whether the bytes decode is not decided here.
"""

import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeVar

from laion_assets.consent.decision import before_asking, refusal
from laion_assets.consent.embedded import said_within
from laion_assets.consent.optout import opted_out
from laion_assets.consent.preferences import said_in
from laion_assets.consent.signals import SIGNALS, Said
from laion_assets.consent.tdmrep import reservation
from laion_assets.download.encodings import undo_encodings
from laion_assets.download.failures import Failure, FetchFailed, failed_by, failure_of_status, is_transient
from laion_assets.download.guard import Guard, is_bad_port
from laion_assets.download.hosts import DOCUMENTS, ROBOTS_TXT, Document, HostBook, cut
from laion_assets.download.loop import Loop, Steps
from laion_assets.download.options import DownloadOptions
from laion_assets.download.refusals import Removal, refuse_listed, refuse_listed_body, refuse_out_of_bounds
from laion_assets.download.slots import Slots
from laion_assets.download.transfer import Answer, Visit
from laion_assets.images.header import read_header
from laion_assets.urls import HttpUrl, parse_http_url, resolve_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_A_RETRY = frozenset({408, 429, 502, 503, 504})
_ACCEPTED, _PARTIAL = 202, 206
_MOST_CHARACTERS = 65_536
"""Of a url: servers take 8,000 (RFC 9110, section 4.1), libcurl 8 million."""
_WHOLE = re.compile(r"bytes[ \t]+0-(\d{1,12})/(\d{1,12})", re.ASCII | re.IGNORECASE)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")

_PATIENCE_SECONDS = 0.05
"""At first, between two looks for what somebody else asked a host."""

Key = TypeVar("Key")


@dataclass(slots=True)
class Fetched:
    """What became of a url."""

    body: bytes | None = None
    """The bytes as downloaded (a content encoding undone); None where the url failed."""
    failure: Failure | None = None
    failure_detail: str | None = None
    http_status: int | None = None
    """Status of the last answer, None where there was none."""
    final_url: str | None = None
    """The url asked last, None where nothing was asked."""
    content_type: str | None = None
    attempts: int = 0
    """Tries made; 0 where the url was refused before any connection."""
    byte_size: int | None = None
    sha256: str | None = None
    exif: str | None = None
    said: list[Said] = field(default_factory=list)
    """What its hosts, their answers and the picture itself said of its use."""


class _HeardEnough(FetchFailed):
    """Ends a transfer after its head, where nothing else was wanted."""


_Check = Callable[[Fetched, Answer], None]


@dataclass(eq=False)
class Fetcher:
    """Fetches urls, hundreds at once, in the thread that asks for them.

    Args:
        options: limits and manners.
        removals: what must not be fetched; matched before each connection, and against each body.
        guard: which addresses may be connected to.
        slots: bounds the requests under way to one host and address.
        hosts: what hosts allow, who are asked once a day; None where nobody is asked.
        obeyed: names of the signals that are obeyed, of those that are heard while fetching.
    """

    options: DownloadOptions
    removals: Removal | None = None
    guard: Guard | None = None
    slots: Slots | None = None
    hosts: HostBook | None = None
    obeyed: Collection[str] = tuple(SIGNALS)

    def __post_init__(self) -> None:
        options = self.options
        self._guard = self.guard or Guard(options.allowed_networks)
        slots = self.slots or Slots(options.connections_per_host, options.delay_seconds)
        self._loop = Loop(options, self._guard, slots)

    def fetch(self, url: str) -> Fetched:
        """Fetch a url and check what comes back against every limit that needs no decoding."""
        [(_, outcome)] = self.fetch_all([(None, url)])
        return outcome

    def fetch_all(self, urls: Iterable[tuple[Key, str]]) -> Iterator[tuple[Key, Fetched]]:
        """Fetch many urls, each with a key of the caller's, in the order in which they are done.

        Urls are taken from the iterable as there is room. Memory is bounded by 2 * threads * max_bytes.
        """
        return self._loop.run((key, self._steps(url)) for key, url in urls)

    def ask_all(self, urls: Iterable[tuple[Key, str]]) -> Iterator[tuple[Key, Fetched]]:
        """What many urls say of their use by now, in hosts' documents and in the heads of their answers.

        A picture's own bytes are left where they are. Where nobody answers, or with an error, that says nothing.
        """
        return self._loop.run((key, self._steps(url, ask_only=True)) for key, url in urls)

    def close(self) -> None:
        """Close all connections."""
        self._loop.close()

    def _steps(self, url: str, *, ask_only: bool = False) -> Steps:
        outcome = Fetched()

        def judge(answer: Answer) -> None:
            self._judge(answer, outcome)
            if ask_only and answer.redirect is None:
                raise _HeardEnough(Failure.OTHER, "nothing more was wanted")

        try:
            target = self._admit(url, "")
            yield from self._consult(target, outcome, "")
            yield from self._fetch(Visit(target, self.options.deadline_seconds, judge), outcome, self._check_body)
        except _HeardEnough:
            pass
        except Exception as error:  # noqa: BLE001 - recorded as the url's failure
            failed = failed_by(error)
            outcome.failure, outcome.failure_detail = failed.failure, failed.detail
        return outcome

    def _fetch(self, visit: Visit, outcome: Fetched, check: _Check) -> Steps:
        """Ask until an answer passes its check or there is no use in asking on."""
        target = visit.target
        while (wait := (yield from self._try(visit, outcome, check))) is not None:
            visit.target, visit.seconds = target, visit.seconds - wait
            yield float(wait)

    def _try(self, visit: Visit, outcome: Fetched, check: _Check) -> Steps:
        """Ask once, redirects and all; gives seconds after which to ask again, None where the picture has come."""
        outcome.attempts += 1
        outcome.http_status = outcome.content_type = None
        visit.cookies = []
        try:
            for _ in range(self.options.redirects + 1):
                outcome.final_url = visit.target.href
                found = self._guard.permitted(visit.target.host, (yield visit.target.host))
                visit.addresses = [address for _, address in found]
                answer: Answer = yield visit
                if answer.redirect is None:
                    return check(outcome, answer)
                location = resolve_url(answer.redirect, visit.target.href) or answer.redirect
                visit.target = self._admit(location, "redirect to ")
                if check == self._check_body:
                    yield from self._consult(visit.target, outcome, "redirect to ")
        except FetchFailed as failed:
            wait = self.options.retry_delay_seconds if failed.wait_seconds is None else failed.wait_seconds
            if not failed.again or outcome.attempts > self.options.retries or wait >= visit.seconds:
                raise
            return wait
        raise FetchFailed(Failure.OTHER, f"more than {self.options.redirects} redirects")

    def _consult(self, target: HttpUrl, outcome: Fetched, how: str) -> Steps:
        """Refuse what its host does not allow, so that it is not even asked for."""
        if self.hosts is None:
            return
        try:
            says = yield from self._host_says(f"{target.scheme}://{target.authority}")
        except OSError as error:  # of the folder: no word on the picture
            raise FetchFailed(Failure.CONNECT, f"{how}what its host allows cannot be kept: {error}") from error
        if says.unreachable is not None and "robots_txt" in self.obeyed:
            found = says.unreachable
            failure = Failure.HTTP_5XX if found.status is not None else Failure(found.failure or Failure.CONNECT)
            passing = failure if is_transient(failure) else Failure.CONNECT  # whatever it was: another day it may do
            raise FetchFailed(passing, f"{how}a host whose robots.txt cannot be had: {found.detail}")
        said = says.said(target.href)
        outcome.said += said
        _refuse(before_asking(said, self.obeyed), how)

    def _host_says(self, origin: str) -> Steps:
        """What an origin says; of all who want to know it today one asks."""
        assert self.hosts is not None
        pause = _PATIENCE_SECONDS
        while (says := self.hosts.get(origin)) is None:
            if not self.hosts.begin(origin):
                yield pause
                pause = min(2 * pause, 1.0)  # thousands of urls of one host may wait
                continue
            documents: dict[str, Document] = {}
            for path in DOCUMENTS:
                documents[path] = yield from self._document(f"{origin}{path}")
                if path == ROBOTS_TXT and documents[path].failure is not None:  # then nothing is fetched anyway
                    break
            return self.hosts.put(origin, documents)
        return says

    def _document(self, url: str) -> Steps:
        outcome = Fetched()

        def judge(answer: Answer) -> None:
            self._take_head(answer, outcome)

        def keep(outcome: Fetched, answer: Answer) -> None:
            outcome.body = self._content(answer)

        try:
            visit = Visit(self._admit(url, ""), self.options.deadline_seconds, judge)
            yield from self._fetch(visit, outcome, keep)
        except FetchFailed as failed:
            status = outcome.http_status
            if failed.failure is Failure.HTTP_4XX and status not in _WORTH_A_RETRY:
                return Document(status)
            nowhere = failed.failure in (Failure.OTHER, Failure.BLOCKED_ADDRESS) or "Locations" in failed.detail
            if status in _REDIRECTS and nowhere:
                return Document(status)
            gave_up = status if status is not None and status >= 500 else None
            return Document(gave_up, b"", failed.failure.value, failed.detail)
        return Document(outcome.http_status, cut(outcome.body or b""))

    def _admit(self, url: str, how: str) -> HttpUrl:
        """Refuse a url, as it is written and as it is asked, before anything is asked of its host."""
        refuse_listed(self.removals, url, how)
        try:
            target = parse_http_url(url)
        except ValueError as error:
            failure = Failure.OTHER if resolve_url(url) is None else Failure.BLOCKED_ADDRESS
            raise FetchFailed(failure, f"{how}malformed url: {error}") from error
        if len(target.href) > _MOST_CHARACTERS:
            raise FetchFailed(Failure.OTHER, f"{how}a url of {len(target.href)} characters, over {_MOST_CHARACTERS}")
        if is_bad_port(target.port):
            raise FetchFailed(Failure.BLOCKED_ADDRESS, f"{how}port {target.port}, which is of another protocol")
        if target.href != url:
            refuse_listed(self.removals, target.href, how)
        return target

    def _take_head(self, answer: Answer, outcome: Fetched) -> None:
        """Judge the status of an answer."""
        status = outcome.http_status = answer.status
        outcome.content_type = ", ".join(answer.values("content-type"))[:200] or None
        if status in _REDIRECTS:
            answer.redirect = _location(answer)
        elif not 200 <= status <= 299:
            again = status in _WORTH_A_RETRY
            wait = _retry_after(answer.values("retry-after")) if again else None
            raise FetchFailed(failure_of_status(status), f"HTTP status {status}", again=again, wait_seconds=wait)

    def _judge(self, answer: Answer, outcome: Fetched) -> None:
        """Judge status and headers of a picture, before the body is read."""
        self._take_head(answer, outcome)
        if self.options.respect_opt_outs:
            directive = opted_out(answer.values("x-robots-tag"), self.options.agent)
            if directive is not None:
                outcome.said.append(Said("x_robots_tag", f"X-Robots-Tag: {directive}", False, ("train", "index")))
            policy = ", ".join(answer.values("tdm-policy"))
            outcome.said += reservation("tdm_header", answer.values("tdm-reservation"), policy)
            outcome.said += said_in("content_usage", answer.values("content-usage"))
            _refuse(refusal(outcome.said, self.obeyed))

    def _check_body(self, outcome: Fetched, answer: Answer) -> None:
        """Check the bytes: lists of hashes, then kind and size as the picture's own header states them."""
        if answer.status == _PARTIAL:
            _check_whole(answer)
        body = self._content(answer)
        outcome.byte_size, outcome.sha256 = len(body), hashlib.sha256(body).hexdigest()
        refuse_listed_body(self.removals, body)
        header = read_header(body)
        if header is None:
            what = f"starts with {body[:16]!r}" if body else "empty body"
            # Without a length, an answer that was cut off after its head looks like one without a body.
            cut_off = not answer.body and not answer.values("content-length")
            unfinished = answer.status == _ACCEPTED or cut_off
            raise FetchFailed(Failure.PROTOCOL if unfinished else Failure.NOT_AN_IMAGE, what)
        refuse_out_of_bounds(header, self.options)
        if self.options.respect_opt_outs:
            outcome.said += said_within(body, f"image/{header.format}")
            _refuse(refusal(outcome.said, self.obeyed))
        outcome.body = body

    def _content(self, answer: Answer) -> bytes:
        """The body without its content encodings; a picture that comes bare whatever they say is taken as it is."""
        try:
            return undo_encodings(answer.body, answer.values("content-encoding"), self.options.max_bytes)
        except FetchFailed as failed:
            if failed.failure is Failure.TOO_LARGE or read_header(answer.body) is None:
                raise
            return answer.body


def _refuse(no: Said | None, how: str = "") -> None:
    if no is not None:
        told = no.raw if no.signal == "x_robots_tag" else f"{no.signal}: {no.raw}"
        raise FetchFailed(Failure.OPTED_OUT, f"{how}{told}")


def _check_whole(answer: Answer) -> None:
    """Refuse a part: 206 is the whole where its range begins at 0 and ends at the end (RFC 9110, section 14.4)."""
    for value in answer.values("content-range"):
        found = _WHOLE.fullmatch(value.strip())
        if found is not None and int(found[1]) + 1 == int(found[2]) == len(answer.body):
            return
    raise FetchFailed(Failure.PROTOCOL, "a part of the picture")


def _location(answer: Answer) -> str:
    """Where a redirect leads; other bytes than ASCII stand for themselves, whatever their encoding, as in browsers."""
    found = {value for name, value in answer.headers if name == "location"}
    if len(found) != 1:
        raise FetchFailed(Failure.PROTOCOL, f"HTTP status {answer.status} with {len(found)} Locations")
    return _NOT_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], found.pop()).decode("ascii")


def _retry_after(values: list[str]) -> float | None:
    """Seconds that a server asks to wait: Retry-After as a number of them, or as a date (RFC 9110, section 10.2.3)."""
    value = values[0] if values else ""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    wait = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - time.time()
    return wait if wait > 0 else None
