"""A picture file taken apart: the parts that make its pixels, and what has to be known before they are decoded.

What speaks about a picture (EXIF, XMP, IPTC, comments, thumbnails, a second picture behind the first) is left out of
what is decoded and stored: it may say where somebody lives, and a text of 10 kB can inflate to 8 MB, 900 times. ICC
profiles stay in JPEG and WebP, whose readers need not inflate them.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from laion_assets.images.exif import exif_orientation
from laion_assets.images.header import PictureHeader, read_header
from laion_assets.images.segments import FRAMES, MAX_SEGMENTS, START_OF_SCAN, jpeg_segments

MAX_SCANS: Final = 100
"""Scans of a JPEG. Ordinary progressive ones have 10; each goes over the whole picture and may be 40 bytes long."""


class UndecodablePicture(ValueError):
    """A picture that is broken, or coded in a way that browsers do not show."""


class TooCostlyPicture(UndecodablePicture):
    """A picture that would take more memory or time than one picture may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture file without what only speaks about it."""

    header: PictureHeader
    """Format and size in pixels, as stored: before it is turned upright."""
    body: bytes
    """The file without metadata; the file itself where it has none."""
    orientation: int = 1
    """How EXIF says it has to be turned, 1 to 8; 1 is upright."""
    channels: int = 3
    """Samples a pixel: 1 (grey), 3 or 4."""
    bits: int = 8
    """Bits a sample, 8 or 16; fewer count as 8."""
    transparent: bool = False
    """Whether it is decoded with a fourth sample, opacity."""
    transparent_grey: int | None = None
    """The one sample value of a grey PNG that is transparent, at its own depth."""
    grey_bits: int = 8
    """Bits a sample of a grey PNG, 1 to 16."""
    frame: tuple[int, int, int, int] | None = None
    """Left, top, width and height of a GIF's first frame; what lies outside is transparent."""
    animated: bool = False
    """Whether more frames follow the first."""
    coefficient_bytes: int = 0
    """What a JPEG of several scans needs to hold until the last of them."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        width, height = self.header.width, self.header.height
        return (width, height) if self.orientation < 5 else (height, width)

    @property
    def see_through(self) -> bool:
        """Whether some of it may be transparent."""
        return self.transparent or self.transparent_grey is not None

    @property
    def plain(self) -> bool:
        """Whether every reader makes the same of it: 8 bits, upright, one frame, nothing transparent."""
        return self.bits == 8 and self.orientation == 1 and not self.animated and not self.see_through


def take_apart(body: bytes) -> Picture:
    """Take a picture file apart; nothing is decoded.

    Raises:
        UndecodablePicture: it is no picture, of a format that is not supported, or coded in a way browsers do not show.
        TooCostlyPicture: decoding it would take too long, whatever its size.
    """
    header = read_header(body)
    if header is None:
        raise UndecodablePicture("no picture")
    if not header.supported or not header.width or not header.height:
        raise UndecodablePicture(f"a {header.format} picture {'without a size' if header.supported else ''}".strip())
    take: dict[str, Callable[[PictureHeader, bytes], Picture]] = {
        "jpeg": _jpeg, "png": _png, "webp": _webp, "gif": _gif, "bmp": _bmp
    }  # fmt: skip
    try:
        return take[header.format](header, body)
    except (struct.error, IndexError) as error:
        raise UndecodablePicture(f"a {header.format} picture cut short") from error


class _Kept:
    """The parts of a file that stay, in their order."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._spans = [(0, start)]
        self._seen = 0

    def keep(self, start: int, end: int) -> None:
        if self._spans[-1][1] == start:
            start, _ = self._spans.pop()
        self._spans.append((start, end))

    def count(self) -> None:
        self._seen += 1
        if self._seen >= MAX_SEGMENTS:
            raise TooCostlyPicture(f"a file of {MAX_SEGMENTS} parts or more")

    def joined(self) -> bytes:
        if self._spans == [(0, len(self._body))]:
            return self._body
        return b"".join([self._body[start:end] for start, end in self._spans])


