"""Pixels: 8 bits a sample, upright, over white where a picture is transparent; bounded in memory and time.

Bounded without decoding: memory by what the header declares, time by what only costs time (``parts``). What is left was
measured at 89 megapixels, the largest area that is downloaded by default: none takes 4 s of processor time.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from laion_assets.images.budget import MAX_PICTURE_BYTES, SHARED
from laion_assets.images.header import read_header
from laion_assets.images.parts import Picture, TooCostlyPicture, UndecodablePicture, take_apart

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
"""uint8 [height, width] (grey) or [height, width, 3] (blue, green, red, as OpenCV has them)."""

REDUCTIONS: Final = (1, 2, 4, 8)
"""A picture may be decoded with sides of one of these parts, rounded up; a JPEG so takes a fraction of the time."""

_PILLOW_PIXEL_BYTES: Final = 8
_PILLOW_DEEP_PIXEL_BYTES: Final = 16
_BAND_ROWS: Final = 256
_HIGH_BYTE: Final = 8
"""16 bits become 8 by leaving out the lower byte, which is what libpng's ``png_set_strip_16`` does."""


def memory_bytes(picture: Picture, reduction: int = 1) -> int:
    """Memory that decoding takes at its peak, in bytes, as measured with OpenCV 4.14.

    OpenCV copies a decoded picture once, to hand it to Python. WebP and GIF hold a canvas of 4 bytes a pixel as well,
    and a WebP's transparency is a plane of its own, as are the grey values where they are asked for.
    """
    pixels = picture.header.width * picture.header.height
    kind = picture.header.format
    if kind == "gif":
        sample_bytes = 12
    elif kind == "webp":
        sample_bytes = 8 + 2 * picture.see_through + 4 * picture.animated
    else:
        unreduced_bits = picture.bits if picture.see_through else 8
        sample_bytes = 2 * picture.channels * unreduced_bits // 8
    return picture.coefficient_bytes + pixels * sample_bytes // (reduction**2 if kind == "jpeg" else 1)


@contextlib.contextmanager
def decoded(picture: Picture, *, reduction: int = 1, grey: bool = False) -> Iterator[Pixels]:
    """The pixels of a picture, of the first frame of an animation.

    The memory they take is part of the process' budget until the block is left; nothing else of them may outlive it.

    Args:
        picture: what ``take_apart`` returned.
        reduction: one of ``REDUCTIONS``; a picture that may be transparent is decoded whole all the same.
        grey: whether grey values are asked for, whatever the picture has.

    Raises:
        UndecodablePicture: it cannot be decoded.
        TooCostlyPicture: it would take more than ``MAX_PICTURE_BYTES``.
    """
    with _memory(memory_bytes(picture, reduction)):
        pixels = _over_white(picture, _imdecode(picture, _flags(picture, reduction, grey)))
        if grey and pixels.ndim == 3:
            pixels = _grey(pixels)
        yield upright(pixels, picture.orientation)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn pixels as EXIF says: ``orientation`` is 1 to 8 (Exif 2.32, 4.6.4, tag 274)."""
    import cv2

    turned: dict[int, Any] = {
        2: lambda: cv2.flip(pixels, 1),
        3: lambda: cv2.rotate(pixels, cv2.ROTATE_180),
        4: lambda: cv2.flip(pixels, 0),
        5: lambda: cv2.transpose(pixels),
        6: lambda: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
        7: lambda: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
        8: lambda: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    result: Pixels = turned[orientation]() if orientation in turned else pixels
    return result


@contextlib.contextmanager
def rgb_picture(body: bytes, *, over_white: bool = True) -> "Iterator[Image]":
    """A picture for whoever computes with Pillow: upright, 8-bit RGB, of any format that Pillow reads.

    Ordinary pictures are decoded by Pillow and nothing else, so that numbers that were computed from Pillow's pixels
    elsewhere are the same here.

    Args:
        body: the picture file.
        over_white: whether transparent parts become white; otherwise transparency is left out, as Pillow's
            ``convert("RGB")`` does.

    Raises:
        UndecodablePicture: it cannot be decoded.
        TooCostlyPicture: it would take too much memory or time.
    """
    from PIL import Image

    header = read_header(body)
    picture = take_apart(body) if header is not None and header.supported else None
    if picture is not None and over_white and picture.see_through:
        with decoded(picture) as pixels:
            yield Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., ::-1]).convert("RGB")
        return
    with contextlib.ExitStack() as held:
        try:
            opened = held.enter_context(Image.open(io.BytesIO(body if picture is None else picture.body)))
            each = _PILLOW_DEEP_PIXEL_BYTES if picture is None else _PILLOW_PIXEL_BYTES
            coefficients = 0 if picture is None else picture.coefficient_bytes
            held.enter_context(_memory(opened.width * opened.height * each + coefficients))
            rgb = _as_rgb(opened, over_white)
            rgb = rgb if picture is None else _turned(rgb, picture.orientation)
        except UndecodablePicture:
            raise
        except Exception as error:  # Pillow's decoders raise anything
            raise UndecodablePicture(f"{type(error).__name__}: {error}") from error
        yield rgb


def picture_fault(content: bytes) -> str | None:
    """What keeps a picture from being decoded; None where nothing does."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the picture cannot be decoded: {' '.join(str(error).split())[:100]}"
    return None


