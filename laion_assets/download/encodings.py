"""Content encodings, undone within bounds and to their end (RFC 9110, section 8.4.1).

Bodies come as they were sent: libcurl takes a gzip body that was cut short for whole, and knows one member alone.
"""

import contextlib
import re
import zlib
from collections.abc import Iterable

import pyarrow as pa

from laion_assets.download.failures import Failure, FetchFailed

_MOST_CODINGS = 5
_STREAMS = {"gzip": "gzip", "x-gzip": "gzip", "br": "brotli", "zstd": "zstd"}
_BEGINNINGS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "brotli": b""}
_AWS_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=[0-9a-f]*)?\r\n")


def undo_encodings(body: bytes, headers: Iterable[str], max_bytes: int) -> bytes:
    """The content behind the codings that ``Content-Encoding`` lines name, the last one undone first.

    Args:
        body: the bytes as they came.
        headers: the values of the header's lines, in order.
        max_bytes: most bytes that any step may give.

    Raises:
        FetchFailed: too_large; connect (again) where a stream stops before its end or is damaged; not_an_image where
            the bytes are not of the coding at all; protocol where a coding is not known.
    """
    codings = [coding.strip().lower() for coding in ",".join(headers).split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity", "none")]
    if len(codings) > _MOST_CODINGS:
        raise FetchFailed(Failure.PROTOCOL, f"{len(codings)} content encodings")
    for coding in reversed(codings):
        if coding in _STREAMS:
            if not body:
                raise FetchFailed(Failure.CONNECT, f"{coding} encoding of nothing", again=True)
            body = _decompressed(body, _STREAMS[coding], max_bytes)
        elif coding == "deflate":
            body = _inflated(body, max_bytes)
        elif coding == "aws-chunked":
            body = _joined(body)
        else:
            raise FetchFailed(Failure.PROTOCOL, f"content encoding {coding[:20]!r}")
        if len(body) > max_bytes:
            raise FetchFailed(Failure.TOO_LARGE, f"more than {max_bytes} bytes")
    return body


def _decompressed(body: bytes, coding: str, max_bytes: int) -> bytes:
    """A stream, or several one after the other, to the end; one byte over ``max_bytes`` says that there are more."""
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), coding) as stream:
            return bytes(stream.read(max_bytes + 1))
    except OSError as error:
        if not body.startswith(_BEGINNINGS[coding]) and not _BEGINNINGS[coding].startswith(body):
            raise FetchFailed(Failure.NOT_AN_IMAGE, f"broken {coding} encoding") from error
        member = zlib.decompressobj(31)
        if coding == "gzip":
            with contextlib.suppress(zlib.error):
                plain = member.decompress(body, max_bytes + 1)
                if member.unused_data and not _BEGINNINGS["gzip"].startswith(member.unused_data[:2]):
                    return plain  # padding after the end, which browsers pass over
        raise FetchFailed(Failure.CONNECT, f"{coding} encoding cut short or damaged", again=True) from error


def _inflated(body: bytes, max_bytes: int) -> bytes:
    """A zlib stream (RFC 1950), or the bare deflate stream (RFC 1951) that some servers send under that name."""
    wrapped = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    stream = zlib.decompressobj(15 if wrapped else -15)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        if wrapped:
            raise FetchFailed(Failure.CONNECT, "deflate encoding damaged", again=True) from error
        raise FetchFailed(Failure.NOT_AN_IMAGE, "broken deflate encoding") from error
    if body and not stream.eof and len(plain) <= max_bytes:
        raise FetchFailed(Failure.CONNECT, "deflate encoding cut short", again=True)
    return plain


def _joined(body: bytes) -> bytes:
    """What was uploaded to S3 in signed chunks: most stores give the plain bytes back, some the chunks."""
    parts: list[bytes] = []
    position = 0
    while found := _AWS_CHUNK.match(body, position):
        size = int(found[1], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[found.end() : found.end() + size])
        position = found.end() + size + 2
    if parts:
        raise FetchFailed(Failure.CONNECT, "aws-chunked encoding cut short", again=True)
    return body