_JFIF, _EXIF, _ICC, _ADOBE = (0xE0, b"JFIF\0"), (0xE1, b"Exif\0\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")
_COMMENT = 0xFE
_JFIF_BYTES = 18
"""Length of a JFIF segment without a thumbnail, marker included."""


def _jpeg(header: PictureHeader, body: bytes) -> Picture:
    """Keep what decodes (ITU-T T.81), and of the application segments JFIF, ICC profile and Adobe's."""
    kept = _Kept(body, 2)
    scans, frame, orientation = 0, -1, 0
    for marker, start, end in jpeg_segments(body):
        kept.count()
        if marker in FRAMES and frame < 0:
            frame = start
        elif marker == START_OF_SCAN:
            scans += 1
        elif 0xE0 <= marker <= 0xEF or marker == _COMMENT:
            named = [
                name for at, name in (_JFIF, _EXIF, _ICC, _ADOBE) if at == marker and body.startswith(name, start + 4)
            ]
            if named == [_EXIF[1]]:
                orientation = orientation or exif_orientation(body[start + 10 : end])
            if not named or named == [_EXIF[1]] or (named == [_JFIF[1]] and end - start != _JFIF_BYTES):
                continue
        kept.keep(start, end)
    if scans > MAX_SCANS:
        raise TooCostlyPicture(f"a JPEG of {scans} scans, over {MAX_SCANS}")
    components, coefficients = _jpeg_frame(body, frame, several_scans=scans > 1)
    return Picture(
        header=header,
        body=kept.joined(),
        orientation=orientation or 1,
        channels=1 if components == 1 else 3,
        coefficient_bytes=coefficients,
    )


