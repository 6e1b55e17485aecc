"""A captured HTTP answer: its head read leniently, its body with transfer and content codings undone, within bounds.

Archives keep what a server sent, and some (Common Crawl among them) undo the codings and keep the header lines that
name them. So a coding is undone where the bytes bear it out, and a body that does not carry it is taken as it is.
"""

import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import brotli

MAX_PAGE_BYTES = 8 << 20
"""A page that is longer once decoded is ``page_too_large``. Common Crawl clips what it fetches at 1 MiB, since March
2025 at 5 MiB."""

_MAX_CODINGS = 8
_MAX_CHUNKS = 1 << 18
_MAX_INTERIM_HEADS = 16
_MAX_MEMBERS = 10_000
_FIRST_PIECE_BYTES = 1 << 10
_MAX_PIECE_BYTES = 1 << 16
_GZIP_MARK = b"\x1f\x8b"
_STATUS_LINE = re.compile(rb"(?i:HTTP/[0-9.]*|ICY(?=[ \t]+[0-9]))[ \t]*([0-9]{3}(?![0-9]))?")
_HEAD_END = re.compile(rb"\n[ \t]*\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")
_SPACE = b" \t\r\n\f\0"
_CODINGS_NOT_READ = frozenset({"zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip"})


class BodyError(Exception):
    """The body cannot be had. Its text is the reason it is counted under."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A captured HTTP answer."""

    headers: list[tuple[str, str]]
    """Names in lower case, and values, in their order; a name can come more than once."""
    body: bytes
    """What follows the head, as captured."""

    def values(self, name: str) -> list[str]:
        """The values of a header's lines."""
        return [value for key, value in self.headers if key == name]


def read_answer(payload: bytes) -> Answer | None:
    """Take an answer apart.

    Bare line feeds, folded lines, and lines without a colon (passed over) are accepted, as browsers do; interim answers
    (1xx) before the final one are skipped. What has no status line is all body (HTTP/0.9, RFC 9112 appendix C.1).

    Returns:
        The answer; null where the head has no end.
    """
    for _ in range(_MAX_INTERIM_HEADS):
        payload = payload.lstrip(b"\r\n \t")
        status = _STATUS_LINE.match(payload)
        if status is None:
            return Answer([], payload)
        end = _HEAD_END.search(payload)
        if end is None:
            return None
        head, payload = payload[: end.start()], payload[end.end() :]
        if not (status[1] or b"").startswith(b"1") or not _STATUS_LINE.match(payload.lstrip(b"\r\n \t")):
            break
    return Answer(_headers(head), payload)


def _headers(head: bytes) -> list[tuple[str, str]]:
    found = []
    if b"\n " in head or b"\n\t" in head:
        head = _FOLD.sub(b" ", head)
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found.append((name.strip().decode("latin-1").lower(), _text(value.strip(_SPACE))))
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def decoded_body(answer: Answer) -> bytes:
    """The answer's content: chunks joined, and content codings undone.

    Known are gzip, x-gzip, deflate (with or without zlib's wrapping) and br, in any case, order and number; names that
    are no coding (``identity``, ``none``, ``utf-8``) change nothing, as in browsers. What gzip's mark shows to be
    compressed is, whatever it is called. A coded body that is cut short or damaged gives what can be had of it; gzip
    may have several members, and anything may follow its last or the end of another coding.

    Raises:
        BodyError: ``bad_encoding`` (a coding that browsers know and we do not, and no markup, or nothing can be had of
            the body), ``page_too_large``, ``page_too_costly`` (too many chunks or members).
    """
    body = answer.body
    transfer = _tokens(answer, "transfer-encoding")
    if "chunked" in transfer:
        body = _joined(body)
    named = _tokens(answer, "content-encoding")
    codings = [coding for coding in (*named, *transfer) if coding in _UNDO]
    if len(codings) > _MAX_CODINGS:
        raise BodyError("bad_encoding")
    for coding in reversed(codings) if body else ():
        body = _UNDO[coding](body)
    for _ in range(_MAX_CODINGS):
        if not body.startswith(_GZIP_MARK):
            break
        body = _gzip(body)
    if body.startswith(_GZIP_MARK) or not (_CODINGS_NOT_READ.isdisjoint(named) or _is_plain(body)):
        raise BodyError("bad_encoding")
    if len(body) > MAX_PAGE_BYTES:
        raise BodyError("page_too_large")
    return body


def _tokens(answer: Answer, name: str) -> list[str]:
    """The names in a list header, in lower case and without parameters."""
    values = answer.values(name)
    return [item.partition(";")[0].strip(" \t\"'") for item in ",".join(values).lower().split(",")] if values else []


