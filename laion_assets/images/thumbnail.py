"""Small copies of pictures, for people to look at."""

import io
from typing import Literal

from laion_assets.images.decode import rgb_picture
from laion_assets.images.parts import UndecodablePicture

THUMBNAIL_PIXELS = 96


def thumbnail(image: bytes, pixels: int = THUMBNAIL_PIXELS, format_: Literal["JPEG", "WEBP"] = "JPEG") -> bytes | None:
    """The picture on at most ``pixels`` by ``pixels``; None if it cannot be decoded, or would take too much memory."""
    out = io.BytesIO()
    try:
        with rgb_picture(image) as picture:
            picture.thumbnail((pixels, pixels))
            picture.save(out, format=format_, quality=80)
    except UndecodablePicture:
        return None
    return out.getvalue()
