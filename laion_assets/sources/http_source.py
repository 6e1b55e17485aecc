"""A crawl behind HTTP(S): streaming, retried, resumed by range requests."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import BinaryIO, cast
from urllib.parse import quote

import urllib3

from laion_assets.common.passing import status_can_pass
from laion_assets.sources.address import Address, parse_address
from laion_assets.sources.transfer import (
    ABSENT_OR_REFUSED,
    Body,
    ResumingStream,
    RetryPolicy,
    SourceNotFound,
    SourceRefused,
    SourceUnreachable,
    TransferError,
    TransientFailure,
)
from laion_assets.urls import parse_http_url

_NO_RETRIES = urllib3.Retry(None, connect=0, read=0, status=0, other=0, redirect=5, raise_on_redirect=True)
_DISCARD_BYTES = 1 << 18
_S3_CODE = re.compile(rb"<Code>\s*(\w{1,64})\s*</Code>")


class HttpSource:
    """Files below an ``https://`` or ``http://`` address."""

    def __init__(self, uri: str, *, retry: RetryPolicy, sleep: Callable[[float], None] = time.sleep) -> None:
        """Keep what is needed to ask; nothing is fetched yet.

        Args:
            uri: The address that paths are appended to, credentials included.
            retry: How failures are met.
            sleep: Waits between attempts.

        Raises:
            ValueError: The address is none.
        """
        self._address = parse_address(uri)
        try:
            parse_http_url(self._address.uri)
        except ValueError as error:
            raise ValueError(f"{self._address.uri!r} is no address of a source: {error}") from None
        self._retry = retry
        self._sleep = sleep

    @property
    def uri(self) -> str:
        """The address, without credentials, query and trailing slash."""
        return self._address.uri

    def open(self, path: str, *, offset: int = 0) -> BinaryIO:
        """Open one file; see ``Source.open``."""
        file = quote(path.lstrip("/"))
        name = f"{self.uri}/{file}"
        connect = _Connector(self._address, file, name, self._retry).connect
        return cast("BinaryIO", ResumingStream(name, connect, self._retry, offset=offset, sleep=self._sleep))

    def read(self, path: str) -> bytes:
        """The whole of one file; see ``Source.read``."""
        with self.open(path) as stream:
            return stream.read()


