"""A crawl that nobody prepared for this project: other pictures, other texts, other addresses, another writer.

Written with the standard library, pillow and the builders of the picture tests. It shares nothing with the project but
the layout of Common Crawl.
"""

import gzip
import html
import io
import json
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image

from tests.integration.foreign_answers import answers
from tests.unit.images.files import scans, tiff

Body = tuple[bytes, str]
"""Content and content type."""


@dataclass(frozen=True)
class Link:
    """An image link as its page writes it, and what should become of it."""

    src: str
    alt: str | None
    url: str | None = None
    """The absolute address; None: it is dropped while extracting."""
    text: str | None = None
    """The text; None: as `alt`."""
    drop: str | None = None
    """Why it is dropped while extracting."""
    failures: frozenset[str] = frozenset()
    """What the download may say instead of success; empty: it must succeed."""


def png(width: int, height: int, *, bits: int, colour: int, samples: bytes) -> bytes:
    """A PNG file put together by hand: 16-bit colour is what pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    stride = len(samples) // height
    lines = b"".join(b"\0" + samples[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def pictures() -> dict[str, Body]:
    """Pictures by kind, none like another."""
    rng = random.Random(7)

    def noise(mode: str, width: int, height: int) -> Image.Image:
        return Image.frombytes(
            mode, (width, height), rng.randbytes(width * height * len(Image.new(mode, (1, 1)).tobytes()))
        )

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    smooth = noise("RGB", 6, 5).resize((310, 170), Image.Resampling.BICUBIC)
    frames = [noise("RGB", 7, 7).resize((50, 50)).quantize(64) for _ in range(4)]
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it as it was taken
    exif[0x010E] = "ein Bild – 写真"
    return {
        "noise": (saved(noise("RGB", 120, 90), "PNG"), "image/png"),
        "webp": (saved(smooth, "WEBP", quality=70), "image/webp"),
        "lossless": (saved(noise("RGBA", 64, 64), "WEBP", lossless=True), "image/webp"),
        "progressive": (saved(smooth, "JPEG", progressive=True, quality=88), "image/jpeg"),
        "cmyk": (saved(noise("CMYK", 80, 60).resize((200, 150)), "JPEG", quality=90), "image/jpeg"),
        "grey": (saved(noise("L", 90, 40), "JPEG"), "image/jpg"),
        "palette": (saved(smooth.quantize(17), "GIF"), "image/gif"),
        "animated": (saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80), "image/gif"),
        "alpha": (saved(noise("RGBA", 70, 110), "PNG"), "image/png"),
        "grey_alpha": (saved(noise("LA", 33, 35), "PNG"), "image/png"),
        "bilevel": (saved(noise("L", 100, 100).convert("1"), "PNG"), "application/octet-stream"),
        "palette_transparent": (saved(smooth.quantize(9), "PNG", transparency=3), ""),
        "deep": (png(40, 30, bits=16, colour=2, samples=rng.randbytes(40 * 30 * 6)), "image/png"),
        "deep_grey": (png(41, 31, bits=16, colour=0, samples=rng.randbytes(41 * 31 * 2)), "image/png"),
        "deep_alpha": (png(42, 32, bits=16, colour=6, samples=rng.randbytes(42 * 32 * 8)), "image/png"),
        "deep_grey_alpha": (png(43, 33, bits=16, colour=4, samples=rng.randbytes(43 * 33 * 4)), "image/png"),
        **{f"turned_{n}": (saved(smooth, "JPEG", exif=b"Exif\0\0" + tiff(n)), "image/jpeg") for n in range(1, 9)},
        "turned_png": (saved(smooth, "PNG", exif=tiff(6)), "image/png"),
        "turned_webp": (saved(smooth, "WEBP", exif=tiff(8)), "image/webp"),
        "reserved": (
            saved(noise("RGB", 25, 15), "BMP")[:6] + b"\1\2\3\4" + saved(noise("RGB", 25, 15), "BMP")[10:],
            "image/bmp",
        ),
        "scans": (scans(101), "image/jpeg"),
        "rotated": (saved(smooth, "JPEG", exif=exif.tobytes()), "image/jpeg"),
        "bitmap": (saved(noise("RGB", 30, 20), "BMP"), "image/bmp"),
        "mislabelled": (saved(noise("RGB", 31, 21), "PNG"), "text/html; charset=utf-8"),
        "large": (saved(smooth.resize((1300, 700)), "JPEG", quality=50), "image/jpeg"),
        "panorama": (saved(smooth.resize((900, 12)), "PNG"), "image/png"),
        "one_pixel": (saved(noise("RGB", 1, 1), "PNG"), "image/png"),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>', "image/svg+xml"),
        "cut": (saved(smooth, "JPEG")[:900], "image/jpeg"),
        "nothing": (b"", "image/png"),
        "tiff": (saved(noise("RGB", 20, 20), "TIFF"), "image/tiff"),
    }


BROKEN = {
    "scans": frozenset({"too_costly"}),
    "svg": frozenset({"not_an_image", "decode"}),
    "cut": frozenset({"decode"}),
    "nothing": frozenset({"not_an_image"}),
    "tiff": frozenset({"decode"}),
}
"""Failures of the pictures that no encoder can see."""

CAPTIONS: tuple[tuple[str, str | None], ...] = (
    ("She said \"no\" — and 'yes', `maybe`", None),
    ("Fish &amp; chips &lt;b&gt; &#39;to go&#39; &nbsp; &euro;5 &unknown;", None),
    ("<b>bold</b> <script>alert('x')</script> <!-- not a comment -->", None),
    ("'; DROP TABLE unique_pairs; -- Robert", None),
    ("100% of $HOME \\ {json: [1, 2]} ${x} {{y}} %s %(z)s ?", None),
    ("# not a heading | not | a | table *not bold* [not](a-link) ~~gone~~", None),
    ("first line\nsecond line\r\nthird\tcolumn", "first line second line third column"),
    ("  much \u00a0 space\u2003here \u3000 ", "much space here"),
    ("bell\x07 escape\x1b[31mred\x1b[0m delete\x7f", "bell escape [31mred [0m delete"),
    ("byte 85 of windows-1252\x85 as browsers show it", "byte 85 of windows-1252… as browsers show it"),
    ("zero\u200bwidth and\ufeffmark", "zero width and mark"),
    ("joined: क्‍ष and 👩‍👩‍👧‍👦 and 🏳️‍🌈 flags 🇺🇦", None),
    ("rocket 🚀 and a rare ideograph 𠮷野家", None),
    ("قطة سوداء تنام على سجادة حمراء", None),
    ("חתול שחור \u202eהפוך\u202c על שטיח", None),
    ("Zu\u0308rich cafe\u0301 decomposed and Zürich café composed", None),
    ("Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞", None),
    ("ein schwarzes Kätzchen, das — groß und größer — auf dem Teppich schläft; Straße", None),
    ("ภาพถ่ายแมวสีดำนอนหลับอยู่บนพรม", None),
    ("絨毯の上で眠る黒い猫の写真", None),
    ("ένα μαύρο γατάκι στο χαλί, ψηφιακή φωτογραφία", None),
    ('a,"b",c;d\te', 'a,"b",c;d e'),
    ("NULL", "too_short"),
    ("nan, None, true, -1, 1e999, 0x00", None),
    ("../../../etc/passwd%00.jpg?a=b&c=d#e", None),
    ("word " * 399 + "ends", None),
    ("W" * 2000, None),
    ("W" * 2001, "too_long"),
    ("\u200b \n\t", "no_alt"),
    ("", "no_alt"),
    ("IMG_20240301_120000.JPG", None),
    ("replacement \ufffd character and private \ue000 use", None),
    ("noncharacter \ufdd0 stays", None),
    ("Ångström µ ½ ﬁ ligature ﷺ ㎞²", None),
)
"""Alt texts, each with the text they become where it is another, or with the reason for which they are dropped."""

ANSWERED = png(40, 30, bits=8, colour=2, samples=random.Random(11).randbytes(40 * 30 * 3))
"""The picture below /antwort/: some kilobytes that nothing compresses."""

DROPPED = frozenset({"too_short", "too_long", "no_alt"})


def links(port: int, nowhere: int) -> list[Link]:
    """Every link of the crawl, as pages below http://127.0.0.1:port/fotos/alben/ write them.

    Args:
        port: where the pictures are served.
        nowhere: a port that nobody listens at.
    """
    here, also = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    found: list[Link] = []
    kinds = list(pictures())
    good = [kind for kind in kinds if kind not in BROKEN]
    for kind in kinds:
        found.append(
            Link(f"{here}/{kind}", f"picture of kind {kind}", f"{here}/{kind}", failures=BROKEN.get(kind, frozenset()))
        )
    for number, (alt, becomes) in enumerate(CAPTIONS):
        kind = good[number % len(good)]
        if becomes in DROPPED:
            found.append(Link(f"/{kind}?t={number}", alt, drop=becomes))
        else:
            found.append(Link(f"/{kind}?t={number}", alt, f"{here}/{kind}?t={number}", becomes))
    found.append(Link("/noise?no-alt", None, drop="no_alt"))
    places = [
        # as written, what it means, what may go wrong
        ("/grün 1/noise", f"{here}/gr%C3%BCn%201/noise"),
        ("/gr%C3%BCn%201/noise", f"{here}/gr%C3%BCn%201/noise"),
        ("/%E5%86%99%E7%9C%9F/webp?q=%26%3D&r=a+b", f"{here}/%E5%86%99%E7%9C%9F/webp?q=%26%3D&r=a+b"),
        (
            "/写真/👩‍👧/webp?frage=größe",
            f"{here}/%E5%86%99%E7%9C%9F/%F0%9F%91%A9%E2%80%8D%F0%9F%91%A7/webp?frage=gr%C3%B6%C3%9Fe",
        ),
        ("/%zz/100%/noise", f"{here}/%zz/100%/noise"),
        ("/noise?stück#stück?kein=query", f"{here}/noise?st%C3%BCck"),
        ("/noise?a=b;c=d&e[]=f|g'h", f"{here}/noise?a=b;c=d&e[]=f|g%27h"),
        ("?nur=anfrage", f"{here}/fotos/alben/1.html?nur=anfrage"),
        ("../noise", f"{here}/fotos/noise"),
        ("./../../x/../noise?dots", f"{here}/noise?dots"),
        ("neben/webp", f"{here}/fotos/alben/neben/webp"),
        (f"//localhost:{port}/alpha", f"{also}/alpha"),
        (f"HTTP://LocalHost:{port}/Alpha/alpha", f"http://localhost:{port}/Alpha/alpha"),
        (f"http://user:p%40ss@127.0.0.1:{port}/grey", f"http://user:p%40ss@127.0.0.1:{port}/grey"),
        (f"  {here}/deep?spaces \n", f"{here}/deep?spaces"),
        (f"{here}/ro\ntat\ted/rotated", f"{here}/rotated/rotated"),
        (f"{here}/quote\"'<>`{{}}^/noise", f"{here}/quote%22'%3C%3E%60%7B%7D%5E/noise"),
        (f"{here}//double//slash//noise", f"{here}//double//slash//noise"),
        (f"{here}/umleitung/webp", f"{here}/umleitung/webp"),
        (f"{here}/" + "lang/" * 500 + "noise", f"{here}/" + "lang/" * 500 + "noise"),
        # as the URL standard reads what is not quite an address
        ("neben\\webp?rückwärts", f"{here}/fotos/alben/neben/webp?r%C3%BCckw%C3%A4rts"),
        (f"\\\\127.0.0.1:{port}\\grey?zwei", f"{here}/grey?zwei"),
        (f"///127.0.0.1:{port}/noise?drei", f"{here}/noise?drei"),
        (f"http:///127.0.0.1:{port}/noise?vier", f"{here}/noise?vier"),
        ("http:/noise?fünf", f"{here}/noise?f%C3%BCnf"),
        ("http:noise?sechs", f"{here}/fotos/alben/noise?sechs"),
        ("..//noise?sieben", f"{here}/fotos//noise?sieben"),
        (f"{here}/a/%2e%2E/noise?acht", f"{here}/noise?acht"),
        (f"http://127.0.0.%31:{port}/noise?neun", f"{here}/noise?neun"),
        (f"http://0x7f.1:{port}/noise?zehn", f"{here}/noise?zehn"),
        (f"http://2130706433:{port}/noise?elf", f"{here}/noise?elf"),
        (f"http://１２７。0．0｡１:{port}/noise?zwölf", f"{here}/noise?zw%C3%B6lf"),
        (f"http://LOCAL%48OST:{port}/noise?dreizehn", f"{also}/noise?dreizehn"),
        ("/a/{x}/[y]/noise?klammern", f"{here}/a/%7Bx%7D/[y]/noise?klammern"),
    ]
    found += [Link(src, f"a picture at address {number}", url) for number, (src, url) in enumerate(places)]
    lost = [
        (f"{here}/404/nirgends.png", {"http_4xx"}),
        (f"{here}/500/kaputt.png", {"http_5xx"}),
        (f"{here}/schleife/a", {"other"}),
        (f"http://127.0.0.1:{nowhere}/zu.png", {"connect", "timeout"}),
        ("http://xn--strae-oqa.invalid/bild.png", {"dns", "timeout"}),
        ("http://xn--bcher-kva.invalid:8080/bild.png", {"dns", "timeout"}),
        (f"http://[::1]:{nowhere}/sechs.png", {"connect", "timeout"}),
        ("http://127.0.0.1:25/post.png", {"blocked_address"}),
        (f"{here}/noise%C2%A0", {"http_4xx"}),
        ("http://a..b/zwei-punkte.png", {"other", "dns", "timeout"}),
        (f"http://{'a' * 64}.invalid/x.png", {"other", "dns", "timeout"}),
    ]
    found += [
        Link(src, f"a picture that is lost at {n}", src, failures=frozenset(f)) for n, (src, f) in enumerate(lost)
    ]
    # As written, and as it is asked: hosts by IDNA (UTS 46, transitional processing off), paths in UTF-8.
    spelled = {
        "http://bücher.invalid/bild.png": "http://xn--bcher-kva.invalid/bild.png",
        "http://STRASSE.invalid/ß.png": "http://strasse.invalid/%C3%9F.png",
        "http://straße.invalid/bild.png?2": "http://xn--strae-oqa.invalid/bild.png?2",
        "http://例え.テスト/図.png": "http://xn--r8jz45g.xn--zckzah/%E5%9B%B3.png",
    }
    found += [
        Link(src, f"a picture that nobody has, {n}", url, failures=frozenset({"dns", "timeout"}))
        for n, (src, url) in enumerate(spelled.items())
    ]
    nonsense = [
        ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "data_url"),
        ("javascript:void(0)", "not_http"),
        ("ftp://127.0.0.1/bild.png", "not_http"),
        ("blob:https://example.org/9115d58c", "not_http"),
        ("http://:80/ohne-rechner.png", "bad_url"),
        ("http://[nicht-sechs]/x.png", "bad_url"),
        ("http://127.0.0.1:99999/port.png", "bad_url"),
        ("http://a b/leer.png", "bad_url"),
        ("//:0", "bad_url"),
        ("about:blank", "not_http"),
        ("", "no_url"),
        ("   ", "no_url"),
        ("#", "page_itself"),
        ("/bilder/${bild}.png", "template"),
        ("{{ bild.src }}", "template"),
        ("/%7B%7Bbild%7D%7D.png", "template"),
        (f"{here}/{'x' * 4096}.png", "url_too_long"),
        (f"{here}/spacer.gif", "tracking_pixel"),
    ]
    found += [Link(src, f"never a pair, number {n}", drop=reason) for n, (src, reason) in enumerate(nonsense)]
    found += [
        Link(f"/antwort/{name}", f"a picture answered with {name}", f"{here}/antwort/{name}", failures=answer.failures)
        for name, answer in answers(ANSWERED, port).items()
    ]
    found.append(Link("/keks/noise", "a picture behind a cookie", f"{here}/keks/noise"))
    # One picture under two texts; one pair on two pages; the same picture at two addresses.
    found += [
        Link("/cmyk?zwei", "the first text of a picture", f"{here}/cmyk?zwei"),
        Link("/cmyk?zwei", "the second text of a picture", f"{here}/cmyk?zwei"),
        Link("/cmyk?zwei", "the second text of a picture", f"{here}/cmyk?zwei"),
        Link(f"{also}/cmyk?zwei", "the first text of a picture", f"{also}/cmyk?zwei"),
    ]
    return found


def handler(served: Mapping[str, Body]) -> type[BaseHTTPRequestHandler]:
    """Serves each picture under any path that ends with its kind."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote_to_bytes(urlsplit("http://x" + self.path).path).decode("utf-8", "replace")
            kind = "noise" if path.endswith(".html") else path.rpartition("/")[2]
            if path.startswith("/antwort/"):
                self.wfile.write(answers(ANSWERED, self.server.server_port)[kind].raw)  # type: ignore[attr-defined]
                self.close_connection = True
            elif path.startswith("/keks/") and "Cookie" not in self.headers:
                self._reply(302, b"", "", self.path, ("Set-Cookie", "seen=yes; Path=/keks"))
            elif path.startswith("/500/"):
                self._reply(500, b"", "")
            elif path.startswith("/schleife/"):
                self._reply(302, b"", "", f"/schleife/{kind}a")
            elif path.startswith("/umleitung/"):
                self._reply(301, b"moved", "text/plain", f"/ümleitung ziel/{kind}")
            elif kind not in served:
                self._reply(404, b"<p>not here</p>", "text/html")
            else:
                self._reply(200, *served[kind])

        def _reply(
            self, status: int, body: bytes, content_type: str, location: str = "", *lines: tuple[str, str]
        ) -> None:
            self.send_response(status)
            for name, value in lines:
                self.send_header(name, value)
            if content_type:
                self.send_header("Content-Type", content_type)
            if location:
                self.send_header("Location", location.encode("utf-8").decode("latin-1"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _record(kind: str, uri: str, content_type: str, block: bytes, number: int) -> bytes:
    head = (
        f"WARC/1.1\r\nContent-Length: {len(block)}\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\n"
        f"WARC-Date: 2025-03-01T12:00:{number % 60:02d}.123456Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012d}>\r\nContent-Type: {content_type}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n", compresslevel=9)


def _wat(page_url: str, members: Sequence[Link], number: int) -> bytes:
    listed: list[dict[str, Any]] = [{"path": "A@/href", "text": "weiter", "url": "2.html"}]
    for link in members:
        listed.append({"url": link.src, "path": "IMG@/src"} | ({} if link.alt is None else {"alt": link.alt}))
        listed.append({"path": "IMG@/srcset", "url": "/never", "alt": "another path altogether"})
    envelope = {
        "Payload-Metadata": {
            "HTTP-Response-Metadata": {"HTML-Metadata": {"Links": listed, "Head": {"Title": "Fotos"}}}
        },
        "WARC-Header-Metadata": {"WARC-Target-URI": page_url, "WARC-Type": "response"},
    }
    document = {"Envelope": envelope, "Container": {"Offset": str(number * 1000), "Filename": "seiten.warc.gz"}}
    # Half of the records escape everything beyond ASCII, astral characters as surrogate pairs.
    block = json.dumps(document, ensure_ascii=number % 2 == 0, indent=number % 3 or None).encode()
    return _record("metadata", page_url, "application/json", block, number)


def _warc(page_url: str, members: Sequence[Link], number: int) -> bytes:
    def escaped(text: str) -> str:
        # What a page cannot hold as such is written as a reference, so that the parser gives back the same characters.
        return html.escape(text).replace("\r", "&#13;").replace("\n", "&#10;")

    tags = [
        f'<li><img src="{escaped(link.src)}"' + ("" if link.alt is None else f' alt="{escaped(link.alt)}"') + ">"
        for link in members
    ]
    page = "<!doctype html><meta charset=utf-8><title>Fotos</title><ul>" + "\n".join(tags) + "</ul>"
    body = page.encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n\r\n"
    return _record("response", page_url, "application/http; msgtype=response", head.encode() + body, number)


def write(root: Path, crawl: str, files: Sequence[Sequence[tuple[str, Sequence[Link]]]]) -> None:
    """Write a crawl: for each WAT file its pages, each with its address and links."""
    (root / "crawl-data" / crawl).mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"wat": [], "warc": []}
    for number, pages in enumerate(files):
        for kind, record in (("wat", _wat), ("warc", _warc)):
            path = f"crawl-data/{crawl}/segments/{kind}/teil-{number}.{kind}.gz"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            content = b"".join(record(url, members, 10 * number + n) for n, (url, members) in enumerate(pages))
            # A file of no page says what it is; one of no bytes is an error.
            about = _record("warcinfo", "", "application/warc-fields", b"software: foreign\r\n", number)
            (root / path).write_bytes(content or about)
            lists[kind].append(path)
    _list(root, crawl, lists)


def write_warc(root: Path, crawl: str, responses: Sequence[tuple[str, bytes]]) -> None:
    """Write a crawl of one WARC file and no WAT: of each response its address, and head and body of the answer."""
    path = f"crawl-data/{crawl}/segments/warc/seiten.warc.gz"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    records = [
        _record("response", uri, "application/http; msgtype=response", payload, number)
        for number, (uri, payload) in enumerate(responses)
    ]
    (root / path).write_bytes(b"".join(records))
    _list(root, crawl, {"wat": [], "warc": [path]})


def _list(root: Path, crawl: str, lists: Mapping[str, Sequence[str]]) -> None:
    """Write the lists of a crawl's files, and add it to the list of crawls."""
    for kind, paths in lists.items():
        content = gzip.compress("".join(f"{path}\n" for path in paths).encode())
        (root / "crawl-data" / crawl / f"{kind}.paths.gz").write_bytes(content)
    known = root / "collinfo.json"
    listed = json.loads(known.read_text("utf-8")) if known.exists() else []
    known.write_text(json.dumps([*listed, {"id": crawl}]), "utf-8")
