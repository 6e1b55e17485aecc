"""Picture files put together by hand, part by part."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.unit.images.png_decoder import chunk


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def corners(width: int = 24, height: int = 16) -> Image.Image:
    """Red, green, blue and black quarters: no two orientations look alike."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for number, (rows, columns) in enumerate(
        ((slice(height // 2), slice(width // 2)), (slice(height // 2), slice(width // 2, None)),
         (slice(height // 2, None), slice(width // 2)))
    ):  # fmt: skip
        pixels[rows, columns, number] = 255
    return Image.fromarray(pixels)


def tiff(orientation: int, *, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    """EXIF data with one directory: the orientation, and a place (as text, so that a test can look for it)."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, kind, count, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0) + b"GPS: at home"


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with further segments behind its first two bytes."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with further chunks behind its IHDR."""
    return png[:33] + b"".join(chunk(*each) for each in chunks) + png[33:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file (RFC 9649, 2.3)."""
    body = b"WEBP"
    for name, content in chunks:
        body += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def u24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def bmp(samples: bytes, *, header: int = 40, compression: int = 0, alpha: int = 0, reserved: int = 0) -> bytes:
    """A bitmap of 2 x 2 pixels of 32 bits."""
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, alpha)[: max(4 * compression, header - 40)]
    info = struct.pack("<IiiHHIIiiII", header, 2, 2, 1, 32, compression, len(samples), 0, 0, 0, 0) + masks
    info = info.ljust(header, b"\0")
    return b"BM" + struct.pack("<III", 14 + len(info) + len(samples), reserved, 14 + len(info)) + info + samples


def scans(count: int, *, size: int = 16) -> bytes:
    """A progressive JPEG with so many scans: its last one (ITU-T T.81, G.1.2.3: a refinement) again and again."""
    body = saved(Image.new("RGB", (size, size), (9, 90, 200)), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:-2] + body[last:-2] * (count - body.count(b"\xff\xda")) + body[-2:]


def encoded(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (300, 200), color: object = 0) -> bytes:
    """A picture of one colour, black where none is given."""
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()


def photograph(rng: np.random.Generator, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """Clouds of colour on all scales, with the spectrum of a photograph."""
    import cv2

    picture = np.zeros((height, width, 3), np.float32)
    for octave in range(7):
        cells = rng.standard_normal((2**octave + 1, 2**octave + 1, 3)).astype(np.float32)
        picture += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    picture = (picture - picture.mean()) / picture.std() * rng.uniform(35, 60) + rng.uniform(90, 160)
    return np.clip(picture, 0, 255).astype(np.uint8)
