import io
import json
import os
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from laion_assets.images.decode import decoded, rgb_picture
from laion_assets.images.parts import TooCostlyPicture, UndecodablePicture, take_apart
from laion_assets.images.perceptual_hash import perceptual_hash
from tests.unit.images.files import bmp, corners, riff, saved, scans, tiff, u24, with_chunks
from tests.unit.images.png_decoder import chunk, claim, encode_png, over_white


def seen(body: bytes) -> np.ndarray:
    """RGB as OpenCV reads it and as Pillow does, which agree."""
    with decoded(take_apart(body)) as pixels, rgb_picture(body) as picture:
        wide = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        rgb, other = wide[..., ::-1].astype(int), np.asarray(picture, int)
    assert np.abs(rgb - other).mean() < 1
    return rgb


def noise(channels: int, bits: int) -> np.ndarray:
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(channels).integers(0, 1 << bits, (20, 30, channels)).astype(dtype)


KEYS = {1: b"\x12\x34", 3: b"\x12\x34\x56\x78\x9a\xbc"}


@pytest.mark.parametrize(
    ("channels", "transparent"), [(1, False), (1, True), (2, False), (3, False), (3, True), (4, False)]
)
def test_pngs_of_16_bits_are_as_their_twins_of_8(channels, transparent):
    """PNG, third edition, 13.12: 16 bits become 8 by their high byte, and never white by clipping."""
    deep = noise(channels, 16)
    if transparent:
        deep[3:9] = np.frombuffer(KEYS[channels], ">u2")
    body = encode_png(deep, extra=chunk(b"tRNS", KEYS[channels]) if transparent else b"")
    expected = over_white(body)
    assert not transparent or (expected[3:9] == 255).all()
    assert np.abs(seen(body) - expected).max() <= 1
    if not transparent:
        assert np.abs(seen(body) - seen(encode_png((deep >> 8).astype(np.uint8)))).mean() < 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_of_few_bits_is_transparent_where_its_key_says_so(bits):
    """PNG, third edition, 11.3.1.1: the key of a grey picture is compared before samples are spread to 8 bits."""
    values = (np.arange(32).reshape(4, 8) % (1 << bits)).astype(np.uint8)
    packed = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes() for row in values]
    header = (8).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes((bits, 0, 0, 0, 0))
    data = zlib.compress(b"".join(b"\0" + row for row in packed))
    chunks = ((b"IHDR", header), (b"tRNS", b"\0\1"), (b"IDAT", data), (b"IEND", b""))
    body = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)
    assert (over_white(body)[values == 1] == 255).all()
    assert np.array_equal(seen(body), over_white(body))


def oriented(kind: str, value: int) -> bytes:
    """The same view, stored so that EXIF has to turn it."""
    transpose = Image.Transpose
    how = {2: transpose.FLIP_LEFT_RIGHT, 3: transpose.ROTATE_180, 4: transpose.FLIP_TOP_BOTTOM, 5: transpose.TRANSPOSE,
           6: transpose.ROTATE_90, 7: transpose.TRANSVERSE, 8: transpose.ROTATE_270}  # fmt: skip
    stored = corners() if value == 1 else corners().transpose(how[value])
    return saved(stored, kind, exif=b"Exif\0\0" + tiff(value))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_upright(kind):
    """Exif 2.32, 4.6.4, tag 274: where the first row and column of what is stored lie in what was seen."""
    for value in range(1, 9):
        assert np.abs(seen(oriented(kind, value)) - np.asarray(corners(), int)).mean() < 10


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pictures_are_over_white(kind):
    pixels = np.random.default_rng(4).integers(0, 256, (30, 40, 4)).astype(np.uint8)
    pixels[:10, :, 3], pixels[10:20, :, 3] = 0, 255
    body = saved(Image.fromarray(pixels), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    alpha = pixels[..., 3:] / 255
    expected = np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha))
    assert np.array_equal(seen(body), expected)
    assert (seen(body)[:10] == 255).all()


def test_a_palette_may_be_transparent():
    picture = corners().quantize(4)
    index = picture.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        found = seen(saved(picture, kind, transparency=index))
        assert (found[0, 0] == 255).all()
        assert np.abs(found[0, -1] - (0, 255, 0)).max() < 8


