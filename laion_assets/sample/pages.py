"""Web pages: what one is, its HTML, and what Common Crawl's WAT files say about that HTML.

The WAT metadata is read back from the finished HTML with the standard library's parser, so that it describes what was
published and not what was meant.
"""

import html
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Literal

from laion_assets.sample.prose import PROSE

Damage = Literal[
    "length_too_long", "length_too_short", "clipped", "corrupt",
    "not_json", "odd_types", "invalid_utf8", "lone_surrogate",
]  # fmt: skip
"""What is wrong with a page's record in the WAT file.

`length_too_long`, `length_too_short`, `clipped` and `corrupt` (flipped bytes inside the gzip member) spoil the page's
record in the WARC file too; the others concern the WAT's JSON alone.
"""

TRANSPORT_DAMAGE: frozenset[Damage] = frozenset({"length_too_long", "length_too_short", "clipped", "corrupt"})


@dataclass(frozen=True, slots=True)
class ImageTag:
    """An `<img>` of a page."""

    src: str
    alt: str | None = None
    """None leaves the attribute out; the empty string is written as such."""
    more: str = ""
    """Further attributes, as they stand in the HTML."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page of a crawl: either finished `html`, or the `images` from which it is made."""

    url: str
    html: str | None = None
    """The whole document. None: a page is written around `images`."""
    images: Sequence[ImageTag] = ()
    title: str | None = None
    language: str = "en"
    """Language of the words around the pictures."""
    base: str | None = None
    """`href` of a `<base>` element."""
    charset: str = "utf-8"
    """Encoding of the response; characters it lacks are written as references."""
    declared_in: Literal["header", "meta"] = "header"
    """Where the response says so."""
    content_type: str = "text/html"
    damage: Damage | None = None

    def document(self) -> str:
        """The page's HTML (or other text, if `content_type` says so)."""
        return self.html if self.html is not None else write_html(self)

    def body(self) -> bytes:
        """The document as the server sends it."""
        body = self.document().encode(self.charset, "xmlcharrefreplace")
        if self.damage == "invalid_utf8":
            body = body.replace(b"</title>", b" \xc3\x28\xff</title>", 1)
        return body


def write_html(page: Page) -> str:
    """A plausible document around the page's images: head, menu, paragraphs, figures and a footer."""
    prose = PROSE.get(page.language, PROSE["en"])
    mark = zlib.crc32(page.url.encode())
    title = page.title or prose.titles[mark % len(prose.titles)]
    head = [f'<!DOCTYPE html>\n<html lang="{page.language}">\n<head>']
    if page.declared_in == "meta":
        head.append(f'<meta http-equiv="Content-Type" content="text/html; charset={page.charset}">')
    head.append(f"<title>{html.escape(title)}</title>")
    if page.base is not None:
        head.append(f'<base href="{html.escape(page.base)}">')
    head.append('<meta name="viewport" content="width=device-width, initial-scale=1">')
    head.append('<link rel="stylesheet" type="text/css" href="/static/site.css">')
    head.append('<script src="/static/menu.js"></script>\n</head>\n<body>')
    links = "".join(f'<li><a href="{path}">{html.escape(label)}</a></li>' for path, label in prose.menu)
    parts = ["\n".join(head), f"<nav><ul>{links}</ul></nav>", f"<h1>{html.escape(title)}</h1>"]
    for number, image in enumerate(page.images):
        if number % 4 == 0:
            parts.append(f"<p>{html.escape(prose.sentences[(mark + number // 4) % len(prose.sentences)])}</p>")
        parts.append(_figure(image, number, mark + number, prose.caption))
    last = html.escape(prose.sentences[mark % len(prose.sentences)])
    parts.append(f"<footer><p>{last}</p></footer>\n</body>\n</html>\n")
    return "\n".join(parts)


def _figure(image: ImageTag, number: int, mark: int, label: str) -> str:
    """One image in one of the ways pages write them."""
    src = html.escape(image.src)
    more = f" {image.more}" if image.more else ""
    if mark % 11 == 0 and image.alt is not None and "'" not in image.alt:
        alt = image.alt.replace("&", "&amp;")
        return f"<IMG WIDTH=96 ALT='{alt}' SRC=\"{src}\"{more}>"
    text = "" if image.alt is None else f' alt="{html.escape(image.alt)}"'
    if mark % 3 == 0:
        tag = f'<img{text} src="{src}" width="96" height="96" loading="lazy"{more}>'
        return f"<figure>{tag}<figcaption>{label} {number + 1}</figcaption></figure>"
    if mark % 3 == 1:
        return f'<div class="tile"><a href="#n{number}"><img src="{src}"{text}{more} /></a></div>'
    return f'<p><img class="left" src="{src}"{more}{text}></p>'


def html_metadata(document: str) -> dict[str, Any]:
    """What a WAT record calls `HTML-Metadata`: `Head` and `Links` of a document."""
    reader = _MetadataReader()
    reader.feed(document)
    reader.close()
    head: dict[str, Any] = {}
    if reader.title is not None:
        head["Title"] = reader.title
    if reader.base is not None:
        head["Base"] = reader.base
    lists = {"Metas": reader.metas, "Link": reader.head_links, "Scripts": reader.scripts}
    head |= {name: found for name, found in lists.items() if found}
    metadata: dict[str, Any] = {"Head": head}
    if reader.links:
        metadata["Links"] = reader.links
    return metadata


class _MetadataReader(HTMLParser):
    """Collects what ia-web-commons, Common Crawl's extractor, takes from a document."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: str | None = None
        self.base: str | None = None
        self.metas: list[dict[str, str]] = []
        self.head_links: list[dict[str, str]] = []
        self.scripts: list[dict[str, str]] = []
        self.links: list[dict[str, str]] = []
        self._inside_title = False
        self._anchor: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a WAT record says of a tag; of an attribute that is given twice the first counts."""
        given = {name: value or "" for name, value in reversed(attrs)}
        if tag == "img" and "src" in given:
            self.links.append({"path": "IMG@/src", "url": given["src"]} | _some(given, "alt", "title"))
        elif tag == "a" and "href" in given:
            self._anchor = {"path": "A@/href", "url": given["href"]} | _some(given, "title", "rel")
            self.links.append(self._anchor)
        elif tag == "link" and "href" in given:
            self.head_links.append({"path": "LINK@/href", "url": given["href"]} | _some(given, "rel", "type"))
        elif tag == "script" and "src" in given:
            self.scripts.append({"path": "SCRIPT@/src", "url": given["src"]} | _some(given, "type"))
        elif tag == "meta" and given:
            self.metas.append(given)
        elif tag == "base" and self.base is None and given.get("href"):
            self.base = given["href"]
        elif tag == "title" and self.title is None:
            self._inside_title, self.title = True, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._anchor = None
        elif tag == "title":
            self._inside_title = False

    def handle_data(self, data: str) -> None:
        if self._inside_title and self.title is not None:
            self.title += data
        elif self._anchor is not None and data.strip():
            self._anchor["text"] = self._anchor.get("text", "") + data.strip()


def _some(given: dict[str, str], *names: str) -> dict[str, str]:
    return {name: given[name] for name in names if name in given}
