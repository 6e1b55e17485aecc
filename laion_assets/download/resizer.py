"""Decoding, resizing and encoding one picture, as img2dataset's ``Resizer`` does, for its Downloader to call.

The modes, sizes and messages are img2dataset's, and so are the pixels of an ordinary picture but for the rounding of a
JPEG that is decoded at a half, quarter or eighth of its sides. What differs: 16 bits become 8, pictures are turned
upright, metadata go, animations give their first frame over white, and memory and time are bounded.
"""

import io
from typing import Any

from laion_assets.download.options import DownloadOptions
from laion_assets.images.decode import REDUCTIONS, Pixels, decoded
from laion_assets.images.parts import Picture, TooCostlyPicture, UndecodablePicture, take_apart

Resized = tuple[bytes | None, int | None, int | None, int | None, int | None, str | None]
"""The encoded picture, its width and height, those of the original seen upright, in pixels; or None and a message."""

_FORMATS = {"jpg": "jpeg", "png": "png", "webp": "webp"}

_OUT_OF_PLACE_PIXELS = 0.3
"""How far the last row or column of a stored picture may lie from its place."""


class Resizer:
    """Makes the picture that is stored out of one that was downloaded.

    Args:
        options: size, mode, format and limits.
    """

    def __init__(self, options: DownloadOptions) -> None:
        import cv2

        cv2.setNumThreads(1)
        quality = {
            "jpg": cv2.IMWRITE_JPEG_QUALITY,
            "png": cv2.IMWRITE_PNG_COMPRESSION,
            "webp": cv2.IMWRITE_WEBP_QUALITY,
        }
        self._parameters = [int(quality[options.encode_format]), options.encode_quality]
        self._options = options

    def __call__(self, img_stream: io.BytesIO, _blurred: None = None) -> Resized:
        """What img2dataset's ``Resizer.__call__`` returns; nothing is blurred."""
        try:
            return self._resized(img_stream.getvalue())
        except TooCostlyPicture as error:
            message = f"too costly: {error}"
        except UndecodablePicture as error:
            message = str(error)
        return None, None, None, None, None, message

    def _resized(self, body: bytes) -> Resized:
        picture = take_apart(body)
        width, height = picture.size
        refused = self._refused(width, height)
        if refused is not None:
            return None, None, None, None, None, refused
        target = self._target(width, height)
        stays = target is None and self._stays(picture)
        with decoded(picture, reduction=8 if stays else _reduction(picture, target)) as pixels:
            if stays:  # decoded all the same, to see whether it can be
                return picture.body, width, height, width, height, None
            stored = pixels if target is None else self._fitted(pixels, target, larger=max(target) > max(width, height))
            encoded = self._encoded(stored)
        return encoded, stored.shape[1], stored.shape[0], width, height, None

    def _refused(self, width: int, height: int) -> str | None:
        """img2dataset's message where a picture is outside the limits."""
        short, long = sorted((width, height))
        if short < self._options.min_image_size:
            return "image too small"
        if short * long > self._options.max_image_area:
            return "image area too large"
        return "aspect ratio too large" if long / short > self._options.max_aspect_ratio else None

    def _stays(self, picture: Picture) -> bool:
        """Whether the file itself is stored, without its metadata."""
        same_format = picture.header.format == _FORMATS[self._options.encode_format]
        return self._options.skip_reencode and same_format and picture.plain

    def _target(self, width: int, height: int) -> tuple[int, int] | None:
        """Width and height to resize to, before cropping or padding; None where a picture stays as large as it is."""
        mode, size = self._options.resize_mode, self._options.image_size
        if mode == "no":
            return None
        side = (min if mode in ("keep_ratio", "center_crop") else max)(width, height)
        if self._options.resize_only_if_bigger and side <= size:
            return None
        scale = size / side
        target = max(1, round(width * scale)), max(1, round(height * scale))
        if target[0] * target[1] > self._options.max_image_area:
            raise TooCostlyPicture(f"resized it would have {target[0]} x {target[1]} pixels")
        return target

    def _fitted(self, pixels: Pixels, target: tuple[int, int], *, larger: bool) -> Pixels:
        """Pixels in the size asked for, cropped or padded as the mode says."""
        import cv2

        result: Any = pixels
        if target != (pixels.shape[1], pixels.shape[0]):
            result = cv2.resize(pixels, target, interpolation=cv2.INTER_LANCZOS4 if larger else cv2.INTER_AREA)
        size = self._options.image_size
        left, top = (size - target[0]) // 2, (size - target[1]) // 2
        if self._options.resize_mode == "center_crop":
            left, top = (target[0] - size) // 2, (target[1] - size) // 2
            result = result[top : top + size, left : left + size]
        if self._options.resize_mode == "border":
            sides = top, size - target[1] - top, left, size - target[0] - left
            result = cv2.copyMakeBorder(result, *sides, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        fitted: Pixels = result
        return fitted

    def _encoded(self, pixels: Pixels) -> bytes:
        import cv2

        try:
            done, encoded = cv2.imencode(f".{self._options.encode_format}", pixels, self._parameters)
        except cv2.error as error:
            raise UndecodablePicture(f"cannot be stored as {self._options.encode_format}: {error.err}") from error
        if not done:
            raise UndecodablePicture(f"cannot be stored as {self._options.encode_format}")
        content: bytes = encoded.tobytes()
        return content


def _reduction(picture: Picture, target: tuple[int, int] | None) -> int:
    """The part of its sides at which a JPEG is decoded: not smaller than what it is resized to, and in its place.

    Sides are rounded up to whole pixels, so that what is resized is the picture and up to a pixel more.
    """
    if target is None or picture.header.format != "jpeg":
        return 1
    sides = tuple(zip(picture.size, target, strict=True))

    def fits(part: int) -> bool:
        return all(side // part >= to and -side % part * to <= _OUT_OF_PLACE_PIXELS * side for side, to in sides)

    return max((part for part in REDUCTIONS if fits(part)), default=1)