def test_what_the_first_frame_of_an_animation_leaves_open_is_white():
    """GIF89a, 20; RFC 9649, 2.7.1.1: a frame may be smaller than the canvas, which is transparent at first."""
    frame = saved(Image.new("P", (4, 4), 0), "GIF")
    gif = b"GIF89a" + b"\x10\0\x10\0" + frame[10:]
    at = gif.index(b",\0\0\0\0\4\0\4\0")
    gif = gif[: at + 1] + b"\2\0\2\0" + gif[at + 5 :]
    still = saved(Image.new("RGB", (4, 4), (200, 0, 0)), "WEBP", lossless=True)
    part = u24(1) + u24(1) + u24(3) + u24(3) + u24(100) + b"\0" + still[12:]
    canvas = (b"VP8X", b"\x12\0\0\0" + u24(15) + u24(15))
    webp = riff(canvas, (b"ANIM", bytes(6)), (b"ANMF", part), (b"ANMF", part))
    for body, colour in ((gif, (0, 0, 0)), (webp, (200, 0, 0))):
        found = seen(body)
        assert found.shape == (16, 16, 3)
        assert (found[0] == 255).all()
        assert (found[10:] == 255).all()
        assert tuple(found[3, 3]) == colour


def test_the_fourth_byte_of_a_bitmap_is_opacity_only_where_a_mask_says_so():
    """BITMAPINFOHEADER and BITMAPV4HEADER (Microsoft): with BI_RGB, or without an alpha mask, it is not used."""
    samples = bytes((10, 20, 200, 0)) * 4
    for header, compression in ((40, 0), (40, 3), (108, 0), (108, 3)):
        body = bmp(samples, header=header, compression=compression)
        assert (seen(body) == (200, 20, 10)).all()
    assert (seen(bmp(samples, header=108, compression=3, alpha=0xFF000000)) == 255).all()


def test_a_bitmap_with_reserved_bytes_is_read():
    """BITMAPFILEHEADER's reserved fields should be 0, and browsers do not look at them."""
    assert (seen(bmp(bytes((10, 20, 200, 0)) * 4, reserved=0xDEADBEEF)) == (200, 20, 10)).all()


@pytest.mark.parametrize(("kind", "mode"), [("TIFF", "I;16"), ("TIFF", "I;16B"), ("JPEG2000", "I;16")])
def test_16_bits_in_other_formats_are_not_clipped(kind, mode):
    grey = Image.fromarray(np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30))
    with rgb_picture(saved(grey, kind)) as picture:
        assert np.abs(np.asarray(picture, int)[..., 0] - (np.asarray(grey) >> 8)).max() <= 1


def test_without_white_transparency_is_left_out_as_pillow_does():
    body = saved(Image.new("RGBA", (4, 4), (10, 20, 30, 0)), "PNG")
    with rgb_picture(body, over_white=False) as dropped, rgb_picture(body) as white:
        assert (dropped.getpixel((0, 0)), white.getpixel((0, 0))) == ((10, 20, 30), (255, 255, 255))


def test_cmyk_and_grey_are_read_as_pillow_reads_them():
    for mode in ("CMYK", "L"):
        body = saved(corners().convert(mode), "JPEG", quality=95)
        expected = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), int)
        assert np.abs(seen(body) - expected).mean() < 1


@pytest.mark.parametrize("body", [b"", b"<html>", saved(corners(), "JPEG")[:300], saved(corners(), "PNG")[:60]])
def test_what_does_not_decode_is_one_error(body):
    with pytest.raises(UndecodablePicture), rgb_picture(body):
        pass
    with pytest.raises(UndecodablePicture), decoded(take_apart(body)):
        pass
    assert perceptual_hash(body) is None


def test_memory_is_refused_before_it_is_taken():
    for body in (claim(6, 16), claim(4, 16), claim(2, side=12_000)):
        for read in (rgb_picture, lambda given: decoded(take_apart(given))):
            with pytest.raises(TooCostlyPicture, match="over 750 MB"), read(body):
                pass
        assert perceptual_hash(body) is None


def bombs() -> dict[str, bytes]:
    plain = encode_png(noise(3, 8))
    text = b"k\0\0" + zlib.compress(bytes(7_900_000), 9)
    endless = zlib.compressobj(1)
    data = b"".join(endless.compress(bytes(50_000_000)) for _ in range(12)) + endless.flush()
    at = plain.index(b"IDAT") - 4
    return {
        "900 texts of 8 MB": with_chunks(plain, *[(b"zTXt", text)] * 900),
        "data of 600 MB": plain[:at] + chunk(b"IDAT", data) + chunk(b"IEND", b""),
        "a profile of 600 MB": with_chunks(plain, (b"iCCP", b"k\0\0" + data)),
        "2,000 scans": scans(2_000, size=512),
    }


