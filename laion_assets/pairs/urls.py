"""When two urls name one resource: the canonical form that removals are compared in.

The form is for comparison only: what is published and downloaded is always the url as it was found. It follows
RFC 3986, section 6.2.2 and 6.2.3, and leaves the scheme out, so that a removal of ``https://…`` covers ``http://…``.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote

import idna

_SCHEME = re.compile(r"https?:", re.IGNORECASE)
_ESCAPE_OR_UNSAFE = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/?-]")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORT = re.compile(r":([0-9]*)\Z")
_IDEOGRAPHIC_DOTS = re.compile("[\u3002\uff0e\uff61]")
_DELIMITER = re.compile(r"[/?#@:\[\]]")
_SPACE_AND_CONTROLS = "".join(map(chr, range(0x21)))
_BREAKS = str.maketrans("", "", "\t\r\n")

# The urls whose canonical form SQL can compute by itself: ASCII, without user name, port, escapes, fragment or dot
# segment. About nine in ten are so; the others go through `canonical_url`.
_ORDINARY = (
    r"[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
    r"(?:/[A-Za-z0-9._~!$&''()*+,;=:@/-]*(?:\?[A-Za-z0-9._~!$&''()*+,;=:@/?-]+)?)?"
)


def canonical_url(url: str) -> str:
    """The form in which urls are compared: ``host[:port]/path[?query]``.

    Scheme, user name, default port, fragment and empty query are left out; the host is lower case and in its ASCII
    form (IDNA 2008 with UTS 46 mapping, IDNA 2003 where that fails); dot segments are resolved; characters that need
    no percent escape are unescaped, all others escaped as UTF-8. Anything but http(s) is kept as it is, with its
    scheme. Never raises, whatever the string.

    Args:
        url: An absolute url.
    """
    url = url.strip(_SPACE_AND_CONTROLS).translate(_BREAKS)
    scheme = _SCHEME.match(url)
    if scheme is None:
        return url
    rest = url[scheme.end() :].partition("#")[0].removeprefix("//")
    location, question, query = rest.partition("?")
    authority, slash, path = location.partition("/")
    query = _normal_escapes(query)
    return _canonical_authority(authority) + _canonical_path(slash + path) + (question + query if query else "")


def host_of(canonical: str) -> str:
    """The host within a canonical url: what stands before the path, without the port."""
    return _PORT.sub("", canonical.partition("/")[0])


@lru_cache(maxsize=4096)
def canonical_host(host: str) -> str:
    """A host name or address in the form of canonical urls: lower case, ASCII, no trailing dot, escapes undone."""
    decoded = _without_escapes(host)
    if decoded.startswith("[") and decoded.endswith("]"):
        try:
            return f"[{ipaddress.IPv6Address(decoded[1:-1]).compressed}]"
        except ValueError:
            return decoded.lower()
    name = _IDEOGRAPHIC_DOTS.sub(".", decoded).rstrip(".")
    if name.isascii():
        return name.lower()
    return ".".join(_ascii_label(label) for label in name.split("."))


def canonical_url_sql(url: str, function: str) -> str:
    """A DuckDB expression that equals ``canonical_url``.

    Args:
        url: SQL expression of a url.
        function: Name under which ``canonical_url`` is registered in DuckDB; called only for the urls that need it.
    """
    ordinary = f"regexp_full_match({url}, '{_ORDINARY}') AND NOT contains({url}, '/.')"
    rest = f"substr({url}, instr({url}, '://') + 3)"
    slash = f"instr({rest}, '/')"
    simple = (
        f"CASE {slash} WHEN 0 THEN lower({rest}) || '/'"
        f" ELSE lower(substr({rest}, 1, {slash})) || substr({rest}, {slash} + 1) END"
    )
    return f"CASE WHEN {ordinary} THEN {simple} ELSE {function}({url}) END"


def host_sql(canonical: str) -> str:
    """A DuckDB expression that equals ``host_of``, of an SQL expression of a canonical url."""
    host = f"substr({canonical}, 1, instr({canonical} || '/', '/') - 1)"
    return f"CASE WHEN contains({host}, ':') THEN regexp_replace({host}, ':[0-9]*$', '') ELSE {host} END"


def _canonical_authority(authority: str) -> str:
    host = authority.rpartition("@")[2]
    port = _PORT.search(host)
    if port is None:
        return canonical_host(host)
    number = port[1].lstrip("0")
    return canonical_host(host[: port.start()]) + ("" if number in {"", "80", "443"} else f":{number}")


def _without_escapes(host: str) -> str:
    """A host with its escapes undone, unless they are no UTF-8 or hide a delimiter (which would move its end)."""
    try:
        decoded = unquote(host, errors="strict")
    except UnicodeDecodeError:
        return host
    return host if _DELIMITER.search(decoded) and "%" in host else decoded


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except idna.IDNAError:
        try:
            return label.encode("idna").decode("ascii").lower()
        except UnicodeError:
            return label.lower()


def _normal_escapes(part: str) -> str:
    return _ESCAPE_OR_UNSAFE.sub(_normal_escape, part)


def _normal_escape(found: re.Match[str]) -> str:
    characters = found[0]
    if len(characters) == 3:
        byte = int(characters[1:], 16)
        return chr(byte) if byte in _UNRESERVED else characters.upper()
    return "".join(f"%{byte:02X}" for byte in characters.encode("utf-8", "surrogatepass"))


def _canonical_path(path: str) -> str:
    path = _normal_escapes(path)
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
