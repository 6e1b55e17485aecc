"""The image links of an HTML page: a pure function from markup to references and alt texts.

Where this and a WAT of the same page may differ (a WAT knows only the ``src`` of ``<img>``, as Common Crawl's extractor
tokenises it):

- an ``<img>`` without a usable ``src`` counts here if ``data-src`` and its relatives, ``srcset``, or the ``<source>``
  elements of its ``<picture>`` name a picture; in a WAT it has no link, or one that is dropped as ``data_url``,
  ``no_url`` or ``tracking_pixel``;
- an ``<img>`` whose only source is unusable (empty, or missing) is no link here, and a link without url in a WAT;
- here a parser builds the tree browsers build; the extractor reads tags one after another. Markup inside comments,
  scripts and templates, and the old ``<image>``, may be seen by one and not by the other;
- the two may decide differently on the encoding of a page that does not declare one.

Everything else, order included, is the same; ``src`` always wins where it is usable.
"""

import codecs
import re
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

from laion_assets.crawl.urls import TRACKING_PIXEL_PATTERN

_LAZY_SOURCES = (
    "data-src",
    "data-lazy-src",
    "data-original",
    "data-lazy",
    "data-url",
    "data-image",
    "data-echo",
    "data-hi-res-src",
)
_LAZY_SETS = ("data-srcset", "data-lazy-srcset", "data-original-set")
_PLACEHOLDER = re.compile(TRACKING_PIXEL_PATTERN)
_PICTURE_TYPES = re.compile(r"(?i)^image/(?:jpe?g|png|gif|webp|svg\+xml|bmp|avif)\b")
_DESCRIPTOR = re.compile(r"^(\d+(?:\.\d+)?)([wxh])$")
_META_CHARSET = re.compile(rb"(?i)<meta[^>]{0,512}?charset\s*=\s*[\"']?\s*([a-z0-9_:.()-]+)")
_SNIFFED_BYTES = 4096

# What browsers decode under a name, where that is more than the name says; all keys and values are Python's codec
# names.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "johab": "cp949",
    "big5": "cp950",
}
_DECODABLE = re.compile(
    r"utf-8|utf-16(?:-[bl]e)?|cp(?:125\d|866|874|932|949|950)|iso8859-\d+|koi8-[ru]|gb18030|big5hkscs|euc_jp|iso2022_jp|mac-(?:roman|cyrillic)"
)


@dataclass(frozen=True, slots=True)
class ImageLink:
    """One ``<img>`` with a usable source."""

    reference: str
    """Its address as written, not resolved."""
    alt: str | None
    """Its alt text as written (entities decoded); null where it has none."""


@dataclass(frozen=True, slots=True)
class PageLinks:
    """The image links of one page."""

    base: str | None
    """The ``href`` of the page's first ``<base>`` that has one, as written."""
    links: list[ImageLink]
    """In the order of the document."""


def image_links(html: str) -> PageLinks:
    """Find the image links of a page.

    The source of an ``<img>`` is the first usable of: ``src``; the attributes lazy-loading scripts keep it in; the best
    candidate of ``srcset``; the best candidate of its ``<picture>``'s sources. A ``src`` that is a ``data:``
    placeholder or a known spacer gives way to a later one, and stands where there is none. The best candidate is the
    widest, or else the densest.

    Args:
        html: The page, decoded; any text at all is accepted.
    """
    tree = LexborHTMLParser(html)
    base = next((href for node in tree.css("base") if (href := node.attributes.get("href"))), None)
    links = []
    for node in tree.css("img"):
        attributes = node.attributes
        reference = _source(node, attributes)
        if reference is not None:
            links.append(ImageLink(reference, attributes.get("alt")))
    return PageLinks(base, links)


def decode_page(content: bytes, http_charset: str | None) -> str:
    """Decode a page as browsers do: byte order mark, HTTP header, ``<meta>``, else UTF-8 if valid, else windows-1252.

    Args:
        content: The page's bytes.
        http_charset: The ``charset`` of the ``Content-Type`` header, null if it has none.

    Returns:
        The text; bytes that mean nothing in the encoding become U+FFFD.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    declared = _codec(http_charset) if http_charset else None
    if declared is None and (meta := _META_CHARSET.search(content, 0, _SNIFFED_BYTES)):
        declared = _codec(meta[1].decode("ascii"))
        if declared is not None and declared.startswith("utf-16"):
            declared = "utf-8"  # it could not have been read as ASCII otherwise
    if declared is not None:
        return content.decode(declared, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def best_candidate(srcset: str) -> str | None:
    """The largest candidate of a ``srcset``: by width, or else by density; the first of equals.

    Parsed as the HTML standard does (section *Parsing a srcset attribute*): an address ends at white space, and commas
    may be part of it.

    Returns:
        The address as written; null if there is none.
    """
    best, best_size = None, (-1, -1.0)
    rest = srcset
    while rest := rest.lstrip(" \t\n\f\r,"):
        address, *others = re.split(r"[ \t\n\f\r]", rest, maxsplit=1)
        rest = others[0] if others else ""
        descriptors = ""
        if address.endswith(","):
            address = address.rstrip(",")
        else:
            descriptors, _, rest = rest.partition(",")
        size = _size(descriptors)
        if address and not address.lower().startswith("data:") and size > best_size:
            best, best_size = address, size
    return best


def _size(descriptors: str) -> tuple[int, float]:
    """Sorts candidates: a width counts before a density, and no descriptor is density 1."""
    for word in descriptors.split():
        if (match := _DESCRIPTOR.match(word)) and match[2] in "wx":
            return (1, float(match[1])) if match[2] == "w" else (0, float(match[1]))
    return (0, 1.0)


def _source(node: LexborNode, attributes: dict[str, str | None]) -> str | None:
    src = (attributes.get("src") or "").strip()
    if src and not _is_placeholder(src):
        return src
    for name in _LAZY_SOURCES:
        value = (attributes.get(name) or "").strip()
        if value and not _is_placeholder(value) and not value.startswith(("{", "[")):
            return value
    return _best_of_sets(attributes) or _picture_source(node) or src or None


def _picture_source(node: LexborNode) -> str | None:
    """The best candidate of the first ``<source>`` of the surrounding ``<picture>`` whose type we can read."""
    parent = node.parent
    if parent is None or parent.tag != "picture":
        return None
    for source in parent.css("source"):
        attributes = source.attributes
        if (kind := attributes.get("type")) and not _PICTURE_TYPES.match(kind):
            continue
        if best := _best_of_sets(attributes):
            return best
    return None


def _best_of_sets(attributes: dict[str, str | None]) -> str | None:
    candidates = (best_candidate(attributes.get(name) or "") for name in ("srcset", *_LAZY_SETS))
    return next((best for best in candidates if best), None)


def _is_placeholder(src: str) -> bool:
    return src[:5].lower() == "data:" or _PLACEHOLDER.search(src) is not None


def _codec(label: str) -> str | None:
    """Python's codec for an encoding label of the web; null if it is none that browsers decode."""
    try:
        name = codecs.lookup(label.strip(" \t\r\n\"'").lower()).name
    except (LookupError, ValueError):
        return None
    name = _SUPERSETS.get(name, name)
    return name if _DECODABLE.fullmatch(name) else None
