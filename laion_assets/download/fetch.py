"""Fetching one url: bounded in time and bytes, guarded on every hop, refused where its owner or a list says so.

What comes back says what happened; nothing raises. Whether the bytes decode is not decided here.
"""

import hashlib
import http.client
import socket
import ssl
import time
import zlib
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urljoin, urlsplit

from laion_assets.download.connections import Connections, HostSlots, Origin, Slots
from laion_assets.download.deadline import Deadline, DeadlineSocket, ResponseTooLargeError
from laion_assets.download.failures import Failure, failure_of_status
from laion_assets.download.guard import BlockedAddressError, Guard, LookupTimeoutError
from laion_assets.download.options import DownloadOptions
from laion_assets.download.optout import opted_out
from laion_assets.images.header import read_header

_SUCCESSES = frozenset({200, 203})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_A_RETRY = frozenset({408, 429, 502, 503, 504})
_CHUNK_BYTES = 262_144
_FRAMING_BYTES = 1_000_000
_SMALL_BYTES = 65_536
_SAFE = "%/:=&?~#+!$,;'@()*[]|"


class Removal(Protocol):
    """What must not be fetched: ``laion_assets.pairs.removals.RemovalMatcher`` is one."""

    def match_url(self, url: str) -> str | None:
        """``url`` or ``domain`` where a deny list or takedown names the url, ``hash`` where a hash list does."""

    def match_body(self, body: bytes) -> bool:
        """Whether a list of hashes names these bytes."""


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


class _Failed(Exception):
    """One try of a url has failed."""

    def __init__(
        self, failure: Failure, detail: str, *, again: bool = False, wait_seconds: float | None = None
    ) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.again = again
        self.wait_seconds = wait_seconds


