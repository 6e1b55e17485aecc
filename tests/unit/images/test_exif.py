import io
import json
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from laion_assets.images.exif import exif_tags


def jpeg_with_exif(**tags: object) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        exif[getattr(ExifTags.Base, name)] = value
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_the_common_exif_tags_are_kept_and_cut():
    found = json.loads(exif_tags(jpeg_with_exif(Make="Acme", Orientation=6, Artist="x" * 5_000)) or "")
    assert found == {"Make": "Acme", "Orientation": "6", "Artist": "x" * 200}


def test_pictures_without_exif_have_none():
    assert exif_tags(jpeg_with_exif()) is None
    assert exif_tags(b"\x89PNG\r\n\x1a\n") is None
    assert exif_tags(b"\xff\xd8") is None


@pytest.mark.filterwarnings("ignore:Tag data larger than file")
def test_forged_exif_costs_no_time():
    entries = b"".join(struct.pack("<HHII", 0x8000 + n, 2, 999_999, 8) for n in range(4_000))
    tiff = b"II*\x00" + struct.pack("<IH", 8, 4_000) + entries + struct.pack("<I", 8)  # the next directory is itself
    body = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    plain = jpeg_with_exif()
    started = time.process_time()
    assert exif_tags(plain[:2] + segment + plain[2:]) is None
    assert time.process_time() - started < 2


@given(st.binary(max_size=400))
def test_any_bytes_for_exif_are_survived(content):
    plain = jpeg_with_exif()
    body = b"Exif\x00\x00" + content
    exif_tags(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:])
