"""The perceptual hash of a picture."""

from typing import Any

import numpy as np

from laion_assets.images.decode import decoded
from laion_assets.images.parts import UndecodablePicture, take_apart


def perceptual_hash(encoded: bytes) -> int | None:
    """The 64-bit DCT hash of a picture as it is seen, as a signed integer: like pictures differ in few bits.

    The picture is reduced to 32 x 32 grey values; each bit says whether one of the 8 x 8 lowest coefficients of its
    discrete cosine transform exceeds their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010). Coefficients are rounded first, so that flat pictures give the same bits everywhere.

    Args:
        encoded: a picture file of bounded size; a large JPEG is decoded at a half, quarter or eighth of its sides.

    Returns:
        None where the picture cannot be decoded, or only at too high a cost.
    """
    import cv2

    try:
        picture = take_apart(encoded)
        short_side = min(picture.size)
        reduction = next((part for part in (8, 4, 2) if short_side >= 64 * part), 1)
        with decoded(picture, reduction=reduction, grey=True) as grey:
            small: Any = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    except UndecodablePicture:
        return None
    low = np.round(cv2.dct(small)[:8, :8].astype(np.float64), 1).ravel()
    bits = np.packbits(low > np.sort(low)[31:33].mean())
    return int.from_bytes(bits.tobytes(), "big", signed=True)
