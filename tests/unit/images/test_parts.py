import contextlib
import io
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from laion_assets.images.exif import exif_orientation
from laion_assets.images.parts import TooCostlyPicture, UndecodablePicture, take_apart
from tests.unit.images.files import bmp, corners, riff, saved, scans, segment, tiff, u24, with_chunks, with_segments
from tests.unit.images.png_decoder import chunk

JPEG, PNG, WEBP = (saved(corners(), kind) for kind in ("JPEG", "PNG", "WEBP"))
SECRET = b"GPS: at home"
EXIF = segment(0xE1, b"Exif\0\0" + tiff(1))
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET)
THUMBNAIL = segment(0xE0, b"JFXX\0\x10" + JPEG + SECRET)
ICC = segment(0xE2, b"ICC_PROFILE\0\1\1 a profile")
MANY_PICTURES = segment(0xE2, b"MPF\0" + SECRET)
EXTENDED = riff((b"VP8X", b"\x2c\0\0\0" + u24(23) + u24(15)), (b"ICCP", b"profile"))


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (with_segments(JPEG, EXIF, XMP, THUMBNAIL, segment(0xFE, SECRET), segment(0xED, SECRET), MANY_PICTURES), JPEG),
        (with_segments(JPEG, EXIF), JPEG),
        (JPEG[:-2] + segment(0xFE, SECRET) + JPEG[-2:], JPEG),
        (JPEG + JPEG + SECRET, JPEG),
        (with_chunks(PNG, (b"tEXt", b"Comment\0" + SECRET), (b"eXIf", tiff(1)), (b"prVt", SECRET)), PNG),
        (PNG + SECRET, PNG),
        (EXTENDED + WEBP[12:] + riff((b"EXIF", tiff(1)), (b"XMP ", SECRET))[12:], EXTENDED + WEBP[12:]),
        (WEBP + SECRET, WEBP),
    ],
)
def test_what_only_speaks_about_a_picture_is_left_out(body, plain):
    if body.startswith(b"RIFF") and not body.startswith(WEBP[:4] + WEBP[4:8]):
        body = body[:4] + (len(body) - 8).to_bytes(4, "little") + body[8:]
        plain = plain[:4] + (len(plain) - 8).to_bytes(4, "little") + plain[8:20] + b"\x20" + plain[21:]
    picture = take_apart(body)
    assert picture.body == plain
    assert picture.plain
    with Image.open(io.BytesIO(picture.body)) as stripped, Image.open(io.BytesIO(plain)) as expected:
        assert np.array_equal(np.asarray(stripped), np.asarray(expected))


@pytest.mark.parametrize("body", [JPEG, PNG, WEBP, with_segments(JPEG, ICC)])
def test_a_file_without_metadata_stays_itself(body):
    assert take_apart(body).body is body


