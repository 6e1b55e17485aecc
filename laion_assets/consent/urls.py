"""When two urls name one resource: the canonical form that removals are compared in.

The form is for comparison only: what is published and asked is always the address as the URL standard writes it. It
stands on that (``laion_assets.urls``, as the download does), so that a removal stops whatever would be connected to,
and leaves out or writes in one way what makes no difference there, as RFC 3986, section 6.2.2 and 6.2.3, does.
"""

import hashlib
import ipaddress
import re
from functools import lru_cache
from urllib.parse import quote, unquote

from laion_assets.urls import parse_http_url, resolve_url

WRITTEN_FORMS = 4
"""The most texts that ``written_forms`` gives."""

_PORT = re.compile(r":([0-9]*)\Z")
_ESCAPE_OR_UNSAFE = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/?-]")
# What may be escaped without another meaning: in a path all but its delimiter and what ends it, in a query all but the
# marks that part names from values (the escaped plus is a plus, the other one a space).
_SAME_IN_PATH = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@")
_SAME_IN_QUERY = _SAME_IN_PATH - frozenset(b"&=+;")
_NOT_IN_HOST = re.compile(r"[\t\n\r/?#@\\]")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPACE_AND_CONTROLS = "".join(map(chr, range(0x21)))

# Blank or invisible: Unicode's White_Space, and of its Default_Ignorable_Code_Point what has no width.
_BLANKS = (
    *range(0x21), *range(0x7F, 0xA1), 0xAD, 0x061C, 0x1680, 0x180E, *range(0x2000, 0x2010), *range(0x2028, 0x2030),
    *range(0x205F, 0x2070), 0x034F, 0x3000, 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0,
)  # fmt: skip
# As escapes; also the no-break space of Latin-1, and the one that was never decoded.
_LATIN_1 = "(?<!%[89A-F][0-9A-F])%A0"
_TAGS = "%F3%A0%[89AB][0-9A-F]%[89AB][0-9A-F]"  # U+E0000 to U+E0FFF
_BLANK_AT_END = re.compile(f"(?:{'|'.join([*(quote(chr(code)) for code in _BLANKS), _TAGS, _LATIN_1, '&nbsp;'])})\\Z")
_LONGEST_BLANK = len("%F3%A0%80%81")

# The urls whose forms SQL can compute by itself: ASCII, without user name, port, escapes, fragment or dot segment, with
# a host that is no number. About nine in ten are so; the others go through the functions.
_HOST = r"(?:[A-Za-z0-9_-]+\.)*[A-Za-z_][A-Za-z0-9_-]*"
_PATH = r"/[A-Za-z0-9._~!$&''()*+,;=:@/-]*"
_ORDINARY = rf"[Hh][Tt][Tt][Pp][Ss]?://{_HOST}(?:{_PATH}(?:\?[A-Za-z0-9._~!$&''()*+,;=:@/?-]+)?)?"
_SERIALISED = rf"https?://{_HOST.replace('A-Z', '')}{_PATH}(?:\?[A-Za-z0-9._~!$&()*+,;=:@/?-]*)?"
_NOT_ASCII = re.compile(r"(?:%[89A-Fa-f][0-9A-Fa-f])+")


def canonical_url(url: str) -> str:
    """The form in which urls are compared: ``host[:port]/path[?query]``.

    Scheme, user name, default port, fragment and empty query are left out, and blanks at the end of path and query;
    the host is as ``canonical_host`` has it; characters that need no percent escape are unescaped, all others escaped
    as UTF-8. What is no http(s) address is kept as it is, with its scheme. Never raises, whatever the string.

    Args:
        url: An absolute url, however it is spelled.
    """
    try:
        asked = parse_http_url(url)
        path, _, query = asked.target.partition("?")
        trimmed = _normal(path, _SAME_IN_PATH)
        if trimmed.endswith(("/.", "/..")):  # a dot segment now, since a blank stood behind it
            trimmed = parse_http_url(f"http://h{trimmed}").target
    except ValueError:
        return url.strip(_SPACE_AND_CONTROLS)
    port = "" if asked.port in (80, 443) else f":{asked.port}"
    query = _normal(query, _SAME_IN_QUERY)
    return f"{_compared(asked.host)}{port}{trimmed}" + (f"?{query}" if query else "")


def canonical_digest(canonical: str) -> str:
    """What is published of a url that is to be removed: the SHA-256 (hex) of its canonical form in UTF-8.

    It equals DuckDB's ``sha256``. What UTF-8 cannot hold (half a surrogate pair) counts as a question mark.
    """
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


