"""One request on libcurl: what is asked, what of the answer is let in, and what its errors mean.

libcurl keeps to HTTP; everything beyond one request is ours. It looks no name up, follows no redirect, undoes no
encoding, and takes nothing from the environment or from earlier answers: no proxy, netrc, HSTS or Alt-Svc.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pycurl

from laion_assets.download.failures import Failure, FetchFailed
from laion_assets.download.guard import Guard
from laion_assets.download.names import Address
from laion_assets.download.options import DownloadOptions
from laion_assets.download.slots import Slots
from laion_assets.urls import HttpUrl

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?!\d)", re.IGNORECASE)
_HEAD_BYTES = 300_000
_REDIRECT_BYTES = 65_536
"""Of a redirect's body, which nobody wants, this is read to keep the connection."""
_SETTINGS: dict[int, Any] = {
    pycurl.NOSIGNAL: 1,
    pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
    pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
    pycurl.HTTP09_ALLOWED: 0,
    pycurl.FOLLOWLOCATION: 0,
    pycurl.PATH_AS_IS: 1,
    pycurl.PROXY: "",
    pycurl.NETRC: pycurl.NETRC_IGNORED,
    pycurl.HSTS_CTRL: 0,  # Alt-Svc has no switch in pycurl, and is off in libcurl unless switched on
    pycurl.COOKIEFILE: "",
    pycurl.MAXAGE_CONN: 10,
    pycurl.BUFFERSIZE: 131_072,
}
_MALFORMED = frozenset({pycurl.E_UNSUPPORTED_PROTOCOL, 8, pycurl.E_BAD_CONTENT_ENCODING, 100})
"""libcurl's codes for an answer that is not HTTP/1, has a bad head (8: a line without a colon, say), has a coding of
transfer that was not asked for, or has too large a head (100)."""
_BROKEN_OFF = frozenset({pycurl.E_PARTIAL_FILE, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR})
_GO_ON, _STOP = int(pycurl.PREREQFUNC_OK), int(pycurl.PREREQFUNC_ABORT)
_REFUSED = -1
"""What the other callbacks return to end a transfer: SOCKET_BAD, and fewer bytes than there were."""


@dataclass(slots=True)
class Answer:
    """The final head of an answer, and its body as it came."""

    status: int
    headers: list[tuple[str, bytes]]
    redirect: str | None = None
    """Where a redirect leads, as the server wrote it; its body is nobody's."""
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """The values of a header's lines, in order; bytes that are not UTF-8 are replaced."""
        return [value.decode("utf-8", "replace") for key, value in self.headers if key == name]


@dataclass(slots=True, eq=False)
class Visit:
    """One url under way: what is asked next, and what is known from before."""

    seconds: float
    """Left for its requests and pauses."""
    judge: Callable[[Answer], None]
    """Called with every final head, before the body; raises ``FetchFailed`` to have none."""
    target: HttpUrl | None = None
    addresses: list[Address] = field(default_factory=list)
    cookies: list[bytes] = field(default_factory=list)
    """Those that its own redirects have set, as libcurl writes them."""
    fresh: bool = False
    """Whether no kept connection may serve."""
    started_at: float = 0.0
    moved_at: float = 0.0


