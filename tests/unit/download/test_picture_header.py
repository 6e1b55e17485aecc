import io
import json
import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from laion_assets.download.picture import exif_tags, perceptual_hash, read_header
from tests.unit.download.loopback_web import picture


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\x00\x00" + b"\xff\xc0" * 500}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00"}),
    ],
)
def test_the_header_tells_format_and_size(format, options):
    header = read_header(picture(61, 37, format=format, **options))
    assert header is not None
    assert (header.format, header.width, header.height) == (format.lower(), 61, 37)
    assert header.supported


@pytest.mark.parametrize("body", [b"", b"<html>", b"GIF", b"\xff\xd8", b"BMW cars are fast", b"<svg/>"])
def test_what_is_no_picture(body):
    assert read_header(body) is None


def test_a_known_format_that_is_not_supported():
    header = read_header(picture(format="TIFF"))
    assert header is not None
    assert header.format == "tiff"
    assert not header.supported


def test_a_bomb_is_seen_without_decoding():
    bomb = picture(format="PNG")[:16] + struct.pack(">II", 60_000, 60_000)
    header = read_header(bomb)
    assert header is not None
    assert (header.width, header.height) == (60_000, 60_000)


PREFIXES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"GIF89a",
    b"BM",
    b"",
)


@given(prefix=st.sampled_from(PREFIXES), rest=st.binary(max_size=200))
def test_any_bytes_give_an_answer(prefix, rest):
    header = read_header(prefix + rest)
    assert header is None or (header.width >= 0 and header.height >= 0)


@given(cut=st.integers(0, 900), at=st.integers(0, 900), value=st.integers(0, 255))
def test_damaged_jpegs_give_an_answer(cut, at, value):
    body = bytearray(picture())
    body[at % len(body)] = value
    read_header(bytes(body[:cut]))


def bits_apart(first, second):
    return bin((first ^ second) & (2**64 - 1)).count("1")


def test_the_perceptual_hash_survives_another_encoding_and_size():
    hashes = [
        perceptual_hash(picture(96, 64, quality=95), short_side=64),
        perceptual_hash(picture(96, 64, format="PNG"), short_side=64),
        perceptual_hash(picture(480, 320, quality=70), short_side=320),
    ]
    assert max(bits_apart(hashes[0], other) for other in hashes) <= 6
    assert bits_apart(hashes[0], perceptual_hash(picture(96, 64, seed=1), short_side=64)) > 16
    assert -(2**63) <= hashes[0] < 2**63


def test_flat_pictures_share_one_hash():
    def flat(value):
        file = io.BytesIO()
        Image.fromarray(np.full((40, 40, 3), value, np.uint8)).save(file, "PNG")
        return perceptual_hash(file.getvalue(), short_side=40)

    assert flat(20) == flat(200)


def test_no_hash_of_what_does_not_decode():
    assert perceptual_hash(b"no picture", short_side=10) is None


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
