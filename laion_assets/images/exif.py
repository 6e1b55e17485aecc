"""What EXIF says of a picture: the tags that are kept, and how to turn it."""

import io
import json
import struct

_EXIF_TAGS = (
    "Make", "Model", "Software", "DateTime", "Orientation", "Artist", "Copyright", "ImageDescription",
)  # fmt: skip
_EXIF_BYTES = 131_072
_EXIF_CHARACTERS = 200


def exif_tags(body: bytes) -> str | None:
    """The common EXIF tags of a JPEG as a JSON object; None where it has none.

    Only the first directory, the tags named here and the first 128 kB are looked at, and values are cut: a forged
    directory can name thousands of values of any length, in a chain without an end.
    """
    from PIL import ExifTags, Image

    if not body.startswith(b"\xff\xd8"):
        return None
    try:
        with Image.open(io.BytesIO(body[:_EXIF_BYTES])) as picture:
            found = picture.getexif()
        values = {name: found.get(getattr(ExifTags.Base, name)) for name in _EXIF_TAGS}
    except Exception:  # noqa: BLE001 - Pillow raises anything on forged tags; a picture may lack them
        return None
    given = {name: str(value).strip()[:_EXIF_CHARACTERS] for name, value in values.items() if value is not None}
    return json.dumps(given) if given else None


_ORIENTATION_TAG = 0x0112
_SHORT = 3


def exif_orientation(tiff: bytes) -> int:
    """How to turn a picture to see it as it was taken: 1 to 8 (CIPA DC-008, Exif 2.32, 4.6.4, tag 274).

    Read as browsers read it: the first directory only, one value of type SHORT.

    Args:
        tiff: EXIF data from its TIFF header on (``II*`` or ``MM``), of any length and truth.

    Returns:
        1, upright, where the tag is absent or has no such value.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * number)
            if tag == _ORIENTATION_TAG:
                return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else 1
    except struct.error:  # the directory leads out of the data
        pass
    return 1