def _jpeg_frame(body: bytes, start: int, *, several_scans: bool) -> tuple[int, int]:
    """Components of a frame, and bytes of their coefficients if these have to be held: 16 bits each, padded to MCUs."""
    marker, bits, height, width, components = struct.unpack_from(">xBxxBHHB", body, start)
    if marker > 0xC2 or bits != 8:
        raise UndecodablePicture(f"a JPEG with frame SOF{marker - 0xC0} of {bits} bits, which browsers do not show")
    if not components:
        raise UndecodablePicture("a JPEG without components")
    if not several_scans and marker != 0xC2:
        return components, 0
    factors = [(value >> 4, value & 15) for value in body[start + 11 : start + 10 + 3 * components : 3]]
    across, down = (8 * max((1, *sides)) for sides in zip(*factors, strict=True))
    mcus = -(-width // across) * -(-height // down)
    return components, mcus * sum(64 * h * v for h, v in factors) * 2


_PNG_KEPT = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT")
_INFLATED_UNSEEN_BYTES = 2_000_000
"""Compressed picture data that is decoded as it comes: it inflates to 2 GB at most."""
_SURPLUS_BYTES = 256_000_000


def _png(header: PictureHeader, body: bytes) -> Picture:
    """Keep the critical chunks, and of the others those on colour that are not compressed (PNG, third edition, 5)."""
    kept = _Kept(body, 8)
    bits, colour = body[24], body[25]
    key: bytes | None = None
    data: list[tuple[int, int]] = []
    orientation, animated, at = 0, False, 8
    while at + 12 <= len(body):
        length, name = struct.unpack_from(">I4s", body, at)
        end = at + 12 + length
        content = at + 8, end - 4
        stays = not name[0] & 0x20 or name in _PNG_KEPT
        kept.count()
        if stays and end > len(body):  # OpenCV takes the memory that a chunk claims to have, up to 4 GB
            raise UndecodablePicture("a PNG that ends within a chunk")
        if name == b"IDAT":
            data.append(content)
        elif name == b"tRNS" and key is None:
            key = body[slice(*content)]
        elif name == b"eXIf":
            orientation = orientation or exif_orientation(body[slice(*content)].removeprefix(b"Exif\0\0"))
        animated = animated or name == b"acTL"
        if stays:
            kept.keep(at, end)
        at = end
        if name == b"IEND":
            break
    _check_png_data(header, body, data, bits)
    grey_key = int.from_bytes(key[:2], "big") if key and colour == 0 else None
    return Picture(
        header=header,
        body=kept.joined(),
        orientation=orientation or 1,
        channels=4 if colour >= 4 or (key and colour) else 1 if colour == 0 else 3,
        bits=16 if bits == 16 else 8,
        transparent=colour >= 4 or bool(key and colour),
        transparent_grey=grey_key,
        grey_bits=bits,
        animated=animated,
    )


def _check_png_data(header: PictureHeader, body: bytes, spans: list[tuple[int, int]], bits: int) -> None:
    """Refuse data that go on long after the picture is complete: libpng would inflate all of them."""
    if sum(end - start for start, end in spans) <= _INFLATED_UNSEEN_BYTES:
        return
    most = 2 * header.height * (1 + header.width * 4 * max(1, bits // 8)) + _SURPLUS_BYTES
    inflater = zlib.decompressobj()
    inflated = 0
    try:
        for start, end in spans:
            waiting = body[start:end]
            while waiting and not inflater.eof:
                inflated += len(inflater.decompress(waiting, 1_048_576))
                waiting = inflater.unconsumed_tail
                if inflated > most:
                    raise TooCostlyPicture("a PNG whose data go on after the picture is complete")
    except zlib.error:
        return  # the decoder meets it as well


def _webp(header: PictureHeader, body: bytes) -> Picture:
    """Keep all chunks but EXIF, XMP and unknown ones, and unset the flags of those (RFC 9649, 2.7)."""
    kept = _Kept(body, 12)
    seen: set[bytes] = set()
    orientation, at = 1, 12
    last = min(len(body), 8 + int.from_bytes(body[4:8], "little"))
    while at + 8 <= last:
        name, length = struct.unpack_from("<4sI", body, at)
        end = at + 8 + length + length % 2
        kept.count()
        if name == b"EXIF" and name not in seen:
            orientation = exif_orientation(body[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        seen.add(name)
        if name in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"):
            kept.keep(at, min(end, len(body)))
        at = end
    extended = body[12:16] == b"VP8X"
    flags = body[20] if extended else 0
    animated = bool(flags & 0x02) or b"ANMF" in seen
    alpha = bool(flags & 0x10) or b"ALPH" in seen or (body[12:16] == b"VP8L" and bool(body[24] & 0x10))
    return Picture(
        header=header,
        body=_rewritten_webp(kept.joined(), flags if extended else None),
        orientation=orientation,
        channels=4 if alpha or animated else 3,
        transparent=alpha or animated,  # a first frame need not cover the canvas
        animated=animated,
    )


def _rewritten_webp(body: bytes, flags: int | None) -> bytes:
    """The file with the length that it has, and without the flags of what it has no more."""
    length = struct.pack("<I", len(body) - 8)
    if flags is not None and flags & 0x0C:
        return body[:4] + length + body[8:20] + bytes((flags & ~0x0C,)) + body[21:]
    return body if body[4:8] == length else body[:4] + length + body[8:]


def _gif(header: PictureHeader, body: bytes) -> Picture:
    """Find the first frame (GIF89a, 20). Which of its pixels are transparent is seen when it is decoded."""
    at = 13 + _gif_colours(body[10])
    while body[at] == 0x21:
        at += 2
        while body[at]:
            at += 1 + body[at]
        at += 1
    frame = struct.unpack_from("<HHHH", body, at + 1)
    return Picture(header=header, body=body, channels=4, transparent=True, frame=frame, animated=True)


def _gif_colours(packed: int) -> int:
    """Bytes of a colour table."""
    return 3 << ((packed & 7) + 1) if packed & 0x80 else 0


def _bmp(header: PictureHeader, body: bytes) -> Picture:
    """Only a header that has a mask for it gives transparency a meaning (BITMAPV4HEADER); elsewhere it is a filler."""
    masked = int.from_bytes(body[14:18], "little") >= 56 and body[30] in (3, 6) and any(body[66:70])
    return Picture(header=header, body=body, channels=4 if masked else 3, transparent=masked)
