"""Pages of the real web as a crawl stores them, byte for byte, and the pairs that a browser would see on each."""

import gzip
import zlib
from dataclasses import dataclass, field

import brotli

SITE = "http://pages.test/ordner/seite.html"


@dataclass(frozen=True)
class Response:
    """One ``response`` record."""

    payload: bytes
    """Head and body of the HTTP answer."""
    pairs: dict[str, str] = field(default_factory=dict)
    """Address of the picture by its text: what must come out, and nothing else."""
    page: bool = True
    """Whether it counts as a page; if not it is counted as something else."""
    uri: str = SITE
    """``WARC-Target-URI``."""


def _answer(body: bytes, *lines: str, kind: str | None = "text/html; charset=utf-8") -> bytes:
    head = ["HTTP/1.1 200 OK", *([] if kind is None else [f"Content-Type: {kind}"]), *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def _page(name: str, *, tags: str = "", encoding: str = "utf-8", meta: str = "") -> tuple[bytes, dict[str, str]]:
    """A page with one ordinary picture, and the pair it gives."""
    text = f"a picture on the page {name}"
    html = (
        f'<!doctype html><html><head>{meta}<title>Seite</title></head><body><img src="/{name}.jpg" alt="{text}">{tags}'
    )
    return html.encode(encoding), {text: f"http://pages.test/{name}.jpg"}


def _codings() -> dict[str, Response]:
    """Content codings: RFC 9110, section 8.4.1, and what browsers do with others."""
    found: dict[str, Response] = {}
    codings = ("br", "BR", "x-gzip", "gzip, identity", "two members", "deflate", "raw deflate", "UTF-8", "plain gzip")
    for coding in codings:
        body, pairs = _page(f"coding-{coding.replace(' ', '-').replace(',', '')}")
        raw = zlib.compressobj(wbits=-15)
        written = {
            "br": brotli.compress(body),
            "BR": brotli.compress(body),
            "x-gzip": gzip.compress(body),
            "gzip, identity": gzip.compress(body),
            "two members": gzip.compress(body[:60]) + gzip.compress(body[60:]),
            "deflate": zlib.compress(body),
            "raw deflate": raw.compress(body) + raw.flush(),
        }.get(coding, body)
        named = {"two members": "gzip", "raw deflate": "deflate", "plain gzip": "gzip"}.get(coding, coding)
        found[f"coding {coding}"] = Response(_answer(written, f"Content-Encoding: {named}"), pairs)
    return found


def _types() -> dict[str, Response]:
    """Content types: RFC 9110, section 8.3, the Fetch standard's *extract a MIME type*, and MIME Sniffing."""
    found: dict[str, Response] = {}
    kinds = ("TEXT/HTML", 'text/html;charset="utf-8"', "application/xhtml+xml", "text/html charset=utf-8")
    for number, kind in enumerate(kinds):
        body, pairs = _page(f"type-{number}")
        found[f"type {kind}"] = Response(_answer(body, kind=kind), pairs)
    body, pairs = _page("type-list")
    found["type in a list"] = Response(_answer(body, kind="text/html, text/html; charset=utf-8"), pairs)
    body, pairs = _page("type-twice")
    found["type twice"] = Response(_answer(body, "Content-Type: text/html"), pairs)
    body, pairs = _page("type-missing")
    found["type missing"] = Response(_answer(b"\n  " + body, kind=None), pairs)
    body, pairs = _page("capitals")
    found["target in capitals"] = Response(_answer(body), pairs, uri="HTTP://PAGES.TEST/ordner/seite.html")
    for kind in ("image/png", "text/plain", "application/json", "text/css"):
        found[f"not a page: {kind}"] = Response(_answer(_page("never")[0], kind=kind), page=False)
    return found


def _labels() -> dict[str, Response]:
    """Encodings: the Encoding standard's labels, and the HTML standard, section 13.2.3.2."""
    found: dict[str, Response] = {}
    words = {
        "x-sjis": ("cp932", "桜の花の写真"),
        "windows-874": ("cp874", "ภาพถ่ายแมวดำ"),
        "euc-kr": ("cp949", "검은 고양이 사진"),
        "gb2312": ("gb18030", "黑色小猫照片"),
        "koi8-r": ("koi8-r", "чёрная кошка"),
        "latin1": ("cp1252", "café – “Crème”"),
    }
    for number, (label, (codec, text)) in enumerate(words.items()):
        html = f'<!doctype html><meta charset="{label}"><img src="/label-{number}.jpg" alt="{text}">'.encode(codec)
        found[f"label {label}"] = Response(
            _answer(html, kind="text/html"), {text: f"http://pages.test/label-{number}.jpg"}
        )
    text = "письмо с кошкой"
    html = f'<?xml version="1.0" encoding="windows-1251"?><html><img src="/xml.jpg" alt="{text}">'.encode("cp1251")
    found["encoding of an XML declaration"] = Response(
        _answer(html, kind="text/html"), {text: "http://pages.test/xml.jpg"}
    )
    body, pairs = _page("utf-16")
    found["byte order mark"] = Response(_answer(b"\xff\xfe" + body.decode().encode("utf-16-le")), pairs)
    return found


def _sources() -> dict[str, Response]:
    """Which address an ``<img>`` has: the HTML standard, section 4.8.4, and what lazy-loading scripts leave."""
    found: dict[str, Response] = {}
    nothing = ("#", "", "about:blank", "//:0", "javascript:void(0)", "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
               "/img/placeholder.png", "loading.gif", "/spacer.gif", "/a/blank.gif")  # fmt: skip
    tags, pairs = [], {}
    for number, src in enumerate(nothing):
        text = f"a lazy picture behind {number}"
        tags.append(f'<img src="{src}" data-src="/lazy/{number}.jpg" alt="{text}">')
        pairs[text] = f"http://pages.test/lazy/{number}.jpg"
    found["lazy sources"] = Response(_answer(("<!doctype html>" + "".join(tags)).encode()), pairs)
    itself = "".join(f'<img src="{src}" alt="the page itself">' for src in ("#", "", "#top", "seite.html", SITE))
    found["the page itself"] = Response(_answer(itself.encode()))
    late = '<picture><img src="/first.jpg" alt="a source that comes late"><source srcset="/late.jpg"></picture>'
    empty = '<picture><img alt="a source that comes too late"><source srcset="/too-late.jpg"></picture>'
    found["a source after the picture"] = Response(
        _answer((late + empty).encode()), {"a source that comes late": "http://pages.test/first.jpg"}
    )
    early = '<picture><source srcset="/small.jpg 1x, /large.jpg 2x"><img alt="a source that comes first"></picture>'
    found["a source before the picture"] = Response(
        _answer(early.encode()), {"a source that comes first": "http://pages.test/large.jpg"}
    )
    bases = {
        "empty first": ('<base href=""><base href="http://other.test/">', "http://pages.test/ordner/"),
        "in svg": ('<svg><base href="http://other.test/"></base></svg>', "http://pages.test/ordner/"),
        "without host": ('<base href="http://">', "http://pages.test/ordner/"),
        "with backslashes": ('<base href="\\\\other.test\\b\\">', "http://other.test/b/"),
        "target alone": ('<base target="_blank"><base href="/c/">', "http://pages.test/c/"),
    }
    for number, (name, (tag, base)) in enumerate(bases.items()):
        text = f"a picture below a base {name}"
        body = f'<!doctype html>{tag}<img src="b{number}.jpg" alt="{text}">'.encode()
        found[f"base {name}"] = Response(_answer(body), {text: f"{base}b{number}.jpg"})
    return found


def _costly() -> dict[str, Response]:
    """Pages that keep a parser busy: read within a second, or counted as too costly."""
    return {
        "deeply nested": Response(
            _answer(b"<!doctype html>" + b"<div>" * 80_000 + b"<img src=a.jpg alt=deep>"), page=False
        ),
        "not HTTP at all": Response(b"\x00\x01\x02 nothing of HTTP\r\n\r\n", page=False),
        "an empty body": Response(_answer(b"")),
    }


def responses() -> dict[str, Response]:
    """Every response by name."""
    return {**_codings(), **_types(), **_labels(), **_sources(), **_costly()}
