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

from laion_assets.download.failures import Failure, FetchFailed, failed_by
from laion_assets.download.guard import Guard, blocked
from laion_assets.download.options import DownloadOptions
from laion_assets.urls import HttpUrl

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?!\d)", re.IGNORECASE)
_UNWANTED_BYTES = 65_536
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
_REFUSED = -1
"""What callbacks return to end a transfer: SOCKET_BAD, and fewer bytes than there were."""


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

    target: HttpUrl
    seconds: float
    """Left for its requests and pauses."""
    judge: Callable[[Answer], None]
    """Called with every final head, before the body; raises ``FetchFailed`` to have none."""
    addresses: list[str] = field(default_factory=list)
    cookies: list[bytes] = field(default_factory=list)
    """Those that its own redirects have set, as libcurl writes them."""


class Transfer:
    """A handle of libcurl, used for one request after the other."""

    def __init__(self, options: DownloadOptions, guard: Guard) -> None:
        self._options, self._guard = options, guard
        self.curl = pycurl.Curl()
        accepted = "image/jpeg,image/png,image/webp,image/gif;q=0.8,image/*;q=0.5,*/*;q=0.1"
        headers = [f"User-Agent: {options.user_agent}", f"Accept: {accepted}", "Accept-Encoding: identity"]
        for option, value in {
            **_SETTINGS,
            **_certificates(options.ca_bundle),
            pycurl.HTTPHEADER: headers,
            pycurl.CONNECTTIMEOUT_MS: int(2000 * options.timeout_seconds) + 1,  # libcurl gives an address half of it
            pycurl.MAXFILESIZE_LARGE: options.max_bytes,  # seen in a length that is announced, and in what comes
            pycurl.OPENSOCKETFUNCTION: self._open,
            pycurl.PREREQFUNCTION: self._connected,
            pycurl.HEADERFUNCTION: self._head,
            pycurl.WRITEFUNCTION: self._write,
        }.items():
            self.curl.setopt(option, value)

    def prepare(self, visit: Visit, now: float) -> None:
        """Make ready for a request."""
        target = visit.target
        self.visit = visit
        self.started_at = self.moved_at = now
        self.moved = True
        self._failed: FetchFailed | None = None
        self._lines: list[bytes] = []
        self._answer: Answer | None = None
        self._body = bytearray()
        # libcurl reads the path for cookies alone: what is sent is the target, to the letter.
        self.curl.setopt(pycurl.URL, target.href)
        self.curl.setopt(pycurl.REQUEST_TARGET, target.target)
        if visit.addresses != [target.host]:
            found = ",".join(f"[{address}]" if ":" in address else address for address in visit.addresses)
            # The sign keeps a host that begins with `-` from being read as an entry to take away.
            self.curl.setopt(pycurl.RESOLVE, [f"+{target.host}:{target.port}:{found}"])
        self.curl.setopt(pycurl.COOKIELIST, "ALL")  # what heads that nobody judged have set for another url
        for cookie in visit.cookies:
            self.curl.setopt(pycurl.COOKIELIST, cookie)

    def finish(self, error: FetchFailed | None) -> Answer | FetchFailed:
        """The answer, once libcurl is done or ``error`` has ended it, or why there is none that is any good."""
        answer = self._answer
        if self.visit.cookies or (answer is not None and answer.values("set-cookie")):
            self.visit.cookies = self.curl.getinfo_raw(pycurl.INFO_COOKIELIST)
        if self._failed is not None:
            return self._failed
        if answer is None or (error is not None and answer.redirect is None):
            return error or self.explain(pycurl.E_GOT_NOTHING, "")
        answer.body = bytes(self._body)
        return answer

    def explain(self, code: int, message: str) -> FetchFailed:
        """The failure behind an error of libcurl, in the same words however the race was lost."""
        number = int(self.curl.getinfo(pycurl.OS_ERRNO))
        if code in _MALFORMED or "chunk" in message or "Too large response headers" in message:
            return FetchFailed(Failure.PROTOCOL, f"malformed answer: {message}", again=True)
        if code in _BROKEN_OFF or (code == pycurl.E_SSL_CONNECT_ERROR and ("reset" in message or "EOF" in message)):
            return FetchFailed(Failure.CONNECT, "connection broken off", again=True)
        if code == pycurl.E_OPERATION_TIMEDOUT or number == errno.ETIMEDOUT:
            return FetchFailed(Failure.TIMEOUT, f"nothing came for {self._options.timeout_seconds:g} s")
        if code == pycurl.E_FILESIZE_EXCEEDED:
            return FetchFailed(Failure.TOO_LARGE, f"more than {self._options.max_bytes} bytes")
        if code == pycurl.E_COULDNT_CONNECT and number:
            message = os.strerror(number).lower()
        return FetchFailed(Failure.OTHER if code == pycurl.E_URL_MALFORMAT else Failure.CONNECT, message)

    def _open(self, _: int, address: "pycurl.CurlSockAddr") -> socket.socket | int:
        """Judge what is about to be connected to, whatever was looked up; another address may still do."""
        try:
            if self._permits(address.addr[0]):
                return socket.socket(address.family, address.socktype, address.protocol)
        except OSError as error:
            self._failed = FetchFailed(Failure.CONNECT, f"{type(error).__name__}: {error}")
        return _REFUSED

    def _connected(self, remote: str, *_: object) -> int:
        """Judge the connection that is to carry the request, a kept one too."""
        self._failed = None
        return int(pycurl.PREREQFUNC_OK if self._permits(remote) else pycurl.PREREQFUNC_ABORT)

    def _permits(self, address: str) -> bool:
        self.moved = True
        permitted = self._guard.permits(address)
        if not permitted:
            self._failed = blocked(self.visit.target.host, address)
        return permitted

    def _head(self, line: bytes) -> int | None:
        self.moved = True
        if self._answer is not None:
            return None  # trailers, which are no part of the head
        if line.strip(b"\r\n"):
            self._lines.append(line)
            return None
        try:
            self._answer, self._lines = _final(self._lines), []
            if self._answer is not None:
                self.visit.judge(self._answer)
        except Exception as error:  # noqa: BLE001 - libcurl would make a mere code of it
            self._failed = failed_by(error)
            return _REFUSED
        return None

    def _write(self, data: bytes) -> int | None:
        self.moved = True
        self._body += data
        wanted = self._answer is not None and self._answer.redirect is None
        return None if wanted or len(self._body) <= _UNWANTED_BYTES else _REFUSED


def _final(lines: list[bytes]) -> Answer | None:
    """A head; None where it is an interim one: of any number, they are passed over (RFC 9110, section 15.2)."""
    status = _STATUS_LINE.match(lines[0]) if lines else None
    if status is None or status[1] == b"101":
        raise FetchFailed(Failure.PROTOCOL, "malformed answer: no final status", again=True)
    pairs = (line.partition(b":") for line in lines[1:])
    headers = [(name.strip().lower().decode("latin-1"), value.strip()) for name, _, value in pairs]
    return Answer(int(status[1]), headers) if status[1] >= b"200" else None


def _certificates(bundle: str | None) -> dict[int, str]:
    """What certificates are verified against: a bundle of one's own, or the system's store (SSL_CERT_FILE counts)."""
    store = ssl.get_default_verify_paths()
    if bundle or store.cafile:  # alone: libcurl keeps a file in memory, a folder it reads for every connection
        return {pycurl.CAINFO: bundle or store.cafile}
    return {pycurl.CAPATH: store.capath} if store.capath else {}
