"""Answers that servers of the real web give to a request for a picture, byte for byte, and what becomes of each."""

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import brotli

OPTED_OUT = frozenset({"opted_out"})
BLOCKED = frozenset({"blocked_address"})
CAN_PASS = frozenset({"connect", "timeout", "protocol"})
"""A transfer or an answer that is broken today may be whole tomorrow."""


@dataclass(frozen=True)
class Answer:
    """What a server sends, and how the url ends."""

    raw: bytes
    """Everything it sends before it closes the connection."""
    failures: frozenset[str] = frozenset()
    """What the download may say; empty: it must succeed, with the picture's own bytes."""


def _whole(body: bytes, *lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", "Content-Type: image/png", *lines]
    if length != -1:
        head.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*head, "", ""]).encode("utf-8") + body


def _chunked(parts: Iterable[bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def _encoded(body: bytes) -> dict[str, Answer]:
    """Content codings (RFC 9110, section 8.4.1) in the spellings that are seen."""
    raw = zlib.compressobj(wbits=-15)
    half = len(body) // 2
    spelled = {
        "gzip": ("gzip", gzip.compress(body)),
        "x-gzip": ("X-GZip", gzip.compress(body)),
        "gzip-identity": ("gzip, identity", gzip.compress(body)),
        "gzip-twice": ("gzip, gzip", gzip.compress(gzip.compress(body))),
        "two-members": ("gzip", gzip.compress(body[:half]) + gzip.compress(body[half:])),
        "deflate": ("deflate", zlib.compress(body)),
        "raw-deflate": ("deflate", raw.compress(body) + raw.flush()),
        "br": ("br", brotli.compress(body)),
        "br-gzip": ("br, gzip", gzip.compress(brotli.compress(body))),
        "aws-chunked": ("aws-chunked", body),
        "utf-8": ("UTF-8", body),
        "none": ("none", body),
        "plain-called-gzip": ("gzip", body),
    }
    answers = {f"encoded-{name}": Answer(_whole(b, f"Content-Encoding: {c}")) for name, (c, b) in spelled.items()}
    for name in ("gzip", "deflate", "br"):
        coding, content = spelled[name]
        cut = _whole(content[: len(content) // 2], f"Content-Encoding: {coding}")
        answers[f"encoded-{name}-cut"] = Answer(cut, CAN_PASS)
    lines = ("Content-Encoding: gzip", "Content-Encoding: br")
    answers["encoded-in-two-lines"] = Answer(_whole(brotli.compress(gzip.compress(body)), *lines))
    return answers


def _heads(body: bytes) -> dict[str, Answer]:
    """Heads as RFC 9110 and 9112 allow them, and as they come."""
    whole = _whole(body)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    bare = whole.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    return {
        "early-hints": Answer(hints + whole),
        "processing": Answer(b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + hints + b"HTTP/1.1 100 Continue\r\n\r\n" + whole),
        "many-lines": Answer(_whole(body, *(f"X-Line-{number}: {number}" for number in range(150)))),
        "long-head": Answer(_whole(body, *(f"Set-Cookie: c{number}={'x' * 3000}" for number in range(30)))),
        "folded": Answer(_whole(body, "X-Folded: one\r\n two\r\n\tthree")),
        "quoted": Answer(_whole(body, 'X-Quoted: "a\\"b, c"', 'Content-Disposition: inline; filename="b, ü;.png"')),
        "bare-line-feeds": Answer(bare + b"\n\n" + body),
        "no-length": Answer(_whole(body, length=-1)),
        "no-reason": Answer(_whole(body, status="200")),
        "http-1.0": Answer(whole.replace(b"HTTP/1.1", b"HTTP/1.0")),
        "chunked": Answer(_whole(b"", "Transfer-Encoding: chunked", length=-1) + _chunked([body[:99], body[99:]])),
        "chunked-trailer": Answer(
            _whole(b"", "Transfer-Encoding: chunked", length=-1) + _chunked([body], b"0\r\nX-Sum: 1\r\n\r\n")
        ),
        "chunked-cut": Answer(_whole(b"", "Transfer-Encoding: chunked", length=-1) + _chunked([body])[:-60], CAN_PASS),
        "too-short": Answer(_whole(body, length=len(body) + 10), CAN_PASS),
        "blank-line-first": Answer(b"\r\n" + whole, CAN_PASS),
        "no-head": Answer(body, CAN_PASS),
        "nothing": Answer(b"", CAN_PASS),
        "switching": Answer(_whole(body, "Upgrade: h2c", status="101 Switching Protocols"), CAN_PASS | {"other"}),
        "endless-head": Answer(_whole(body, *("X-Padding: " + "x" * 60_000 for _ in range(40))), CAN_PASS),
        "line-without-colon": Answer(_whole(body, "this is no header", "X-Robots-Tag: noai"), CAN_PASS | OPTED_OUT),
    }


def _statuses(body: bytes) -> dict[str, Answer]:
    last = len(body) - 1
    date = "Retry-After: Tue, 01 Jan 2199 00:00:00 GMT"
    return {
        "created": Answer(_whole(body, status="201 Created")),
        "accepted": Answer(_whole(body, status="202 Accepted")),
        "non-authoritative": Answer(_whole(body, status="203 Non-Authoritative Information")),
        "whole-range": Answer(_whole(body, f"Content-Range: bytes 0-{last}/{last + 1}", status="206 Partial Content")),
        "part": Answer(
            _whole(body[:200], f"Content-Range: bytes 0-199/{last + 1}", status="206 Partial Content"), CAN_PASS
        ),
        "later": Answer(_whole(b"", date, status="503 Service Unavailable"), frozenset({"http_5xx"})),
        "too-many": Answer(_whole(b"", date, status="429 Too Many Requests"), frozenset({"http_4xx"})),
        "page": Answer(_whole(b"<!doctype html><p>not found"), frozenset({"not_an_image"})),
    }


def _opt_outs(body: bytes) -> dict[str, Answer]:
    directives = (
        "noai",
        "NoImageAI",
        "noml",
        "none",
        '"noai"',
        "noai noimageai",
        "nosnippet; noai",
        "max-image-preview: large, noimageindex",
        "unavailable_after: Tue, 25 Jun 2030 15:00:00 GMT, noindex",
        "laion-lakehouse: noindex",
    )
    answers = {
        f"opted-out-{n}": Answer(_whole(body, f"X-Robots-Tag: {d}"), OPTED_OUT) for n, d in enumerate(directives)
    }
    lines = ("X-Robots-Tag: otherbot: noai", "x-robots-tag:noai")
    answers["opted-out-in-two-lines"] = Answer(_whole(body, *lines), OPTED_OUT)
    answers["opted-out-for-others"] = Answer(_whole(body, "X-Robots-Tag: otherbot: noai, noindex"))
    answers["may-be-shown"] = Answer(_whole(body, "X-Robots-Tag: max-image-preview:none, nosnippet, all"))
    return answers


def _redirects(body: bytes, port: int) -> dict[str, Answer]:
    """Where a redirect leads is judged like an address on a page, before anything is asked there."""

    def moved(location: str, *lines: str, status: str = "302 Found") -> bytes:
        return _whole(b"", f"Location: {location}", *lines, status=status)

    return {
        "moved-here": Answer(moved("/noise?moved")),
        "moved-beside": Answer(moved("created", status="308 Permanent Redirect")),
        "moved-without-scheme": Answer(moved(f"//127.0.0.1:{port}/noise")),
        "moved-with-backslashes": Answer(moved(f"\\\\127.0.0.1:{port}\\noise")),
        "moved-to-a-number": Answer(moved(f"http://2130706433:{port}/noise")),
        "moved-in-capitals": Answer(moved(f"HTTP://LOCALHOST:{port}/noise#part")),
        "moved-to-a-mail-server": Answer(moved("http://127.0.0.1:25/noise"), BLOCKED),
        "moved-to-a-file": Answer(moved("file:///etc/passwd"), BLOCKED),
        "moved-nowhere": Answer(moved("http://"), frozenset({"other"})),
    }


def answers(body: bytes, port: int) -> dict[str, Answer]:
    """Every answer by name.

    Args:
        body: The picture that is answered with, a PNG.
        port: Where ``/noise`` is served.
    """
    return {**_encoded(body), **_heads(body), **_statuses(body), **_opt_outs(body), **_redirects(body, port)}
