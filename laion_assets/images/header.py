"""What a picture's first bytes say. Nothing here decodes anything."""

import struct
from dataclasses import dataclass

from laion_assets.images.segments import END_OF_IMAGE, FRAMES, START_OF_SCAN, jpeg_segments

_LARGEST_BMP_HEADER = 124
"""Bytes of a BITMAPV5HEADER."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Format and size a picture declares; both sides are 0 where the format is known but not supported."""

    format: str
    width: int
    height: int

    @property
    def supported(self) -> bool:
        """Whether pictures of this format are decoded: JPEG, PNG, WebP, GIF and BMP are."""
        return self.format in ("jpeg", "png", "webp", "gif", "bmp")


def read_header(body: bytes) -> PictureHeader | None:
    """Read format and size from a picture's header, decoding nothing.

    Returns:
        None where ``body`` is no picture. A picture whose size cannot be read has sides of 0.
    """
    size: tuple[int, int] | None
    if body.startswith(b"\xff\xd8\xff"):
        kind, size = "jpeg", _jpeg_size(body)
    elif body.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, size = "png", _unpack(">II", body, 16) if body[12:16] == b"IHDR" else None
    elif body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        kind, size = "webp", _webp_size(body)
    elif body.startswith((b"GIF87a", b"GIF89a")):
        kind, size = "gif", _unpack("<HH", body, 6)
    elif body.startswith(b"BM") and 12 <= int.from_bytes(body[14:18], "little") <= _LARGEST_BMP_HEADER:
        kind, size = "bmp", _bmp_size(body)  # browsers do not look at the reserved bytes before, which should be 0
    else:
        other = _other_format(body)
        return None if other is None else PictureHeader(other, 0, 0)
    width, height = size or (0, 0)
    return PictureHeader(kind, width, height)


def _unpack(layout: str, body: bytes, offset: int) -> tuple[int, int] | None:
    if offset + struct.calcsize(layout) > len(body):
        return None
    first, second = struct.unpack_from(layout, body, offset)
    return first, second


def _jpeg_size(body: bytes) -> tuple[int, int] | None:
    """Width and height of the first frame header (ITU-T T.81, B.2.2)."""
    for marker, start, _ in jpeg_segments(body):
        if marker in FRAMES:
            size = _unpack(">HH", body, start + 5)
            return None if size is None else (size[1], size[0])
        if marker in (END_OF_IMAGE, START_OF_SCAN):
            return None
    return None


def _webp_size(body: bytes) -> tuple[int, int] | None:
    """Read the canvas of an extended file, or the frame of a simple one (RFC 9649)."""
    chunk = body[12:16]
    if chunk == b"VP8X" and len(body) >= 30:
        return 1 + int.from_bytes(body[24:27], "little"), 1 + int.from_bytes(body[27:30], "little")
    if chunk == b"VP8L" and len(body) >= 25 and body[20] == 0x2F:
        bits = int.from_bytes(body[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if chunk == b"VP8 " and body[23:26] == b"\x9d\x01\x2a":
        size = _unpack("<HH", body, 26)
        return None if size is None else (size[0] & 0x3FFF, size[1] & 0x3FFF)
    return None


def _bmp_size(body: bytes) -> tuple[int, int] | None:
    header_bytes = int.from_bytes(body[14:18], "little")
    size = _unpack("<HH", body, 18) if header_bytes == 12 else _unpack("<ii", body, 18)
    return None if size is None else (abs(size[0]), abs(size[1]))


_OTHER_FORMATS: tuple[tuple[bytes, str], ...] = (
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"\x00\x00\x00\x0cJXL ", "jpeg xl"),
    (b"\xff\x0a", "jpeg xl"),
    (b"\x00\x00\x00\x0cjP  ", "jpeg 2000"),
    (b"8BPS", "photoshop"),
)


def _other_format(body: bytes) -> str | None:
    for magic, name in _OTHER_FORMATS:
        if body.startswith(magic):
            return name
    if body[4:8] == b"ftyp" and body[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"):
        return "avif" if body[8:12] in (b"avif", b"avis") else "heif"
    return None