@dataclass(eq=False)
class Fetcher:
    """Fetches urls, from as many threads as one likes.

    Args:
        options: limits and manners.
        removals: what must not be fetched; matched before each connection, and against each body.
        guard: which addresses may be connected to.
        slots: bounds the requests under way to one host.
    """

    options: DownloadOptions
    removals: Removal | None = None
    guard: Guard | None = None
    slots: Slots | None = None
    _connections: Connections = field(init=False)
    _slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        guard = self.guard or Guard(self.options.allow_private_addresses)
        self._connections = Connections(guard, self.options.timeout_seconds, max_idle=2 * self.options.threads)
        self._slots = self.slots or HostSlots(self.options.connections_per_host)

    def fetch(self, url: str) -> Fetched:
        """Fetch a url and check what comes back against every limit that needs no decoding."""
        outcome = Fetched()
        deadline: Deadline | None = None
        try:
            target = self._admit(url, "")
            deadline = Deadline(self.options.deadline_seconds)
            self._fetch_with_retries(target, outcome, deadline)
        except _Failed as failed:
            outcome.failure, outcome.failure_detail = failed.failure, failed.detail
        except Exception as error:  # noqa: BLE001 - recorded as the url's failure
            outcome.failure, outcome.failure_detail = Failure.OTHER, f"{type(error).__name__}: {error}"
        if outcome.failure is not None:
            outcome.body = None
        return outcome

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    def _fetch_with_retries(self, target: "_Target", outcome: Fetched, deadline: Deadline) -> None:
        while True:
            outcome.attempts += 1
            try:
                self._fetch_once(target, outcome, deadline)
                return
            except _Failed as failed:
                wait = self.options.retry_delay_seconds if failed.wait_seconds is None else failed.wait_seconds
                if not failed.again or outcome.attempts > self.options.retries or wait >= deadline.remaining():
                    raise
            time.sleep(wait)

    def _fetch_once(self, target: "_Target", outcome: Fetched, deadline: Deadline) -> None:
        outcome.http_status = outcome.content_type = None
        for _ in range(self.options.redirects + 1):
            outcome.final_url = target.url
            asked = time.monotonic()
            with self._slots.hold(target.origin.host):
                deadline.extend(time.monotonic() - asked)
                try:
                    location = self._exchange(target, outcome, deadline)
                except Exception as error:
                    raise self._explained(error, deadline) from error
            if location is None:
                self._check_body(outcome)
                return
            target = self._admit(urljoin(target.url, location), "redirect to ")
        raise _Failed(Failure.OTHER, f"more than {self.options.redirects} redirects")

    def _admit(self, url: str, how: str) -> "_Target":
        """Refuse a url before anything is asked of its host."""
        kind = None if self.removals is None else self.removals.match_url(url)
        if kind is not None:
            failure = Failure.HASH_LISTED if kind == "hash" else Failure.DENY_LISTED
            raise _Failed(failure, f"{how}{'a' if how else 'the'} url on a list of {kind} entries")
        try:
            return parse_target(url)
        except BlockedAddressError as error:
            raise _Failed(Failure.BLOCKED_ADDRESS, f"{how}{error}") from error
        except ValueError as error:
            raise _Failed(Failure.OTHER, f"{how}malformed url: {error}") from error

    def _exchange(self, target: "_Target", outcome: Fetched, deadline: Deadline) -> str | None:
        """Ask once; the body goes to ``outcome``, the target of a redirect is returned."""
        connection, response = self._ask(target, deadline)
        reusable = False
        try:
            outcome.http_status = response.status
            outcome.content_type = (_utf8(response.getheader("Content-Type")) or "")[:200] or None
            location = self._check_answer(response)
            if location is None:
                body = _read_body(response, self.options.max_bytes)
                reusable = not response.will_close
                outcome.body = _decoded(body, response.getheader("Content-Encoding"), self.options.max_bytes)
            elif response.length is not None and response.length <= _SMALL_BYTES:
                response.read()
                reusable = not response.will_close
            return location
        finally:
            response.close()
            if reusable:
                self._connections.keep(target.origin, connection)
            else:
                connection.close()

    def _ask(self, target: "_Target", deadline: Deadline) -> tuple[DeadlineSocket, http.client.HTTPResponse]:
        """Send the request and read the answer's head; a kept connection that turns out closed is replaced at once."""
        request = _request(target, self.options.user_agent)
        kept = self._connections.take(target.origin, deadline)
        if kept is not None:
            try:
                return kept, self._head(kept, request)
            except (ConnectionError, ssl.SSLError):
                kept.close()
            except BaseException:
                kept.close()
                raise
        fresh = self._connections.open(target.origin, deadline)
        try:
            return fresh, self._head(fresh, request)
        except BaseException:
            fresh.close()
            raise

    def _head(self, connection: DeadlineSocket, request: bytes) -> http.client.HTTPResponse:
        connection.response_bytes = 2 * self.options.max_bytes + _FRAMING_BYTES
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method="GET")  # type: ignore[arg-type]  # calls makefile alone
        response.begin()
        return response

    def _explained(self, error: Exception, deadline: Deadline) -> _Failed:
        """The failure behind an exception of the network, in the same words however the race was lost."""
        match error:
            case _Failed():
                return error
            case BlockedAddressError():
                return _Failed(Failure.BLOCKED_ADDRESS, str(error))
            case LookupTimeoutError() | socket.gaierror() | UnicodeError():
                return _Failed(Failure.DNS, str(error))
            case ResponseTooLargeError():
                return _Failed(Failure.TOO_LARGE, str(error))
            case TimeoutError() if deadline.remaining() < 0.05:
                return _Failed(Failure.TIMEOUT, f"not done within {self.options.deadline_seconds:g} s")
            case TimeoutError():
                return _Failed(Failure.TIMEOUT, f"nothing came for {self.options.timeout_seconds:g} s")
            case ConnectionRefusedError():
                return _Failed(Failure.CONNECT, "connection refused")
            case ConnectionError() | http.client.IncompleteRead() | ssl.SSLEOFError():
                return _Failed(Failure.CONNECT, "connection broken off", again=True)
            case OSError():
                return _Failed(Failure.CONNECT, f"{type(error).__name__}: {error}")
            case _:
                return _Failed(Failure.OTHER, f"{type(error).__name__}: {error}")

    def _check_answer(self, response: http.client.HTTPResponse) -> str | None:
        """Judge status and headers, before the body is read; returns the target of a redirect."""
        status = response.status
        redirect = _utf8(response.getheader("Location")) if status in _REDIRECTS else None
        if status not in _SUCCESSES and redirect is None:
            again = status in _WORTH_A_RETRY
            wait = response.getheader("Retry-After", "") if again else ""
            raise _Failed(
                failure_of_status(status),
                f"HTTP status {status}",
                again=again,
                wait_seconds=float(wait) if wait.isascii() and wait.isdigit() else None,
            )
        if self.options.respect_opt_outs:
            directive = opted_out(response.headers.get_all("X-Robots-Tag", []), self.options.agent)
            if directive is not None:
                raise _Failed(Failure.OPTED_OUT, f"X-Robots-Tag: {directive}")
        if redirect is None and response.length is not None and response.length > self.options.max_bytes:
            raise _Failed(
                Failure.TOO_LARGE, f"Content-Length of {response.length} bytes, over {self.options.max_bytes}"
            )
        return redirect

    def _check_body(self, outcome: Fetched) -> None:
        """Check the bytes: lists of hashes, then kind and size as the picture's own header states them."""
        body = outcome.body or b""
        outcome.byte_size = len(body)
        outcome.sha256 = hashlib.sha256(body).hexdigest()
        if self.removals is not None and self.removals.match_body(body):
            raise _Failed(Failure.HASH_LISTED, "the body is on a list of hash entries")
        header = read_header(body)
        if header is None:
            what = f"starts with {body[:16]!r}" if body else "empty body"
            raise _Failed(Failure.NOT_AN_IMAGE, what)
        if not header.supported:
            raise _Failed(Failure.DECODE, f"{header.format} pictures are not supported")
        short, long = sorted((header.width, header.height))
        options = self.options
        size = f"{header.width} x {header.height} pixels"
        if short == 0:
            raise _Failed(Failure.DECODE, f"a {header.format} picture without a size")
        if short * long > options.max_image_area:
            raise _Failed(Failure.TOO_LARGE, f"{size}, over {options.max_image_area} in all")
        if short < options.min_image_size:
            raise _Failed(Failure.TOO_SMALL, f"{size}, under {options.min_image_size} on a side")
        if long / short > options.max_aspect_ratio:
            raise _Failed(Failure.ASPECT, f"{size}, over {options.max_aspect_ratio:g} to 1")


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    origin: Origin
    path: str
    host_header: str