class _Connector:
    """Opens one file's connections, each of them new.

    A server may close a connection that it keeps open at any moment, also while the next request is on its way (RFC
    9112, section 9.5); that request then fails though nothing is the matter. Files here are large, connections cheap.
    """

    def __init__(self, address: Address, file: str, name: str, retry: RetryPolicy) -> None:
        self._address = address
        self._url = address.url(file)
        self._name = name
        self._timeout = urllib3.Timeout(connect=retry.connect_timeout_seconds, read=retry.read_timeout_seconds)

    def connect(self, offset: int, version: str | None) -> Body:
        """The file from an offset on, in bytes; of the version (ETag) that was begun with, where there is one."""
        # Identity: what is counted against Content-Length must be what is written on the wire.
        headers = {"Accept-Encoding": "identity", "User-Agent": "laion-lakehouse (crawl source)"}
        headers |= self._address.authorization
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if version is not None and not version.startswith("W/"):
                headers["If-Range"] = version
        pool = urllib3.PoolManager(timeout=self._timeout, retries=_NO_RETRIES)
        try:
            response = pool.request("GET", self._url, headers=headers, preload_content=False, decode_content=False)
        # What urllib3 raises names the url with its query: nothing of it may appear in a stack trace.
        except ValueError as error:  # of urllib3, and of the standard library about a redirect's address
            reason = self._address.hide(str(error))
            raise SourceUnreachable(f"{self._name} is no address that can be asked: {reason}") from None
        except urllib3.exceptions.HTTPError as error:
            raise TransientFailure(self._address.hide(_reason(error))) from None
        try:
            return self._body(response, offset, version)
        except BaseException:
            response.close()
            raise

    def _body(self, response: urllib3.BaseHTTPResponse, offset: int, version: str | None) -> Body:
        status = response.status
        if status_can_pass(status):
            raise TransientFailure(f"HTTP {status}", _retry_after_seconds(response.headers.get("Retry-After")))
        if status in (404, 410):
            raise SourceNotFound(f"{self._name} does not exist (HTTP {status})")
        if status == 416:
            return _end_of_file(response, offset, self._name)
        if status not in (200, 206):
            raise self._refusal(response)
        etag = response.headers.get("ETag")
        if status == 206:
            start, total = _content_range(response.headers.get("Content-Range"))
            if start != offset:
                raise TransferError(f"{self._name}: asked for bytes from {offset:,}, was sent bytes from {start}")
            return _HttpBody(response, total, etag)
        if offset and version is not None and etag is not None and etag != version:
            raise TransferError(f"{self._name} changed while it was read; read it again from the start")
        length = response.headers.get("Content-Length")
        body = _HttpBody(response, int(length) if length is not None and length.isdigit() else None, etag)
        body.discard(offset)  # a server without range requests sends everything again
        return body

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> SourceUnreachable:
        """What a status that brings nothing comes to. A bucket behind HTTP answers as S3 does, code and all."""
        told = f"{self._name} is refused (HTTP {response.status})"
        if response.status == 403:
            body = b""
            with suppress(urllib3.exceptions.HTTPError, OSError):  # what breaks here tells no more
                body = response.read(_DISCARD_BYTES, decode_content=False)
            code = _S3_CODE.search(body)
            if code is None or code[1] == b"AccessDenied":
                return SourceRefused(f"{told}: {ABSENT_OR_REFUSED}; is the source right, is access allowed?")
            told = f"{told}, {code[1].decode()}"
        return SourceUnreachable(f"{told}; is the source right, is access allowed?")


class _HttpBody:
    def __init__(self, response: urllib3.BaseHTTPResponse, total_bytes: int | None, version: str | None) -> None:
        self._response = response
        self.total_bytes = total_bytes
        self.version = version

    def read(self, size: int) -> bytes:
        try:
            return self._response.read(size, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientFailure(_reason(error)) from error

    def discard(self, count: int) -> None:
        while count > 0:
            data = self.read(min(count, _DISCARD_BYTES))
            if not data:
                raise TransientFailure("the connection ended before the point that had been reached")
            count -= len(data)

    def close(self) -> None:
        # Not release_conn: nobody reads what is left of a broken or abandoned body. A whole one goes with its pool.
        self._response.close()


class _NoMoreBytes:
    """The body of a request from the file's last byte on."""

    version: str | None = None

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes: int | None = total_bytes

    def read(self, size: int) -> bytes:
        del size  # whatever is asked for, there is nothing
        return b""

    def close(self) -> None:
        return


def _end_of_file(response: urllib3.BaseHTTPResponse, offset: int, url: str) -> Body:
    """Status 416: right if the file ends exactly where we are, and the file has shrunk otherwise."""
    _, total = _content_range(response.headers.get("Content-Range"))
    response.close()
    if total is not None and total != offset:
        raise TransferError(
            f"{url} has {total:,} bytes, fewer than the {offset:,} that were read; it changed meanwhile"
        )
    return _NoMoreBytes(offset)


def _content_range(value: str | None) -> tuple[int | None, int | None]:
    """First byte and total size out of ``bytes 5-9/10``, ``bytes 5-9/*`` or ``bytes */10``; null where not said."""
    unit, _, rest = (value or "").partition(" ")
    span, _, total = rest.partition("/")
    start = span.partition("-")[0]
    if unit.lower() != "bytes":
        return None, None
    return int(start) if start.isdigit() else None, int(total) if total.isdigit() else None


def _retry_after_seconds(value: str | None) -> float | None:
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason  # we try again ourselves, so nothing was retried
    return f"{type(error).__name__}: {error}"
