"""What a web address means: the URL standard (https://url.spec.whatwg.org), in one place for everybody.

Browsers obey it, and so do the pages that Common Crawl reads. The parser is ada's. Whoever resolves a reference,
compares two addresses, or asks a host goes through here, so that what is matched with removals is what is connected to.
"""

import codecs
import re
from dataclasses import dataclass

import ada_url
import webencodings

_DEFAULT_PORTS = {"http": 80, "https": 443}
_STRIPPED = "".join(map(chr, range(0x21)))
_REMOVED = str.maketrans("", "", "\t\n\r")
_UNICODE = frozenset({"utf-8", "utf-16le", "utf-16be", "replacement"})
_ESCAPED_IN_QUERY = frozenset((*range(0x21), *b"\"#<>'", *range(0x7F, 0x100)))
_AS_REFERENCE = "laion_assets.urls.as_reference"
_PORT = re.compile(r":[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """An http(s) address taken apart into what is connected to and what is asked there."""

    href: str
    """The standard's serialisation, without user name, password and fragment."""
    scheme: str
    """``http`` or ``https``."""
    host: str
    """ASCII, lower case: a domain (IDNA applied), a dotted IPv4 address, or an IPv6 address without its brackets."""
    port: int
    """The one that is connected to, the scheme's own where the address names none."""
    target: str
    """Path and query, as they are sent."""

    @property
    def authority(self) -> str:
        """What the ``Host`` header says: the host, in brackets where it is IPv6, and a port that is not the default."""
        named = f"[{self.host}]" if ":" in self.host else self.host
        return named if self.port == _DEFAULT_PORTS[self.scheme] else f"{named}:{self.port}"


def resolve_url(reference: str, base: str | None = None, encoding: str = "utf-8") -> str | None:
    """Resolve a reference as a browser does.

    Args:
        reference: The address as written; any text at all.
        base: The absolute address it is resolved against, as written; null where there is none.
        encoding: That of the page, by a label of the Encoding standard: what is not ASCII in the query of an http(s)
            address is asked for in it. A label that the standard does not know stands for UTF-8.

    Returns:
        The standard's serialisation without the fragment, whatever the scheme; null where the standard has a failure.
    """
    reference = _scalar(reference)
    try:
        href: str = ada_url.normalize_url(reference) if base is None else ada_url.join_url(_scalar(base), reference)
    except ValueError:
        return None
    href = href.partition("#")[0]
    if encoding != "utf-8" and not reference.isascii() and href.startswith(("http:", "https:")):
        asked = _with_query_in(reference, encoding)
        return href if asked is None else resolve_url(asked, base)
    return href


def parse_http_url(url: str) -> HttpUrl:
    """Take an absolute http(s) address apart.

    Raises:
        ValueError: It is none; the message says what it is.
    """
    href = resolve_url(url)
    if href is None:
        raise ValueError("no address in the sense of the URL standard")
    scheme, _, rest = href.partition(":")
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"its scheme {scheme[:20]!r} is not http or https")
    # In a serialisation these marks are escaped wherever they delimit nothing, and a path begins with a slash.
    authority, slash, target = rest.removeprefix("//").partition("/")
    place = authority.rpartition("@")[2]
    host, _, port = place.rpartition(":") if _PORT.search(place) else (place, "", "")
    return HttpUrl(
        href=f"{scheme}://{place}{slash}{target}",
        scheme=scheme,
        host=host.removeprefix("[").removesuffix("]"),
        port=int(port) if port else _DEFAULT_PORTS[scheme],
        target=slash + target,
    )


def _with_query_in(reference: str, encoding: str) -> str | None:
    """A reference whose query is escaped in an encoding: "percent-encode after encoding"; null if UTF-8 does it."""
    found = webencodings.lookup(encoding)
    before, mark, query = reference.strip(_STRIPPED).translate(_REMOVED).partition("#")[0].partition("?")
    if found is None or query.isascii() or found.name in _UNICODE:
        return None
    encoded = found.codec_info.encode(query, _AS_REFERENCE)[0]
    return before + mark + "".join(f"%{byte:02X}" if byte in _ESCAPED_IN_QUERY else chr(byte) for byte in encoded)


def _as_reference(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, as the standard's encoder writes it for urls: ``&#8224;``, escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(f"%26%23{ord(character)}%3B" for character in lacking), error.end


codecs.register_error(_AS_REFERENCE, _as_reference)


def _scalar(text: str) -> str:
    """The text as a scalar value string: lone surrogates become U+FFFD, as the standard's callers convert them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
