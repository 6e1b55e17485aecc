"""What is stored of a picture, beside what img2dataset's own resizer makes of it."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from laion_assets.download.options import ENCODE_FORMATS, RESIZE_MODES, DownloadOptions
from laion_assets.download.resizer import Resizer
from tests.unit.download.loopback_web import picture
from tests.unit.images.files import corners, saved, scans, segment, tiff, with_segments
from tests.unit.images.png_decoder import encode_png

OPTIONS = DownloadOptions(image_size=64)


@pytest.fixture(scope="module")
def img2dataset_resizer():
    import img2dataset.resizer as library

    library.SuppressStdoutStderr = contextlib.nullcontext

    def make(options: DownloadOptions):
        names = ("image_size", "resize_mode", "resize_only_if_bigger", "encode_quality", "encode_format",
                 "skip_reencode", "min_image_size", "max_image_area", "max_aspect_ratio")  # fmt: skip
        return library.Resizer(**{name: getattr(options, name) for name in names})

    return make


def resized(body: bytes, **options):
    return Resizer(replace(OPTIONS, **options))(io.BytesIO(body))


def pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), int)


SIZES = ((40, 30), (64, 64), (65, 20), (90, 63), (200, 100), (33, 301))


@pytest.mark.parametrize("only_if_bigger", [True, False])
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_ordinary_pictures_come_out_as_img2dataset_makes_them(img2dataset_resizer, mode, only_if_bigger):
    """Byte for byte, since no JPEG that is large enough to be decoded at a half is among them."""
    options = replace(OPTIONS, resize_mode=mode, resize_only_if_bigger=only_if_bigger)
    theirs, ours = img2dataset_resizer(options), Resizer(options)
    for width, height in SIZES:
        alpha = Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 4)).astype(np.uint8))
        grey = Image.open(io.BytesIO(picture(width, height, format="PNG"))).convert("L")
        bodies = [picture(width, height, format=kind) for kind in ("PNG", "BMP", "WEBP")]
        bodies += [saved(alpha, "PNG"), saved(grey, "PNG")]
        if max(width, height) < 128:
            bodies += [picture(width, height), saved(grey, "JPEG")]
        for body in bodies:
            assert ours(io.BytesIO(body)) == theirs(io.BytesIO(body)), (width, height, body[:4])


@pytest.mark.parametrize("form", ENCODE_FORMATS)
@pytest.mark.parametrize("skip", [True, False])
def test_formats_and_qualities_are_img2datasets(img2dataset_resizer, form, skip):
    options = replace(OPTIONS, encode_format=form, skip_reencode=skip, encode_quality=9 if form == "png" else 80)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        for body in (picture(40, 30, format=kind), picture(120, 100, format=kind)):
            assert Resizer(options)(io.BytesIO(body)) == img2dataset_resizer(options)(io.BytesIO(body)), kind


@pytest.mark.parametrize(
    ("width", "height", "options", "message"),
    [
        (40, 30, {"min_image_size": 31}, "image too small"),
        (40, 30, {"max_image_area": 1_199}, "image area too large"),
        (90, 30, {"max_aspect_ratio": 2.9}, "aspect ratio too large"),
        (90, 30, {"max_aspect_ratio": 3.0}, None),
    ],
)
def test_limits_are_img2datasets(img2dataset_resizer, width, height, options, message):
    body = picture(width, height)
    assert (
        resized(body, **options)[5] == img2dataset_resizer(replace(OPTIONS, **options))(io.BytesIO(body))[5] == message
    )


@pytest.mark.parametrize(("width", "height"), [(2000, 1500), (1030, 700), (640, 4_000), (520, 520)])
def test_a_jpeg_decoded_at_a_part_of_its_sides_looks_like_img2datasets(img2dataset_resizer, width, height):
    body = picture(width, height, quality=90)
    ours, theirs = (make(OPTIONS)(io.BytesIO(body)) for make in (Resizer, img2dataset_resizer))
    assert ours[1:] == theirs[1:]
    assert np.abs(pixels(ours[0]) - pixels(theirs[0])).mean() < 1.5


@pytest.mark.parametrize("form", ENCODE_FORMATS)
def test_a_turned_picture_is_stored_upright_and_without_its_tag(form):
    """Exif 2.32, 4.6.4: 6 says that what was seen is the stored picture turned by 90 degrees."""
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[form]
    stored = corners(48, 32).transpose(Image.Transpose.ROTATE_90)
    body = saved(stored, kind, exif=b"Exif\0\0" + tiff(6))
    encoded, *sizes = resized(body, encode_format=form, encode_quality=9 if form == "png" else 95)
    assert sizes == [48, 32, 48, 32, None]
    found = Image.open(io.BytesIO(encoded))
    assert not found.getexif()
    assert b"GPS" not in encoded
    assert np.abs(pixels(encoded) - np.asarray(corners(48, 32), int)).mean() < 10


def test_a_picture_that_stays_as_it_is_loses_its_metadata_alone():
    plain = picture(40, 30)
    body = with_segments(plain, segment(0xE1, b"Exif\0\0" + tiff(1)), segment(0xFE, b"GPS: at home"))
    assert resized(body) == (plain, 40, 30, 40, 30, None)


@pytest.mark.parametrize("form", ENCODE_FORMATS)
def test_16_bits_never_stay(form):
    """Many readers clip them to white, Pillow's ``convert`` among them."""
    deep = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40, 1)
    encoded = resized(encode_png(deep), encode_format=form, encode_quality=9 if form == "png" else 95)[0]
    found = Image.open(io.BytesIO(encoded))
    assert found.mode in ("L", "RGB")
    assert np.abs(pixels(encoded)[..., 0] - (deep[..., 0] >> 8)).mean() < 1


def test_too_costly_pictures_say_so():
    assert resized(scans(101))[5] == "too costly: a JPEG of 101 scans, over 100"
    thread = picture(1, 900, format="PNG")
    said = resized(thread, resize_mode="keep_ratio", resize_only_if_bigger=False, image_size=512)
    assert said[5] == "too costly: resized it would have 512 x 460800 pixels"


@pytest.mark.parametrize("body", [b"", b"no picture", picture()[:500], picture(format="TIFF"), b"GIF89a"])
def test_what_cannot_be_decoded_has_a_message(body):
    assert resized(body)[:5] == (None,) * 5
    assert resized(body)[5]
