"""The image links of an HTML page: pure functions from bytes to text, and from markup to references and alt texts.

Where this and a WAT of the same page may differ (a WAT knows only the ``src`` of ``<img>``, as Common Crawl's extractor
tokenises it):

- an ``<img>`` without a usable ``src`` counts here if ``data-src`` and its relatives, ``srcset``, or the ``<source>``
  elements of its ``<picture>`` name a picture; in a WAT it has no link, or one that is dropped as ``data_url``,
  ``no_url`` or ``tracking_pixel``;
- a ``src`` that only holds the place until a script puts the picture there (``#``, ``placeholder.png``, …) gives way to
  what the script reads; in a WAT it is the link;
- an ``<img>`` whose only source is empty or missing is no link here, and a link without url in a WAT;
- here a parser builds the tree browsers build; the extractor reads tags one after another. Markup inside comments,
  scripts and templates, and the old ``<image>``, may be seen by one and not by the other;
- the two may decide differently on the encoding of a page.

Everything else, order included, is the same; ``src`` always wins where it is usable.
"""

import codecs
import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from laion_assets.consent.pages import META_HINTS
from laion_assets.sources.decoders import decode
from laion_assets.sources.encoding import BYTE_ORDER_MARKS, sniff
from laion_assets.sources.page_cost import too_costly
from laion_assets.sources.urls import MAX_URL_LENGTH, TEMPLATE_PATTERN, TRACKING_PIXEL_PATTERN

_MAX_IMAGES = 50_000
_LONGEST_NAME = 200  # of a placeholder
_MAX_CANDIDATES = 200_000  # of a page's srcsets

