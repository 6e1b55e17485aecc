"""Small copies of pictures, for people to look at."""

import io
from collections.abc import Iterable
from itertools import product
from typing import Literal

from laion_assets.images.decode import rgb_picture
from laion_assets.images.parts import UndecodablePicture

THUMBNAIL_PIXELS = 96
_GLANCE_PIXELS = (320, 240, 160, 120, 80)
_GLANCE_QUALITIES = (50, 25, 5)


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


def strip(images: Iterable[bytes], pixels: int = 48) -> bytes | None:
    """Pictures side by side as one PNG, ``pixels`` high; None where none can be decoded."""
    from PIL import Image

    small = [Image.open(io.BytesIO(found)) for image in images if (found := thumbnail(image, pixels)) is not None]
    if not small:
        return None
    row = Image.new("RGB", (pixels * len(small), pixels), "white")
    for place, picture in enumerate(small):
        row.paste(picture, (place * pixels, 0))
    out = io.BytesIO()
    row.save(out, format="PNG")
    return out.getvalue()


def at_a_glance(image: bytes, most: int) -> bytes | None:
    """A picture as WebP of at most ``most`` bytes, as large as that allows; None where it would be too small to see."""
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        picture = opened.convert("RGB")
    for pixels, quality in product(_GLANCE_PIXELS, _GLANCE_QUALITIES):
        out = io.BytesIO()
        smaller = picture.copy()
        smaller.thumbnail((pixels, pixels))
        smaller.save(out, format="WEBP", quality=quality, method=6)
        if out.tell() <= most:
            return out.getvalue()
    return None
