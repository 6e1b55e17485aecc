"""Small valid inputs of every kind, and the pieces that their formats are made of; real ones where there are any."""

import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import brotli
from PIL import Image

from tests.unit.download.loopback_web import picture
from tests.unit.sources.conftest import WatFiles
from tests.unit.sources.test_warc import response

MARKUP = [
    """<!doctype html><html><head><meta charset="utf-8"><base href="/b/"><title>pictures</title></head><body>
    <img src="1.jpg" alt="a red circle on blue"><p>text</p>
    <img data-src="//x.test/3.png" alt="a green &amp; yellow square"></body></html>""",
    """<picture><source srcset="a.webp 1x, b.webp 2x" type="image/webp"><img src="data:,x" alt="a picture of two sizes">
    </picture><img srcset="c.jpg 100w, d.jpg 200w" src="#" alt="the wider one is taken">""",
    """<svg><base href="x:/"><image href="y.png"/></svg><table><tr><td><a href="http://e.test/?a=1&b=2">
    <img src="pixel.gif" data-original="größe.jpg" alt="größer als &#x1F600; &quot;zehn&quot;"></a></table>""",
    """<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">
    <img src='日本.jpg' alt="日本語の写真です">""",
    """<div><!-- <img src="no.jpg" alt="a comment"> --><script>"<img src=no.jpg>"</script><noscript><img src=yes.jpg
    alt="without script"></noscript><template><img src=no.jpg alt="in a template"></template></div>""",
]
MARKUP_TOKENS = [
    *(b"<", b">", b"</", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&", b"&amp;", b"&#0;", b"&#x110000;"),
    *(b"&NotEqualTilde;", b"<img src=x alt=y>", b"<img ", b" src=", b" alt='", b'"'),
    *(b" srcset='a 1x,b 2w,,c 99999999999999999999w'", b"<picture>", b"<source>", b"</picture>", b"<svg>", b"<math>"),
    *(b"<base href=", b"<base href='http://'>", b"<table>", b"<template>", b"<select>", b"<plaintext>"),
    *(b"<div>" * 600, b"<b><i>" * 60, b"<frameset>", b"\x00", b"<meta charset=utf-16>"),
    *(b"<meta charset=x-user-defined>", b"<meta charset=hz-gb-2312>", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x1b$B", b"{{x}}", b"${x}", b"javascript:", b"data:,"),
]  # fmt: skip

URLS = [
    *(b"http://example.test/a.jpg", b"https://user:secret@example.test:8080/a/../b%20c.jpg?x=1&y=2#z"),
    *(b"//cdn.test/p.png", b"/absolute/path.gif", b"relative.jpg", b"../up.jpg", b"?query", b"#fragment"),
    *(b"images\\photo.jpg", b"///h/p.jpg", b"https:///h/p.jpg", b"http:/h/p.jpg", b"http://[2001:db8::1]:80/x"),
    *(b"http://0x7f.1/x", b"http://ex%61mple.test/", "http://straße.test/ü?ö".encode(), "http://日本.test/".encode()),
    *(b"http://xn--strae-oqa.test./", b"data:image/png;base64,AA", b"mailto:a@b.test", b"http://a.test/%zz%"),
    *(b"HTTP://A.TEST:443/", b"http://h/a.jpg\xc2\xa0", b" http://h/ a "),
]  # fmt: skip
URL_TOKENS = [
    *(b"http:", b"https://", b"//", b"/", b"\\", b"..", b"/./", b"%2e%2e/", b"%00", b"%", b"%e2%80", b"@", b":"),
    *(b":0", b":65536", b"[", b"]", b"[::1]", b"?", b"#", b"\t", b"\n", b"\r\n", b" ", b"\x00", b"\x7f", b"xn--"),
    *(b"xn--a", b"xn--zca", b".", b"127.1", b"0x", b"\xc2\xa0", b"\xe3\x80\x80", b"\xe3\x80\x82", b"\xe2\x80\x8d"),
    *(b"\xe2\x80\x8c", b"\xc3\x9f", b"\xcf\x82", b"\xef\xbd\x81", b"\xf0\x9f\x98\x80", b"\xed\xb0\x80", b"\xff"),
    *(b"javascript:", b"about:blank", b"{{u}}", b"a." * 200, b"%25" * 100, b"/.." * 300, b"a" * 5000, b"file:///"),
    *(b"HTTP:", b"<", b">", b'"', b"^", b"|", b"\xcc\x81"),
]  # fmt: skip

HEAD_TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b":", b"\x00", b"HTTP/1.1 200 OK\r\n", b"HTTP/0.9"),
    *(b"HTTP/2 200\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 100 \r\n\r\n", b"101", b"204", b"206"),
    *(b"301", b"302", b"304", b"401", b"429", b"Content-Length: 1\r\n", b"Content-Length: -1\r\n"),
    *(b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 5, 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: gzip, chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: br\r\n"),
    *(b"Content-Encoding: x, y\r\n", b"Location: /ok\r\n", b"Location: //\r\n", b"Location: \xff\r\n"),
    *(b"Location: http://169.254.169.254/\r\n", b"Location: http://other.test/\r\n"),
    *(b"Location: file:///etc/passwd\r\n", b"Set-Cookie: a=b; Path=/\r\n", b"Retry-After: 99999999\r\n"),
    *(b"Retry-After: Fri, 99 Foo\r\n", b"Connection: close\r\n", b"Content-Range: bytes 0-1/2\r\n"),
    *(b"no colon here\r\n", b"X: " + b"y" * 70_000 + b"\r\n", b"A: b\r\n" * 200),
    *(b"X-Robots-Tag: unavailable_after: 1 Jan 2000\r\n", b"Content-Type: \xff\xfe\r\n"),
    *(b"Strict-Transport-Security: max-age=9\r\n",),
]  # fmt: skip

WARC_TOKENS = [
    *(b"WARC/1.0\r\n", b"WARC/0.17\r\n", b"\r\n\r\n", b"\r\n", b"\n", b":", b"Content-Length: 0\r\n"),
    *(b"Content-Length: -5\r\n", b"Content-Length: 99999999999999999\r\n", b"WARC-Type: revisit\r\n"),
    *(b"WARC-Target-URI: <>\r\n", b"\x1f\x8b\x08\x00", b"WARC-Target-URI: HTTP://X.TEST/\r\n"),
    *(b"Content-Type: text/html\r\n", b"Transfer-Encoding: chunked\r\n", b"filedesc://"),
]  # fmt: skip
JSON_TOKENS = [
    *(b'"', b"\\", b"\\u", b"\\ud800", b"\\u0000", b"{", b"}", b"[" * 600, b"]", b",", b":", b"null", b"true"),
    *(b"1e999", b"-0", b"NaN", b'"Links":[]', b'"path":"IMG@/src"', b'"url":null', b'"alt":5', b'"url":{"a":[]}'),
    *(b"&amp;", b"\xff", b"\xed\xa0\x80"),
]  # fmt: skip


def wat_records(data: Path | None) -> list[bytes]:
    """WAT records, not compressed."""
    made = WatFiles()
    links = [
        {"url": "/1.jpg", "alt": "a red circle on blue"},
        {"url": "http://x.test/größe.jpg", "alt": "größer &amp; schöner"},
        {"url": "data:,", "alt": "nothing at all"},
        {"alt": "no address"},
        {"url": "2.jpg"},
    ]
    envelopes = [made.envelope(links), made.envelope(links[:2], base="http://b.test/c/"), made.envelope([])]
    records = [made.record(json.dumps(envelope, ensure_ascii=False).encode()) for envelope in envelopes]
    records += [made.page("one picture of a cat", "another picture"), made.record(b"{}", kind="warcinfo")]
    return records + _members(data, "wat-generated/*.wat.gz", b"IMG@/src")


def warc_records(data: Path | None) -> list[bytes]:
    """WARC records, not compressed."""
    page = MARKUP[0].encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page), page)
    records = [
        response(page, "Content-Type: text/html; charset=utf-8"),
        response(gzip.compress(page, mtime=0), "Content-Type: text/html", "Content-Encoding: gzip"),
        response(brotli.compress(page), "Content-Type: text/html", "Content-Encoding: br"),
        response(zlib.compress(page), "Content-Type: text/html", "Content-Encoding: deflate"),
        response(chunked, "Content-Type: text/html", "Transfer-Encoding: chunked"),
        response(MARKUP[2].encode("utf-16"), "Content-Type: application/xhtml+xml"),
        response(page),
        response(b"plain", "Content-Type: text/plain"),
        response(b"", kind="request"),
    ]
    return records + _members(data, "warc/*/*.warc.gz", b"<img")