def oriented(value, **more):
    data = tiff(value, **more)
    canvas = (b"VP8X", b"\x08\0\0\0" + u24(23) + u24(15))
    content = (WEBP[12:16], WEBP[20:])
    return [
        with_segments(JPEG, segment(0xE1, b"Exif\0\0" + data)),
        with_chunks(PNG, (b"eXIf", data)),
        with_chunks(PNG, (b"eXIf", b"Exif\0\0" + data)),
        riff(canvas, content, (b"EXIF", data)),
        riff(canvas, content, (b"EXIF", b"Exif\0\0" + data)),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read_in_every_format(value, order):
    """Exif 2.32, 4.6.4, tag 274; PNG, third edition, 11.3.4.5; RFC 9649, 2.7.1.5."""
    found = [take_apart(body) for body in oriented(value, order=order)]
    assert [picture.orientation for picture in found] == [value] * 5
    assert {picture.size for picture in found} == {(24, 16) if value < 5 else (16, 24)}
    assert {picture.plain for picture in found} == {value == 1}


@pytest.mark.parametrize("more", [{"kind": 4}, {"count": 2}])
def test_an_orientation_of_another_type_is_none_as_in_browsers(more):
    assert [take_apart(body).orientation for body in oriented(6, **more)] == [1] * 5


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_without_meaning_is_none(value):
    assert [take_apart(body).orientation for body in oriented(value)] == [1] * 5


def test_the_first_exif_segment_counts():
    first, second = (segment(0xE1, b"Exif\0\0" + tiff(value)) for value in (3, 6))
    assert take_apart(with_segments(JPEG, first, second)).orientation == 3


@given(st.binary(max_size=120))
def test_any_bytes_for_exif_give_an_orientation(content):
    assert all(1 <= exif_orientation(mark + content) <= 8 for mark in (b"", b"II*\0", b"MM\0*"))


def test_a_jpeg_of_too_many_scans_is_refused():
    assert take_apart(scans(100)).header.width == 16
    with pytest.raises(TooCostlyPicture, match="101 scans"):
        take_apart(scans(101))


def test_a_png_that_ends_within_a_chunk_is_refused_if_that_makes_pixels():
    with pytest.raises(UndecodablePicture, match="ends within a chunk"):
        take_apart(PNG[:-20])
    at = PNG.index(b"IEND") - 4
    assert take_apart(PNG[:at] + b"\xff\xff\xff\xfftEXtComment").body == PNG[:at]


def test_scans_within_metadata_are_none():
    """ITU-T T.81, B.1.1.4: a segment's content is skipped by its length; a thumbnail there has scans of its own."""
    many = segment(0xE1, b"Exif\0\0" + b"\xff\xda\0\x08" * 200)
    assert take_apart(with_segments(JPEG, many, THUMBNAIL)).body == JPEG


@pytest.mark.parametrize(("marker", "bits"), [(0xC3, 8), (0xC5, 8), (0xC9, 8), (0xCA, 8), (0xC1, 12)])
def test_codings_that_browsers_do_not_show_are_refused(marker, bits):
    """ITU-T T.81, table B.1: lossless, hierarchical and arithmetic coding; 12 bits a sample."""
    at = JPEG.index(b"\xff\xc0")
    with pytest.raises(UndecodablePicture, match="browsers do not show"):
        take_apart(JPEG[: at + 1] + bytes((marker,)) + JPEG[at + 2 : at + 4] + bytes((bits,)) + JPEG[at + 5 :])


FLOODS = {
    "JPEG comments": lambda: with_segments(JPEG, segment(0xFE, b"") * 4_000_000),
    "JPEG fill bytes": lambda: JPEG[:2] + b"\xff" * 16_000_000 + JPEG[3:],
    "JPEG stuffed bytes": lambda: JPEG[:2] + b"\xff\0" * 8_000_000 + JPEG[2:],
    "JPEG restarts before a scan": lambda: JPEG[:2] + b"\xff\xd0" * 8_000_000 + JPEG[2:],
    "JPEG restarts in a scan": lambda: JPEG[:-2] + b"\xff\xd0" * 8_000_000 + JPEG[-2:],
    "PNG texts": lambda: PNG[:33] + chunk(b"tEXt", b"") * 1_000_000 + PNG[33:],
    "GIF comment": lambda: b"GIF89a\x08\0\x08\0\0\0\0!\xfe" + b"\1a" * 8_000_000,
    "WebP chunks": lambda: b"RIFF\xff\xff\xff\x01WEBPVP8X\x0a\0\0\0" + bytes(10) + b"none\0\0\0\0" * 1_000_000,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_parts_costs_little_time(kind):
    flood = FLOODS[kind]()
    started = time.process_time()
    with contextlib.suppress(UndecodablePicture):
        take_apart(flood)
    assert time.process_time() - started < 3


BODIES = (
    JPEG, PNG, WEBP, saved(corners().quantize(4), "GIF"), saved(corners(), "BMP"), bmp(bytes(16), header=124),
    saved(corners().convert("RGBA"), "WEBP", lossless=True, exif=tiff(6)), with_segments(JPEG, EXIF, XMP, ICC),
)  # fmt: skip


@given(
    body=st.sampled_from(BODIES),
    cut=st.integers(0, 1_500),
    changes=st.lists(st.tuples(st.integers(0, 1_500), st.integers(0, 255)), max_size=6),
)
def test_damaged_files_are_taken_apart_or_refused(body, cut, changes):
    damaged = bytearray(body)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    with contextlib.suppress(UndecodablePicture):
        take_apart(bytes(damaged[: cut or None]))
