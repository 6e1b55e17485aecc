"""Patterns of paths as robots.txt, tdmrep.json and ai.txt write them: ``*`` for anything, ``$`` for the end.

Source: RFC 9309, sections 2.2.2 and 2.2.3.
"""

import re
from urllib.parse import quote, unquote_to_bytes

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_KEPT = "/*$?=&;:@!',()+~"


def path_of(url: str) -> str:
    """Path and query of an absolute url, as patterns are compared with them; always begins with a slash."""
    rest = url.split("#", 1)[0].partition("://")[2]
    at = re.search(r"[/?\\]", rest)
    path = "" if at is None else rest[at.start() :]
    return _comparable(path if path.startswith("/") else f"/{path}")


def matches(pattern: str, path: str) -> bool:
    """Whether a path (of ``path_of``) is one that a pattern names: one that begins like it, unless it ends with ``$``.

    Takes time in proportion to the lengths of both, whatever the pattern.
    """
    pattern = _comparable(pattern)
    closed = pattern.endswith("$")
    first, *rest = (pattern[:-1] if closed else pattern).split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    last = rest.pop() if closed and rest else None
    for piece in rest:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    if not closed:
        return True
    return at == len(path) if last is None else len(path) - at >= len(last) and path.endswith(last)


def length(pattern: str) -> int:
    """By what the most specific of several patterns is told: its octets."""
    return len(_comparable(pattern))


def _comparable(text: str) -> str:
    """What needs no escape unescaped, all else escaped as UTF-8, but escaped stars and dollars left as they are."""

    def plain(escape: re.Match[str]) -> str:
        octet = unquote_to_bytes(escape[0])
        return octet.decode() if octet.isalnum() or octet in (b"-", b".", b"_", b"~") else escape[0].upper()

    return _ESCAPE.sub(plain, quote(text, safe=f"{_KEPT}%"))