# Where scripts keep the picture: lazysizes, lozad and vanilla-lazyload (data-src), WP Rocket, Jetpack and a3 Lazy Load
# (data-lazy-src), jQuery.lazyload (data-original), Slick (data-lazy), Revolution Slider (data-lazyload), Echo,
# mod_pagespeed, Cloudflare's Mirage (data-cfsrc), Squarespace (data-image), Taobao, Zhihu, LinkedIn, unveil.
_LAZY_SOURCES = (
    "data-src",
    "data-lazy-src",
    "data-original",
    "data-lazy",
    "data-lazyload",
    "data-lazy-load",
    "data-lazyload-src",
    "data-lazysrc",
    "data-cfsrc",
    "data-pagespeed-lazy-src",
    "pagespeed_lazy_src",
    "data-flickity-lazyload",
    "data-ks-lazyload",
    "data-actualsrc",
    "data-delayed-url",
    "data-original-src",
    "data-li-src",
    "data-img-src",
    "data-img-url",
    "lazy-src",
    "data-url",
    "data-image",
    "data-echo",
    "data-hi-res-src",
    "data-src-retina",
)
# Names that also hold flags, numbers and pages.
_AMBIGUOUS = frozenset(
    [
        "data-lazy",
        "data-lazyload",
        "data-lazy-load",
        "data-img-src",
        "data-img-url",
        "data-url",
        "data-image",
        "data-echo",
    ]
)
_LAZY_SETS = ("data-srcset", "data-lazy-srcset", "data-original-set", "data-flickity-lazyload-srcset")
_ALL_SETS = frozenset({"srcset", *_LAZY_SETS})
_ALL_ELSE = _ALL_SETS.union(_LAZY_SOURCES)
_WORTH_PARSING = re.compile(r"<(?:im(?:g|age)|base)", re.IGNORECASE)  # the parser reads <image> as <img>
_HTML_IN_FOREIGN = frozenset(
    ["foreignobject", "foreignObject", "desc", "title", "annotation-xml", "mi", "mo", "mn", "ms", "mtext"]
)
# HTML standard, 13.2.6.4.5: where scripts run, what is in <noscript> is text; and a <base> leaves it where none do.
_NOSCRIPT = re.compile(r"(?i)<noscript\b[^<>]*+>(?:[^<]++|<(?!/?noscript\b|!--))*+</noscript")
_BASE = re.compile(r"(?i)<base\b")  # a <link> may stand in the same places
_MAY_SAY = re.compile("|".join(re.escape(hint.decode()) for hint in META_HINTS), re.IGNORECASE)
_SCREEN_PX = 1_000
_MAX_WIDTH = re.compile(
    r"(?i)(?:max-(?:device-)?width\s{0,9}:|\bwidth\s{0,9}<=?)\s{0,9}(\d{1,6}(?:\.\d{1,6})?)(px|r?em)"
)
_SPACE = " \t\n\f\r"
_TRACKING_PIXEL = re.compile(TRACKING_PIXEL_PATTERN)
_NO_PICTURE = re.compile(
    r"(?i)(?:data|javascript|about|blob|mailto|vbscript|file):|[#?]|//:|(?:https?:)?/*(?:[?#]|$)|\.{1,2}/?$|[{\[]|\$\{"
    r"|/?(?:null|undefined|false|true|yes|no|none|nan|lazy|auto|\d+)$"
)
# What a script fills in: beside what crawl.urls drops as templates, the {width} of lazysizes and its like.
_TEMPLATE = re.compile(TEMPLATE_PATTERN + r"|(?:\{|%7B)\$?[a-z_]\w*(?:\}|%7D)")
_TEMPLATE_HINT = re.compile(r"[{<%]")
_WIDTH = re.compile(r"(?i)(?:\{|%7B)width(?:\}|%7D)")
_WIDTHS = re.compile(r"\s*+\[[\d\s,]{1,1000}\]\s*+")
_PICTURE_NAME = re.compile(
    r"(?i)\.(?:jpe?g|jfif|pjpe?g|png|apng|gif|webp|avif|svg|bmp|tiff?|ico|hei[cf]|jxl)(?![a-z0-9])"
)
_LOADERS = (
    r"(?:ajax-?|pre|lazy)?load(?:er|ing)?|lazyload(?:er|ing)?|placeholder|spinner|spacer|shim|[01]x[01]|1px"
    r"|default-image|no-?image"
)
# Words that name pictures too, with another beside them: white-dress.jpg, sofa-grey.jpg.
_ADJECTIVES = r"lazy|blank|gr[ae]y|transparent|trans|empty|dummy|white|clear|pixel"
_NAME_END = r"\.(?:gif|png|svg|jpe?g|webp|avif)(?:[?#]|$)"
_PLACEHOLDER = re.compile(
    rf"(?i)^(?:(?:img|image|pic|photo|bg|lazy|ajax|default)[_.-]?)?(?:{_LOADERS}|{_ADJECTIVES})"
    rf"(?:[_-]?(?:\d+x\d+|\d+px|{_LOADERS}|{_ADJECTIVES}|img|image|gif|png|icon|bg)|(?<!pixel)[_-]?\d+)*+{_NAME_END}"
    r"|^[a-z]\.gif(?:[?#]|$)"
)
_LIKE_PLACEHOLDER = re.compile(rf"(?i)(?:^|[_.-])(?:{_LOADERS})(?:[_.-][\w.-]*|\d[\w.-]*)?{_NAME_END}")
_PICTURE_TYPES = re.compile(r"(?i)^[ \t\n\f\r]*image/(?:jpe?g|png|gif|webp|svg\+xml|bmp|avif)\b")
_DESCRIPTOR = re.compile(r"^(\d+(?:\.\d+)?|\.\d+)([wxh])$")
_CANDIDATE = re.compile(r"[ \t\n\f\r,]*+([^ \t\n\f\r]++)(?:(?<!,)((?:[^,(]|\([^)]*+(?:\)|\Z))*+))?+")


class PageTooCostlyError(Exception):
    """Parsing the page, or what it names, would take much longer than its length lets expect."""


@dataclass(frozen=True, slots=True)
class ImageLink:
    """One ``<img>`` with a source."""

    reference: str
    """Its address as written, not resolved."""
    alt: str | None
    """Its alt text as written (entities decoded); null where it has none."""


@dataclass(frozen=True, slots=True)
class PageLinks:
    """The image links of one page."""

    base: str | None
    """The ``href`` of the page's first ``<base>`` that has one, outside ``<noscript>``, as written."""
    links: list[ImageLink]
    """In the order of the document."""
    metas: list[tuple[str, str]] = field(default_factory=list)
    """Name and content of its meta elements, where one may say something of its use."""


