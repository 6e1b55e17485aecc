"""What pictures are compared by: their bytes, their perceptual hash, and which colours lie where."""

# Names of relations and masks, never values, are put into SQL here.

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from laion_assets.images.decode import decoded
from laion_assets.images.parts import UndecodablePicture, take_apart
from laion_assets.images.perceptual_hash import perceptual_hash

LAYOUT_SIDE: Final = 8
LAYOUT_BYTES: Final = LAYOUT_SIDE * LAYOUT_SIDE * 3

MAX_AREA: Final = 89_478_484
"""Largest picture decoded, in pixels; what the download accepts by default."""
_HASH_BITS: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What two pictures are compared by."""

    sha256: str
    """Of the file, 64 hexadecimal digits."""
    perceptual_hash: int
    """64-bit DCT hash as a signed integer (``images.perceptual_hash``)."""
    colour_layout: bytes
    """192 bytes: L, a + 128 and b + 128 (CIELAB, in whole units) of 8 x 8 cells, row by row."""


def fingerprint(image: bytes) -> Fingerprint | None:
    """What a picture is compared by; None where it cannot be decoded or has more than ``MAX_AREA`` pixels.

    The hash is that which the download computes for the same bytes. Both are of the picture as it is seen: a file with
    16 bits, an EXIF orientation or transparent parts and the picture that is stored of it are alike.
    """
    layout = colour_layout(image)
    hashed = None if layout is None else perceptual_hash(image)
    if layout is None or hashed is None:
        return None
    return Fingerprint(sha256=hashlib.sha256(image).hexdigest(), perceptual_hash=hashed, colour_layout=layout)


def colour_layout(image: bytes) -> bytes | None:
    """Mean colours of 8 x 8 cells, as in ``Fingerprint.colour_layout``; None where ``fingerprint`` is None.

    Like the colour layout of MPEG-7 (ISO/IEC 15938-3), but kept as cells: their differences are colour differences.
    """
    import cv2

    try:
        picture = take_apart(image)
        width, height = picture.size
        if width * height > MAX_AREA:
            return None
        # A JPEG is reduced exactly while it is decoded; of other formats OpenCV would leave out pixels.
        reduced = picture.header.format == "jpeg" and min(width, height) >= 256
        with decoded(picture, reduction=4 if reduced else 1) as pixels:
            # Whole numbers would be rounded by the reduction; very large pictures stay so for the sake of memory.
            exact = pixels.astype(np.float32) if pixels.size <= 8_000_000 else pixels
            small: Any = cv2.resize(exact, (LAYOUT_SIDE, LAYOUT_SIDE), interpolation=cv2.INTER_AREA)
    except UndecodablePicture:
        return None
    bgr = small.astype(np.float32) if small.ndim == 3 else cv2.cvtColor(small.astype(np.float32), cv2.COLOR_GRAY2BGR)
    lab = cv2.cvtColor(bgr / np.float32(255), cv2.COLOR_BGR2Lab)
    return bytes(np.clip(np.round(lab + np.array((0, 128, 128), np.float32)), 0, 255).astype(np.uint8).tobytes())


def colour_distances(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour distance of every layout to every other: root mean square over cells of dE*ab (CIE 1976, 0 to 100).

    Args:
        left: uint8 [n, 192], layouts.
        right: uint8 [m, 192], layouts.

    Returns:
        float64 [n, m]. Layouts are whole numbers, so that sums are exact and the same on every machine.
    """
    a, b = left.astype(np.float64), right.astype(np.float64)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
    distances: NDArray[np.float64] = np.sqrt(squares / (LAYOUT_SIDE * LAYOUT_SIDE))
    return distances


def near_hashes(left: str, right: str, hamming: int) -> str:
    """A query for all pairs of hashes of two relations that differ in at most ``hamming`` bits.

    By the pigeonhole principle such hashes agree in at least one of ``hamming + 1`` groups of bits, so that equi-joins
    on the groups find every pair; it is given out by the first group only. A group takes every ``hamming + 1``-th bit:
    neighbouring bits of a DCT hash go together, and groups of them would split pictures less evenly.

    Args:
        left: Relation with distinct values in ``perceptual_hash`` (bigint).
        right: The same of other pictures.
        hamming: Largest number of differing bits.

    Returns:
        SQL with columns ``left_hash, right_hash`` and ``hamming`` (integer); no pair twice.
    """
    masks = [_mask(group, hamming + 1) for group in range(hamming + 1)]
    differing = "xor(l.perceptual_hash, r.perceptual_hash)"
    queries = []
    for group, mask in enumerate(masks):
        earlier = "".join(f" AND ({differing} & {other}) <> 0" for other in masks[:group])
        queries.append(f"""
            SELECT l.perceptual_hash AS left_hash, r.perceptual_hash AS right_hash,
                   bit_count({differing})::INTEGER AS hamming
            FROM {left} AS l JOIN {right} AS r
              ON (l.perceptual_hash & {mask}) = (r.perceptual_hash & {mask})
            WHERE bit_count({differing}) <= {hamming}{earlier}""")
    return " UNION ALL ".join(queries)


def _mask(group: int, groups: int) -> str:
    """Every ``groups``-th bit from ``group`` on, as a signed 64-bit SQL literal."""
    bits = sum(1 << bit for bit in range(group, _HASH_BITS, groups))
    return f"({bits - (1 << _HASH_BITS) if bits >> (_HASH_BITS - 1) else bits})::BIGINT"