def _joined(body: bytes) -> bytes:
    """The content of chunks (RFC 9112, section 7.1); the body as it is where it does not begin with one."""
    chunks: list[bytes] = []
    at = 0
    while size := _CHUNK_SIZE.match(body, at):
        length = int(size[1], 16)
        start, end = size.end(), size.end() + length
        if not chunks and length and end < len(body) and not body.startswith((b"\r\n", b"\n"), end):
            return body
        if length == 0:
            break
        chunks.append(body[start:end])
        at = end + (2 if body.startswith(b"\r\n", end) else 1)
        if len(chunks) > _MAX_CHUNKS:
            raise BodyError("page_too_costly")
    else:
        if not chunks:
            return body
    return b"".join(chunks)


def _gzip(body: bytes) -> bytes:
    found = bytearray()
    at = members = 0
    while body.startswith(_GZIP_MARK, at):
        members += 1
        if members > _MAX_MEMBERS:
            raise BodyError("page_too_costly")
        inflater = zlib.decompressobj(31)
        try:
            at = _inflate(inflater, body, at, found)
        except zlib.error:
            break
    return _something(found) if members else _mistaken_for_gzip(body)


def _mistaken_for_gzip(body: bytes) -> bytes:
    """What an undamaged stream of zlib's format holds; the body as it is where it is none."""
    found = bytearray()
    if _is_zlib(body) and not _is_plain(body):
        with suppress(zlib.error):
            _inflate(zlib.decompressobj(15), body, 0, found)
            return bytes(found or body)
    return body


def _is_zlib(body: bytes) -> bool:
    """Whether a body begins with zlib's header (RFC 1950, section 2.2)."""
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _deflate(body: bytes) -> bytes:
    """Zlib's format, as RFC 9110 (section 8.4.1.2) has it, or bare deflate, which servers send and browsers take."""
    if body.startswith(_GZIP_MARK):
        return _gzip(body)
    wrapped = _is_zlib(body)
    for bits in (15, -15) if wrapped else (-15,):
        found = bytearray()
        with suppress(zlib.error):
            _inflate(zlib.decompressobj(bits), body, 0, found)
            if found:
                return bytes(found)
        if found and not _is_plain(body):
            return bytes(found)
    return _something(found) if wrapped else body


def _inflate(inflater: "zlib._Decompress", body: bytes, at: int, found: bytearray) -> int:
    """Add what a stream holds to what was found; at damage, what lies before it.

    Returns:
        Where the stream ends in the body.

    Raises:
        zlib.error: There was damage.
    """
    size = _FIRST_PIECE_BYTES
    while at < len(body) and not inflater.eof:
        piece = body[at : at + size]
        before = inflater.copy()
        try:
            _add(found, inflater.decompress(piece, MAX_PAGE_BYTES + 1 - len(found)))
        except zlib.error:
            for byte in range(len(piece)):
                _add(found, before.decompress(piece[byte : byte + 1], MAX_PAGE_BYTES + 1 - len(found)))
            raise
        at += len(piece) - len(inflater.unused_data)
        size = min(2 * size, _MAX_PIECE_BYTES)
    return at


def _brotli(body: bytes) -> bytes:
    """Brotli has no mark of its own: a body that begins like markup and is no whole stream is not compressed."""
    pieces = [body[at : at + _MAX_PIECE_BYTES] for at in range(0, len(body), _MAX_PIECE_BYTES)]
    found, taken, whole = _unbrotli(pieces)
    if not whole and taken < len(pieces):  # with what is wrong behind it, a piece gives nothing
        good, bad = pieces[:taken], pieces[taken]
        found, _, whole = _unbrotli([*good, *(bad[byte : byte + 1] for byte in range(len(bad)))])
    return body if not whole and _is_plain(body) else _something(found)


def _unbrotli(pieces: list[bytes]) -> tuple[bytearray, int, bool]:
    """Decompress up to the stream's end or to damage.

    Returns:
        What was found, how many pieces were taken in whole, and whether the stream came to its end.
    """
    decompressor = brotli.Decompressor()
    found = bytearray()
    taken = 0
    with suppress(brotli.error):
        for taken, rest in enumerate(pieces):
            while True:
                piece = decompressor.process(rest, output_buffer_limit=_MAX_PIECE_BYTES)
                _add(found, piece)
                if decompressor.is_finished():
                    return found, taken, True
                if not piece and decompressor.can_accept_more_data():
                    break
                rest = b""
        taken = len(pieces)
    return found, taken, False


def _add(found: bytearray, piece: bytes) -> None:
    found += piece
    if len(found) > MAX_PAGE_BYTES:
        raise BodyError("page_too_large")


def _is_plain(body: bytes) -> bool:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE).startswith(b"<")


def _something(found: bytearray) -> bytes:
    """What was found, unless that is nothing."""
    if not found:
        raise BodyError("bad_encoding")
    return bytes(found)


_UNDO: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
}