class Transfer:
    """A handle of libcurl, used for one request after the other."""

    def __init__(self, options: DownloadOptions, guard: Guard, slots: Slots) -> None:
        self._options = options
        self._guard = guard
        self._slots = slots
        self.curl = curl = pycurl.Curl()
        accepted = "image/jpeg,image/png,image/webp,image/gif;q=0.8,image/*;q=0.5,*/*;q=0.1"
        headers = [f"User-Agent: {options.user_agent}", f"Accept: {accepted}", "Accept-Encoding: identity"]
        for option, value in {
            **_SETTINGS,
            **_certificates(options.ca_bundle),
            pycurl.HTTPHEADER: headers,
            pycurl.CONNECTTIMEOUT_MS: int(2000 * options.timeout_seconds) + 1,  # libcurl gives an address half of it
            pycurl.OPENSOCKETFUNCTION: self._open,
            pycurl.PREREQFUNCTION: self._connected,
            pycurl.HEADERFUNCTION: self._head,
            pycurl.WRITEFUNCTION: self._write,
        }.items():
            curl.setopt(option, value)

    def prepare(self, visit: Visit, target: HttpUrl) -> None:
        """Make ready for a request; the slots of its host and of its first address are held."""
        self.visit = visit
        self.host, address = target.host, visit.addresses[0][1]
        self._held: set[tuple[str, ...]] = {(target.host, address)}
        self.moved = True
        self.busy_address: str | None = None
        self._failed: FetchFailed | None = None
        self._blocked: str | None = None
        self._lines: list[bytes] = []
        self._size = 0
        self._most = _HEAD_BYTES
        self._answer: Answer | None = None
        self._body: list[bytes] = []
        # libcurl reads the path for cookies alone: what is sent is the target, to the letter.
        self.curl.setopt(pycurl.URL, target.href)
        self.curl.setopt(pycurl.REQUEST_TARGET, target.target)
        if address != target.host:
            found = ",".join(f"[{name}]" if ":" in name else name for _, name in visit.addresses)
            # The sign keeps a host that begins with `-` from being read as an entry to take away.
            self.curl.setopt(pycurl.RESOLVE, [f"+{target.host}:{target.port}:{found}"])
        self.curl.setopt(pycurl.FRESH_CONNECT, int(visit.fresh))
        self.curl.setopt(pycurl.COOKIELIST, "ALL")  # what heads that nobody judged have set for another url
        for cookie in visit.cookies:
            self.curl.setopt(pycurl.COOKIELIST, cookie)

    def release(self) -> None:
        """Let go of all slots."""
        for names in self._held:
            self._slots.release(*names)

    def finish(self, error: FetchFailed | None) -> Answer:
        """The answer, once libcurl is done or ``error`` has ended it.

        Raises:
            FetchFailed: there is none that is any good.
        """
        answer = self._answer
        if self.visit.cookies or (answer is not None and answer.values("set-cookie")):
            self.visit.cookies = self.curl.getinfo_raw(pycurl.INFO_COOKIELIST)
        if self._failed is not None:
            raise self._failed
        if answer is None or (error is not None and answer.redirect is None):
            raise error or _broken_off()
        answer.body = b"".join(self._body)
        return answer

    def explain(self, code: int, message: str) -> FetchFailed:
        """The failure behind an error of libcurl, in the same words however the race was lost."""
        number = int(self.curl.getinfo(pycurl.OS_ERRNO))
        if code in _MALFORMED or "chunk" in message:
            return FetchFailed(Failure.PROTOCOL, f"malformed answer: {message}", again=True)
        if code in _BROKEN_OFF or (code == pycurl.E_SSL_CONNECT_ERROR and ("reset" in message or "EOF" in message)):
            return _broken_off()
        if code == pycurl.E_OPERATION_TIMEDOUT or number == errno.ETIMEDOUT:
            return FetchFailed(Failure.TIMEOUT, f"nothing came for {self._options.timeout_seconds:g} s")
        if code == pycurl.E_COULDNT_CONNECT and self._blocked is not None:
            return FetchFailed(Failure.BLOCKED_ADDRESS, self._blocked)
        if code == pycurl.E_COULDNT_CONNECT and number:
            return FetchFailed(Failure.CONNECT, os.strerror(number).lower())
        return FetchFailed(Failure.OTHER if code == pycurl.E_URL_MALFORMAT else Failure.CONNECT, message)

    def _open(self, _: int, address: "pycurl.CurlSockAddr") -> socket.socket | int:
        """Judge what is about to be connected to, whatever was looked up."""
        self.moved = True
        try:
            if self._guard.permits(address.addr[0]):
                return socket.socket(address.family, address.socktype, address.protocol)
            self._blocked = f"{self.host} is at {address.addr[0]}, outside the public internet"
        except OSError as error:
            self._failed = FetchFailed(Failure.CONNECT, f"{type(error).__name__}: {error}")
        return _REFUSED

    def _connected(self, remote: str, *_: object) -> int:
        """Judge the connection that is to carry the request, a kept one too, and hold a slot of its address."""
        self.moved = True
        if not self._guard.permits(remote):
            self._failed = FetchFailed(Failure.BLOCKED_ADDRESS, f"{self.host} answered from {remote}")
            return _STOP
        if any(remote in names for names in self._held):
            return _GO_ON
        if self._slots.take(remote):
            self.busy_address = remote
            return _STOP
        self._held.add((remote,))
        return _GO_ON

    def _head(self, line: bytes) -> int | None:
        self.moved = True
        if self._answer is not None:
            return None  # trailers, which are no part of the head
        self._size += len(line)
        if self._size > self._most:
            return self._refuse(FetchFailed(Failure.PROTOCOL, f"a head of more than {self._most} bytes", again=True))
        if line.strip(b"\r\n"):
            self._lines.append(line)
            return None
        lines, self._lines, self._size = self._lines, [], 0
        status = _STATUS_LINE.match(lines[0]) if lines else None
        if status is None or status[1] == b"101":
            return self._refuse(FetchFailed(Failure.PROTOCOL, "malformed answer: no final status", again=True))
        if status[1] < b"200":
            return None  # interim answers, of any number, are passed over (RFC 9110, section 15.2)
        pairs = (line.partition(b":") for line in lines[1:])
        headers = [(name.strip().lower().decode("latin-1"), value.strip()) for name, _, value in pairs]
        answer = self._answer = Answer(int(status[1]), headers)
        try:
            self.visit.judge(answer)
        except FetchFailed as failed:
            return self._refuse(failed)
        except Exception as error:  # noqa: BLE001 - libcurl would make a mere code of it
            return self._refuse(FetchFailed(Failure.OTHER, f"{type(error).__name__}: {error}"))
        self._most = self._options.max_bytes if answer.redirect is None else _REDIRECT_BYTES
        return None

    def _write(self, data: bytes) -> int | None:
        self.moved = True
        if self._answer is None:
            return self._refuse(FetchFailed(Failure.PROTOCOL, "malformed answer: a body without a head", again=True))
        self._size += len(data)
        if self._size > self._most:
            too_large = FetchFailed(Failure.TOO_LARGE, f"more than {self._most} bytes")
            return _REFUSED if self._answer.redirect is not None else self._refuse(too_large)
        self._body.append(data)
        return None

    def _refuse(self, failed: FetchFailed) -> int:
        """Note why, since libcurl is about to make a mere code of it."""
        self._failed = failed
        return _REFUSED


def _broken_off() -> FetchFailed:
    return FetchFailed(Failure.CONNECT, "connection broken off", again=True)


def _certificates(bundle: str | None) -> dict[int, str]:
    """What certificates are verified against: a bundle of one's own, or the system's store (SSL_CERT_FILE counts)."""
    store = ssl.get_default_verify_paths()
    if bundle or store.cafile:  # alone: libcurl keeps a file in memory, a folder it reads for every connection
        return {pycurl.CAINFO: bundle or store.cafile}
    return {pycurl.CAPATH: store.capath} if store.capath else {}