def image_links(html: str) -> PageLinks:
    """Find the image links of a page.

    The source of an ``<img>`` is the first usable of: ``src``; the attributes lazy-loading scripts keep it in; the best
    candidate of ``srcset``; the best candidate of the ``<source>`` elements before it in its ``<picture>`` (HTML
    standard, *update the source set*), those for narrow screens last. What can never be a picture
    (``data:``, ``javascript:`` or ``about:`` addresses, ``#``, ``//:0``, ``true``, known spacers), templates, and what
    is called as placeholders are give way to a later one; of these alone the likeliest to be a picture stands. The best
    candidate is the widest, or else the densest. The ``{width}`` of a template is the widest of ``data-widths``.

    Args:
        html: The page, decoded; any text at all is accepted.

    Raises:
        PageTooCostlyError: The page is made so that parsing it takes for ever, or names more pictures than any page
            does. Decided by the page alone, before it is parsed.
    """
    if not _WORTH_PARSING.search(html):
        return PageLinks(None, [])
    if too_costly(html):
        raise PageTooCostlyError
    # without events: parsing alone, in linear time, where <select> mirrors an option's content
    tree = LexborHTMLParser(html, options=LexborDocumentOptions.WO_EVENTS)
    nodes = tree.css("img, picture > source, base[href]")
    if len(nodes) > _MAX_IMAGES:
        raise PageTooCostlyError
    base, foreign = None, dict[int, bool]()
    links = []
    of_pictures: dict[int, str] = {}
    narrow: dict[int, str] = {}
    candidates = 0
    for node in nodes:
        attributes = {name: value or "" for name, value in node.attributes.items()}
        if node.tag == "base":
            base = attributes["href"] if base is None and not _is_foreign(node, foreign) else base
            continue
        if not _ALL_SETS.isdisjoint(attributes):
            candidates += sum(attributes[name].count(",") for name in _ALL_SETS if name in attributes)
            if candidates > _MAX_CANDIDATES:
                raise PageTooCostlyError
        parent = node.parent
        picture = parent.mem_id if parent is not None and parent.tag == "picture" else None
        if node.tag == "source":
            if picture is not None and picture not in of_pictures and (best := _source_element(attributes)):
                (narrow if _is_narrow(attributes.get("media", "")) else of_pictures).setdefault(picture, best)
            continue
        of_picture = of_pictures.get(picture, narrow.get(picture)) if picture is not None else None
        if reference := _source(attributes, of_picture):
            links.append(ImageLink(reference, attributes.get("alt")))
    if base is not None and (read := _NOSCRIPT.sub(lambda found: _BASE.sub("<link", found[0]), html)) != html:
        base = image_links(read).base
    return PageLinks(base, links, _metas(tree) if _MAY_SAY.search(html) else [])


def _metas(tree: LexborHTMLParser) -> list[tuple[str, str]]:
    metas = (node.attributes for node in tree.css("meta[name][content]"))
    return [(meta["name"] or "", meta["content"] or "") for meta in metas]


def page_encoding(content: bytes, http_charset: str | None) -> str:
    """The encoding browsers read a page in, by its name in the Encoding standard, in lower case.

    Args:
        content: The page's bytes.
        http_charset: The ``charset`` of the ``Content-Type`` header, null if it has none.

    Returns:
        What ``encoding.sniff`` finds; else UTF-8 where the bytes are that, and windows-1252 where they are not.
    """
    name = sniff(content, http_charset)
    if name is not None:
        return name
    try:
        text, length = codecs.utf_8_decode(content, "strict", False)
    except UnicodeDecodeError:
        return "windows-1252"
    # what was clipped may end within a character
    return "utf-8" if length == len(content) or not text.isascii() else "windows-1252"


def decode_page(content: bytes, encoding: str) -> str:
    """Decode a page as browsers do.

    Args:
        content: The page's bytes.
        encoding: What ``page_encoding`` says of them.

    Returns:
        The text; bytes that mean nothing in the encoding become U+FFFD.
    """
    if encoding == "utf-8":
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    mark = next((mark for mark, name in BYTE_ORDER_MARKS if name == encoding and content.startswith(mark)), b"")
    return decode(content[len(mark) :], encoding)


def _is_foreign(node: LexborNode, known: dict[int, bool]) -> bool:
    """Whether an element is SVG's or MathML's: whether such a root is nearer than a place where HTML begins again."""
    path = []
    answer = False
    parent = node.parent
    while parent is not None and parent.tag is not None:
        if parent.mem_id in known:
            answer = known[parent.mem_id]
            break
        path.append(parent.mem_id)
        if parent.tag in ("svg", "math") or parent.tag in _HTML_IN_FOREIGN:
            answer = parent.tag in ("svg", "math")
            break
        parent = parent.parent
    known.update(dict.fromkeys(path, answer))
    return answer


