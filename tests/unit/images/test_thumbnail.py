"""Small copies show what the picture shows, whatever file it came in."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from laion_assets.images.thumbnail import thumbnail
from tests.unit.images.files import corners, encoded, saved, tiff
from tests.unit.images.png_decoder import encode_png


def test_thumbnails_are_upright_and_never_white_by_16_bits():
    turned = saved(corners().rotate(90, expand=True), "PNG", exif=b"Exif\0\0" + tiff(6))
    dark = encode_png(np.full((16, 24, 1), 0x3000, np.uint16))
    for body, expected in ((turned, np.asarray(corners(), int)), (dark, 0x30)):
        with Image.open(io.BytesIO(thumbnail(body))) as small:
            assert np.abs(np.asarray(small, int) - expected).mean() < 10


def test_thumbnails_have_the_size_and_format_that_is_asked_for():
    with Image.open(io.BytesIO(thumbnail(encoded(), 30, "WEBP"))) as small:
        assert (small.format, small.size) == ("WEBP", (30, 20))
    with Image.open(io.BytesIO(thumbnail(encoded(size=(12, 8)), 30))) as small:
        assert (small.format, small.size) == ("JPEG", (12, 8))


def test_a_picture_that_would_fill_the_memory_is_not_decoded():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b""))]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    assert thumbnail(bomb) is None
