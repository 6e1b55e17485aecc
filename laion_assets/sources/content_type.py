"""What an answer says its content is, and what it looks like where it says nothing."""

import re

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_UNKNOWN_TYPES = frozenset({"unknown/unknown", "application/unknown", "*/*"})
_KINDS = frozenset(["application", "audio", "font", "image", "message", "model", "multipart", "text", "video"])
_PARTS = re.compile(r"(?:[^,\"]|\"(?:[^\"\\]|\\.)*+(?:\"|\Z))++", re.DOTALL)
_ESSENCE = re.compile(r"[ \t\r\n]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)(?=[ \t\r\n;(]|\Z)")
_CHARSET = re.compile(r"(?i)[; \t\r\n]charset[ \t]*=[ \t]*(?:\"([^\"]*)\"?|'([^']*)'?|([^;\s,\"']+))")

# MIME Sniffing standard, section 7.1: the patterns of HTML, each followed by a space or a >
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*(?:<\?xml[^>]{0,512}>[\t\n\f\r ]*)?"
    rb"(?:<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[ >\t\n\f\r]|<!--)",
    re.IGNORECASE,
)
_SNIFFED_BYTES = 1445  # MIME Sniffing standard, section 5.2
_UTF_16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def content_type(values: list[str]) -> tuple[str | None, str | None]:
    """Extract the type from a message's ``Content-Type`` lines (Fetch standard, *extract a MIME type*).

    The last value that is a type counts, and a charset carries over from one value to the next of the same type. Where
    the standard has a failure because no semicolon stands before ``charset``, what is meant is read.

    Returns:
        The type, without parameters and in lower case, and the charset; null where there is none. A type that says it
        is unknown is none.
    """
    essence = charset = None
    for part in _PARTS.findall(",".join(values)):
        found = _ESSENCE.match(part)
        if found is None or found[1] == "*/*":
            continue
        label = _CHARSET.search(part, found.end())
        named = next((group for group in label.groups() if group), None) if label else None
        charset = named or (charset if found[1].lower() == essence else None)
        essence = found[1].lower()
    return (None if essence in _UNKNOWN_TYPES else essence), charset


def is_html(essence: str) -> bool:
    """Whether a type is HTML's or XHTML's."""
    return essence in _HTML_TYPES


def looks_like_html(content: bytes) -> bool:
    """Whether content of unknown type is HTML, after white space and a byte order mark (MIME Sniffing, section 7.1)."""
    head = content[:_SNIFFED_BYTES]
    if (encoding := _UTF_16_MARKS.get(head[:2])) is not None:
        head = head[2:].decode(encoding, "replace").encode()
    return _HTML.match(head) is not None


def kind(essence: str) -> str:
    """The part of a type before the slash, of those that are registered; ``other`` for the rest."""
    top = essence.partition("/")[0]
    return top if top in _KINDS else "other"