def best_candidate(srcset: str) -> str | None:
    """The largest candidate of a ``srcset``: by width, or else by density; the first of equals.

    Parsed as the HTML standard does (section *Parsing a srcset attribute*): an address ends at white space, and commas
    may be part of it.

    Returns:
        The address as written; null if there is none.
    """
    best, best_size, template = None, (-1, -1.0), None
    end = 0
    while match := _CANDIDATE.match(srcset, end):
        end = match.end()
        address = match[1].rstrip(",")
        size = _size(match[2] or "")
        if address and size > best_size and not _is_no_picture(address):
            if _is_template(address):
                template = template or address
            else:
                best, best_size = address, size
    return best or template


def _size(descriptors: str) -> tuple[int, float]:
    """Sorts candidates: a width counts before a density, and no descriptor is density 1."""
    for word in descriptors.split():
        if (match := _DESCRIPTOR.match(word)) and match[2] in "wx":
            return (1, float(match[1])) if match[2] == "w" else (0, float(match[1]))
    return (0, 1.0)


def _source(attributes: dict[str, str], of_picture: str | None) -> str | None:
    src = attributes.get("src", "").strip(_SPACE)
    if (of_picture is None and _ALL_ELSE.isdisjoint(attributes)) or (src and not _rank(src)):
        return src or None
    lazy = [value for name in _LAZY_SOURCES if name in attributes and (value := _lazy_source(name, attributes[name]))]
    others = [*lazy, *_best_of_sets(attributes), *([of_picture] if of_picture else [])]
    if widths := _WIDTHS.fullmatch(attributes.get("data-widths", "")):
        widest = str(max(map(int, re.findall(r"\d{1,5}", widths[0])), default=0))
        others += [_WIDTH.sub(widest, other) for other in others if _WIDTH.search(other)]
    best = _likeliest(others)
    if src and (best is None or _rank(src) <= _rank(best)):
        return src
    return best if best is not None and not _is_no_picture(best) else None


def _lazy_source(name: str, value: str) -> str | None:
    """What a lazy-loading script's attribute names, unless it is something else that sites keep under such a name."""
    value = value.strip(_SPACE)
    if name not in _AMBIGUOUS or _PICTURE_NAME.search(value[:MAX_URL_LENGTH]):
        return value or None
    return value if "/" in value and name != "data-url" else None


def _source_element(attributes: dict[str, str]) -> str | None:
    """The best candidate of a ``<source>`` that a browser on a screen would take."""
    if (kind := attributes.get("type")) and not _PICTURE_TYPES.match(kind):
        return None
    if attributes.get("media", "").strip(_SPACE).lower() in ("print", "speech", "not all"):
        return None
    return _likeliest(_best_of_sets(attributes))


def _is_narrow(media: str) -> bool:
    """Whether a media query is for screens narrower than a computer's alone."""
    widths = [_MAX_WIDTH.search(query) for query in media.split(",")]
    return all(found and float(found[1]) * (1 if found[2].lower() == "px" else 16) < _SCREEN_PX for found in widths)


def _best_of_sets(attributes: dict[str, str]) -> list[str]:
    found = (best_candidate(attributes[name]) for name in ("srcset", *_LAZY_SETS) if attributes.get(name))
    return [best for best in found if best]


def _is_no_picture(address: str) -> bool:
    return _NO_PICTURE.match(address) is not None or _TRACKING_PIXEL.search(address[:MAX_URL_LENGTH]) is not None


def _is_template(address: str) -> bool:
    address = address[:MAX_URL_LENGTH]
    return _TEMPLATE_HINT.search(address) is not None and _TEMPLATE.search(address) is not None


def _likeliest(addresses: list[str]) -> str | None:
    """The first of those that are likeliest to be a picture."""
    return min(addresses, key=_rank, default=None)


def _rank(address: str) -> int:
    """Sorts addresses: pictures, names like those of placeholders, placeholders, templates, and what is no picture."""
    if _is_no_picture(address):
        return 4
    if _is_template(address):
        return 3
    if len(address) > MAX_URL_LENGTH:
        return 0
    name = address.rpartition("/")[2][:_LONGEST_NAME]
    if _PLACEHOLDER.search(name):
        return 2
    return 1 if _LIKE_PLACEHOLDER.search(name) else 0