def parse_target(url: str) -> _Target:
    """Take a url apart into what is connected to and what is asked there.

    Non-ASCII hosts become IDNA, other characters that may not stand in a request are percent-encoded; user names and
    passwords are left out.

    Raises:
        BlockedAddressError: the scheme is neither http nor https.
        ValueError: the url has no usable host or port.
    """
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise BlockedAddressError(f"scheme {scheme[:20] or '(none)'!r} is not http or https")
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if not host or len(host) > 253 or any(not c.isprintable() or c in " /\\@?#%<>" for c in host):
        raise ValueError("no usable host")
    default = 443 if scheme == "https" else 80
    port = parts.port if parts.port is not None else default
    if port == 0:
        raise ValueError("port 0")
    named = f"[{host}]" if ":" in host else host
    host_header = named if port == default else f"{named}:{port}"
    path = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE)
    if not path.startswith("/"):
        path = "/" + path
    return _Target(f"{scheme}://{host_header}{path}", Origin(scheme, host, port), path, host_header)


def _request(target: _Target, user_agent: str) -> bytes:
    return (
        f"GET {target.path} HTTP/1.1\r\nHost: {target.host_header}\r\nUser-Agent: {user_agent}\r\n"
        "Accept: image/jpeg,image/png,image/webp,image/gif;q=0.8,image/*;q=0.5,*/*;q=0.1\r\n"
        "Accept-Encoding: identity\r\nConnection: keep-alive\r\n\r\n"
    ).encode("ascii")


def _read_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read to the end, never more than a chunk beyond ``max_bytes``."""
    expected = response.length
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise _Failed(Failure.TOO_LARGE, f"more than {max_bytes} bytes")
    if expected is not None and size < expected:
        raise _Failed(Failure.CONNECT, f"connection closed before all {expected} bytes", again=True)
    return b"".join(chunks)


def _decoded(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Undo a content encoding the server applied although asked not to, within ``max_bytes``."""
    name = (encoding or "identity").strip().lower()
    if name in ("", "identity", "none"):
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        raise _Failed(Failure.NOT_AN_IMAGE, f"content encoding {name[:20]!r}")
    try:
        decoder = zlib.decompressobj(wbits=47)
        plain = decoder.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise _Failed(Failure.NOT_AN_IMAGE, f"broken {name} encoding") from error
    if len(plain) > max_bytes:
        raise _Failed(Failure.TOO_LARGE, f"more than {max_bytes} bytes")
    return plain


def _utf8(header: str | None) -> str | None:
    """A header as UTF-8 where it is that; http.client reads all headers as Latin-1."""
    if header is None:
        return None
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header