def _as_rgb(opened: "Image", over_white: bool) -> "Image":
    from PIL import Image

    if opened.mode.startswith("I;16"):  # Pillow's own conversion clips: all that is not nearly black becomes white
        return Image.fromarray((np.asarray(opened) >> _HIGH_BYTE).astype(np.uint8)).convert("RGB")
    if over_white and opened.mode in ("RGBA", "LA", "PA"):
        rgba = opened.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return opened.convert("RGB")


def _turned(picture: "Image", orientation: int) -> "Image":
    from PIL.Image import Transpose

    how = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }.get(orientation)  # fmt: skip
    return picture if how is None else picture.transpose(how)


@contextlib.contextmanager
def _memory(size_bytes: int) -> Iterator[None]:
    if size_bytes > MAX_PICTURE_BYTES:
        raise TooCostlyPicture(f"decoding takes {size_bytes / 1e6:.0f} MB, over {MAX_PICTURE_BYTES / 1e6:.0f} MB")
    with SHARED.hold(size_bytes):
        try:
            yield
        except MemoryError as error:
            raise TooCostlyPicture("decoding takes more memory than there is") from error


def _flags(picture: Picture, reduction: int, grey: bool) -> int:
    """How OpenCV is to decode: with samples as they are where transparency has to be seen, else in 8 bits."""
    import cv2

    if picture.see_through:
        return int(cv2.IMREAD_UNCHANGED)
    if reduction == 1:
        return int((cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_ANYCOLOR) | cv2.IMREAD_IGNORE_ORIENTATION)
    colour = "GRAYSCALE" if grey or picture.channels == 1 else "COLOR"
    return int(getattr(cv2, f"IMREAD_REDUCED_{colour}_{reduction}") | cv2.IMREAD_IGNORE_ORIENTATION)


def _grey(pixels: Pixels) -> Pixels:
    import cv2

    grey: Any = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return grey  # type: ignore[no-any-return]


def _imdecode(picture: Picture, flags: int) -> NDArray[Any]:
    import cv2

    try:
        samples: NDArray[Any] | None = cv2.imdecode(np.frombuffer(picture.body, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise TooCostlyPicture("decoding takes more memory than there is") from error
        raise UndecodablePicture(f"image decoding error: {error.err}") from error
    if samples is None:
        raise UndecodablePicture("image decoding error")
    return samples


def _over_white(picture: Picture, samples: NDArray[Any]) -> Pixels:
    """Samples in 8 bits, and white for what is transparent; changed in place, since they may take half a gigabyte."""
    hidden = None
    if picture.transparent_grey is not None and samples.ndim == 2:
        hidden = samples == _grey_sample(picture, samples)
    if samples.dtype == np.uint16:
        samples >>= _HIGH_BYTE
        samples = samples.astype(np.uint8)
    if hidden is not None:
        samples[hidden] = 255
    if samples.ndim == 3 and samples.shape[2] == 4:
        samples = _blended(samples)
    if picture.frame is not None:
        _whiten_outside(samples, picture.frame)
    return samples


def _grey_sample(picture: Picture, samples: NDArray[Any]) -> int:
    """The transparent grey as it was decoded: OpenCV spreads fewer than 8 bits over 0 to 255."""
    value = picture.transparent_grey or 0
    return value if samples.dtype == np.uint16 else value * 255 // ((1 << min(picture.grey_bits, 8)) - 1)


def _blended(samples: NDArray[np.uint8]) -> Pixels:
    """Colour times opacity, plus white times the rest, rounded; a band of rows at a time."""
    for top in range(0, len(samples), _BAND_ROWS):
        band = samples[top : top + _BAND_ROWS]
        alpha = band[..., 3:].astype(np.uint16)
        if int(alpha.min()) == 255:
            continue
        mixed = band[..., :3] * alpha
        mixed += 255 * (255 - alpha) + 128
        mixed += mixed >> 8  # x / 255, rounded, is (x + 128 + ((x + 128) >> 8)) >> 8 for every x up to 255 * 255
        band[..., :3] = mixed >> 8
    return samples[..., :3]


def _whiten_outside(samples: Pixels, frame: tuple[int, int, int, int]) -> None:
    left, top, width, height = frame
    samples[:top] = samples[top + height :] = 255
    samples[:, :left] = samples[:, left + width :] = 255
