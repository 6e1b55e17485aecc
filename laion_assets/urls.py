"""What a web address means: the URL standard (https://url.spec.whatwg.org), in one place for everybody.

Browsers obey it, and so do the pages that Common Crawl reads. The parser is ada's. Whoever resolves a reference,
compares two addresses, or asks a host goes through here, so that what is matched with removals is what is connected to.
"""

import re
from dataclasses import dataclass

import ada_url

_DEFAULT_PORTS = {"http": 80, "https": 443}
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


def resolve_url(reference: str, base: str | None = None) -> str | None:
    """Resolve a reference as a browser does.

    Args:
        reference: The address as written; any text at all.
        base: The absolute address it is resolved against, as written; null where there is none.

    Returns:
        The standard's serialisation without the fragment, whatever the scheme; null where the standard has a failure.
    """
    reference = _scalar(reference)
    try:
        href: str = ada_url.normalize_url(reference) if base is None else ada_url.join_url(_scalar(base), reference)
    except ValueError:
        return None
    return href.partition("#")[0]


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


def _scalar(text: str) -> str:
    """The text as a scalar value string: lone surrogates become U+FFFD, as the standard's callers convert them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
