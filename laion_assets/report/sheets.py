"""Small copies of pictures out of the lake's tars, as data URIs."""

import base64
import tarfile
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from laion_assets.figures import read_pictures, thumbnail
from laion_assets.progress import Progress
from laion_assets.report.blocks import Place

PIXELS = 160


def thumbnails(root: Path, places: Iterable[Place]) -> Mapping[Place, str]:
    """The pictures at these places, each tar read once; what cannot be read is left out.

    Args:
        root: the lake's folder, which the tars' paths start from.
        places: where the pictures lie.
    """
    wanted = sorted(set(places), key=lambda place: (place.tar, place.key))
    progress = Progress("pictures", len(wanted), "pictures")
    found: dict[Place, str] = {}
    for tar, of_tar in groupby(wanted, key=lambda place: place.tar):
        members = list(of_tar)
        for place, content in _contents(root, tar, members).items():
            small = thumbnail(content, PIXELS, "WEBP")
            if small is not None:
                found[place] = f"data:image/webp;base64,{base64.b64encode(small).decode()}"
        progress(len(members))
    return found


def _contents(root: Path, tar: str, places: Iterable[Place]) -> Mapping[Place, bytes]:
    if Path(tar).is_absolute() or ".." in Path(tar).parts:  # a table that somebody else wrote may say anything
        return {}
    try:
        pictures = read_pictures(str(root / tar), [place.key for place in places])
    except (OSError, tarfile.TarError):
        return {}
    return {Place(tar=tar, key=key): content for key, content in pictures.items()}