def host_of(canonical: str) -> str:
    """The host within a canonical url: what stands before the path, without the port."""
    return _PORT.sub("", canonical.partition("/")[0])


@lru_cache(maxsize=4096)
def canonical_host(host: str) -> str:
    """A host name or address in the form of canonical urls, empty where the URL standard knows no such host.

    A name is in lower case, in its ASCII form (IDNA as the standard applies it) and without trailing dots; an IPv4
    address is dotted, also where it stands within an IPv6 address; any other IPv6 address is in brackets.
    """
    if _NOT_IN_HOST.search(host):
        return ""
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    try:
        return _compared(parse_http_url(f"http://[{host}]/" if bare else f"http://{host}/").host)
    except ValueError:
        return ""


def canonical_url_sql(url: str, function: str) -> str:
    """A DuckDB expression that equals ``canonical_url``.

    Args:
        url: SQL expression of a url.
        function: Name under which ``canonical_url`` is registered in DuckDB; called only for the urls that need it.
    """
    rest = f"substr({url}, instr({url}, '://') + 3)"
    slash = f"instr({rest}, '/')"
    simple = (
        f"CASE {slash} WHEN 0 THEN lower({rest}) || '/'"
        f" ELSE lower(substr({rest}, 1, {slash})) || substr({rest}, {slash} + 1) END"
    )
    return f"CASE WHEN {_ordinary_sql(url)} THEN {simple} ELSE {function}({url}) END"


def written_forms(url: str) -> list[str]:
    """What a list of hashes may have been made of: a url as given and without fragment, and as it may have been stored.

    Returns:
        One to ``WRITTEN_FORMS`` texts, no two the same: the url; without its fragment; the URL standard's
        serialisation; that with characters outside ASCII as themselves, as pages, LAION and the lakes before write it.
    """
    forms = [url, url.partition("#")[0]]
    stored = resolve_url(url)
    if stored is not None:
        forms += [stored, _NOT_ASCII.sub(_as_characters, stored)]
    return list(dict.fromkeys(forms))


def written_forms_sql(url: str, function: str) -> str:
    """A DuckDB expression that equals ``written_forms``.

    Args:
        url: SQL expression of a url.
        function: Name under which ``written_forms`` is registered in DuckDB; called only for the urls that need it.
    """
    return f"CASE WHEN {_ordinary_sql(url, _SERIALISED)} THEN [{url}] ELSE {function}({url}) END"


def host_sql(canonical: str) -> str:
    """A DuckDB expression that equals ``host_of``, of an SQL expression of a canonical url."""
    host = f"substr({canonical}, 1, instr({canonical} || '/', '/') - 1)"
    return f"CASE WHEN contains({host}, ':') THEN regexp_replace({host}, ':[0-9]*$', '') ELSE {host} END"


def _as_characters(escapes: re.Match[str]) -> str:
    try:
        return unquote(escapes[0], errors="strict")
    except UnicodeDecodeError:
        return escapes[0]


def _ordinary_sql(url: str, pattern: str = _ORDINARY) -> str:
    special = ("/.", "xn--", "&nbsp;")
    return f"regexp_full_match({url}, '{pattern}')" + "".join(
        f" AND NOT contains(lower({url}), '{mark}')" for mark in special
    )


def _compared(host: str) -> str:
    """A host as ``parse_http_url`` gives it, in the form of canonical urls."""
    if ":" in host:
        address = ipaddress.IPv6Address(host)
        inner = address.ipv4_mapped or (ipaddress.IPv4Address(address.packed[12:]) if address in _NAT64 else None)
        return str(inner) if inner is not None else f"[{host}]"
    return canonical_host(host.rstrip(".")) if host.endswith(".") else host


def _normal(part: str, same: frozenset[int]) -> str:
    """A path or query with its escapes written in one way, and without blanks at its end."""

    def normal(found: re.Match[str]) -> str:
        characters = found[0]
        if len(characters) != 3:
            return quote(characters)
        byte = int(characters[1:], 16)
        return chr(byte) if byte in same else characters.upper()

    escaped = _ESCAPE_OR_UNSAFE.sub(normal, part)
    end = len(escaped)
    while blank := _BLANK_AT_END.search(escaped, max(end - _LONGEST_BLANK, 0), end):
        end = blank.start()
    return escaped[:end]
