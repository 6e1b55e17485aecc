"""What a picture's first bytes say, and its perceptual hash. Nothing here decodes a picture of unchecked size."""

import io
import json
import struct
from dataclasses import dataclass
from typing import Any

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))


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
    elif body.startswith(b"BM") and _unpack("<HH", body, 6) == (0, 0):
        kind, size = "bmp", _bmp_size(body)
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
    """Walk the segments up to the frame header (ITU-T T.81, annex B)."""
    at = 2
    while 0 <= (at := body.find(b"\xff", at)) < len(body) - 1:
        marker = body[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0 or marker in _BARE_MARKERS:
            at += 2
        elif marker in _FRAME_MARKERS:
            size = _unpack(">HH", body, at + 5)
            return None if size is None else (size[1], size[0])
        elif marker in (0xD9, 0xDA) or at + 4 > len(body):
            return None
        else:
            at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
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


_EXIF_TAGS = (
    "Make", "Model", "Software", "DateTime", "Orientation", "Artist", "Copyright", "ImageDescription",
)  # fmt: skip
_EXIF_BYTES = 131_072
_EXIF_CHARACTERS = 200


def exif_tags(body: bytes) -> str | None:
    """The common EXIF tags of a JPEG as a JSON object; None where it has none.

    Only the first directory, the tags named here and the first 128 kB are looked at, and values are cut: a forged
    directory can name thousands of values of any length, in a chain without an end.
    """
    from PIL import ExifTags, Image

    if not body.startswith(b"\xff\xd8"):
        return None
    try:
        with Image.open(io.BytesIO(body[:_EXIF_BYTES])) as picture:
            found = picture.getexif()
        values = {name: found.get(getattr(ExifTags.Base, name)) for name in _EXIF_TAGS}
    except Exception:  # noqa: BLE001 - Pillow raises anything on forged tags; a picture may lack them
        return None
    given = {name: str(value).strip()[:_EXIF_CHARACTERS] for name, value in values.items() if value is not None}
    return json.dumps(given) if given else None


def perceptual_hash(encoded: bytes, *, short_side: int) -> int | None:
    """The 64-bit DCT hash of a picture, as a signed integer: like pictures differ in few bits.

    The picture is reduced to 32 x 32 grey values; each bit says whether one of the 8 x 8 lowest coefficients of its
    discrete cosine transform exceeds their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010). Coefficients are rounded first, so that flat pictures give the same bits everywhere.

    Args:
        encoded: a picture file of bounded size, in a format OpenCV reads.
        short_side: length of its shorter side in pixels; a large JPEG is decoded at a half, quarter or eighth of it.

    Returns:
        None where the picture cannot be decoded.
    """
    import cv2
    import numpy as np

    if short_side >= 512:
        mode = cv2.IMREAD_REDUCED_GRAYSCALE_8
    elif short_side >= 256:
        mode = cv2.IMREAD_REDUCED_GRAYSCALE_4
    elif short_side >= 128:
        mode = cv2.IMREAD_REDUCED_GRAYSCALE_2
    else:
        mode = cv2.IMREAD_GRAYSCALE
    grey: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), mode)
    if grey is None:
        return None
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = np.round(cv2.dct(small)[:8, :8].astype(np.float64), 1).ravel()
    bits = np.packbits(low > np.sort(low)[31:33].mean())
    return int.from_bytes(bits.tobytes(), "big", signed=True)