def test_bombs_cost_little_time():
    """Texts and scans took half a minute of processor time when the whole file went to the decoder."""
    for name, body in bombs().items():
        started = time.process_time()
        for read in (rgb_picture, lambda given: decoded(take_apart(given))):
            try:
                with read(body):
                    pass
            except TooCostlyPicture:
                assert name in ("data of 600 MB", "2,000 scans")
        assert time.process_time() - started < 4, name


PEAKS = """
import json, os, sys
from pathlib import Path
import cv2
from laion_assets.images.decode import decoded, memory_bytes
from laion_assets.images.parts import take_apart

def high_water():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def measured(picture, reduction, grey):
    # In a process of its own: what one picture leaves behind is what the next one would not have to ask for.
    out, into = os.pipe()
    if not os.fork():
        Path("/proc/self/clear_refs").write_text("5")
        before = high_water()
        with decoded(picture, reduction=reduction, grey=grey):
            pass
        os.write(into, str(high_water() - before).encode())
        os._exit(0)
    os.wait()
    return int(os.read(out, 100))

found = {}
small, large = (Path(folder) for folder in sys.argv[1:])
for file in sorted(small.iterdir()):
    pictures = [take_apart((folder / file.name).read_bytes()) for folder in (small, large)]
    for reduction in (1, 2) if file.suffix == ".jpeg" else (1,):
        for grey in (False, True):
            taken = [measured(picture, reduction, grey) for picture in pictures]
            said = [memory_bytes(picture, reduction) for picture in pictures]
            found[f"{file.name}/{reduction}{'/grey' * grey}"] = (taken[1] - taken[0], said[1] - said[0])
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the highest memory is read from Linux' /proc")
def test_decoding_takes_no_more_memory_than_was_said_before(tmp_path):
    """What a pixel more takes: code that is loaded by the first picture of all is not the picture's."""
    for name, side in (("small", 1_000), ("large", 3_000)):
        (tmp_path / name).mkdir()
        for file, body in files_of_all_kinds(side).items():
            (tmp_path / name / file).write_bytes(body)
    command = [sys.executable, "-c", PEAKS, tmp_path / "small", tmp_path / "large"]
    # What an allocator keeps for later is not what decoding takes.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    found = json.loads(said.stdout)
    assert len(found) == 2 * (19 + 4), "each kind, in colour and in grey, and a JPEG also at half its size"
    assert {name: pair for name, pair in found.items() if pair[0] > pair[1] + 4_000_000} == {}


def files_of_all_kinds(side: int) -> dict[str, bytes]:
    rgb = Image.new("RGB", (side, side), (9, 90, 200))
    see_through = Image.new("RGBA", (side, side), (9, 90, 200, 90))
    few = rgb.quantize(4)
    frames = [Image.new("RGBA", (side, side), (n, 90, 200, 200)) for n in range(2)]
    return {
        "rgb.png": saved(rgb, "PNG"), "rgba.png": saved(see_through, "PNG"), "palette.png": saved(few, "PNG"),
        "keyed.png": saved(few, "PNG", transparency=0), "grey.png": saved(rgb.convert("L"), "PNG"),
        "deep.png": encode_png(np.zeros((side, side, 3), np.uint16)),
        "deep_alpha.png": encode_png(np.zeros((side, side, 4), np.uint16)),
        "baseline.jpeg": saved(rgb, "JPEG"), "cmyk.jpeg": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpeg": saved(rgb, "JPEG", progressive=True, subsampling=0),
        "progressive_cmyk.jpeg": saved(rgb.convert("CMYK"), "JPEG", progressive=True, subsampling=0),
        "lossy.webp": saved(rgb, "WEBP"), "lossless.webp": saved(rgb, "WEBP", lossless=True),
        "alpha.webp": saved(see_through, "WEBP"), "alpha_lossless.webp": saved(see_through, "WEBP", lossless=True),
        "animated.webp": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "plain.gif": saved(few, "GIF"), "keyed.gif": saved(few, "GIF", transparency=0), "rgb.bmp": saved(rgb, "BMP"),
    }  # fmt: skip
