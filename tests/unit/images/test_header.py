import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.images.header import read_header
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