def pages() -> list[bytes]:
    """HTML pages in several encodings."""
    encodings = ("utf-8", "utf-8", "utf-8", "shift_jis", "utf-8")
    return [text.encode(name) for text, name in zip(MARKUP, encodings, strict=True)] + [MARKUP[2].encode("utf-16")]


def pictures(data: Path | None) -> list[bytes]:
    """Small pictures of every format that is decoded, in several modes."""
    found = [picture(format=name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]
    found += [picture(90, 60, format="JPEG", progressive=True), picture(format="WEBP", lossless=True)]
    for mode in ("L", "LA", "RGBA", "P", "1", "I;16"):
        file = io.BytesIO()
        Image.open(io.BytesIO(picture(format="PNG"))).convert("L" if mode == "I;16" else mode).convert(mode).save(
            file, "PNG"
        )
        found.append(file.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    found.append(picture(format="JPEG", exif=exif))
    if data is not None:
        found += [path.read_bytes() for path in sorted((data / "conformance" / "pngsuite").glob("basn*.png"))]
    return found


def with_its_checksums(picture: bytes) -> bytes:
    """A PNG with a true checksum after each chunk, so that the damage lies in what is decoded; others as they are."""
    if not picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return picture
    parts, at = [picture[:8]], 8
    while at + 12 <= len(picture):
        end = at + 8 + int.from_bytes(picture[at : at + 4], "big")
        parts += [picture[at:end], zlib.crc32(picture[at + 4 : end]).to_bytes(4, "big")]
        at = end + 4
    return b"".join(parts)


def answers() -> list[bytes]:
    """Heads of answers with the picture they are about."""
    body = picture()
    length = b"Content-Length: %d\r\n" % len(body)
    heads = [
        b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: image/jpeg\r\n" + length,
        b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n" + length,
        b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\nContent-Type: image/jpeg\nX-Folded: a\n b\n" + length,
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n" % (len(body) - 1, len(body)) + length,
    ]
    return [head + b"\r\n" + (b"" if b"Content-Length: 0" in head else body) for head in heads]


def bodies() -> list[tuple[bytes, bytes]]:
    """Header lines about a body, and the body: pictures in every coding."""
    body = picture()
    squeezed = gzip.compress(body, mtime=0)
    chunked = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 300]), body[at : at + 300]) for at in range(0, len(body), 300)
    )
    return [
        (b"", body),
        (b"Content-Encoding: gzip\r\n", squeezed),
        (b"Content-Encoding: gzip\r\n", gzip.compress(body[:300], mtime=0) + gzip.compress(body[300:], mtime=0)),
        (b"Content-Encoding: deflate\r\n", zlib.compress(body)),
        (b"Content-Encoding: deflate\r\n", zlib.compress(body)[2:-4]),
        (b"Content-Encoding: br\r\n", brotli.compress(body)),
        (b"Content-Encoding: gzip, identity\r\n", squeezed),
        (b"Transfer-Encoding: chunked\r\n", chunked + b"0\r\n\r\n"),
    ]


def _members(data: Path | None, pattern: str, piece: bytes, most: int = 3, largest: int = 40_000) -> list[bytes]:
    """Small records of real files that hold ``piece``, one gzip member each, some of each file."""
    found: list[bytes] = []
    for path in sorted(data.glob(pattern)) if data is not None else ():
        telling = (member for member in _split(path.read_bytes()[:3_000_000]) if piece in member)
        found += itertools.islice((member for member in telling if len(member) <= largest), most)
    return found


def _split(content: bytes) -> Iterator[bytes]:
    while content.startswith(b"\x1f\x8b"):
        inflater = zlib.decompressobj(31)
        try:
            member = inflater.decompress(content)
        except zlib.error:
            return
        if not inflater.eof:
            return
        yield member
        content = inflater.unused_data
