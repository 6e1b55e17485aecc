"""Small copies of pictures out of the lake's tars, as data URIs."""

import base64
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from laion_assets.common.progress import Progress
from laion_assets.delta.errors import LakeError
from laion_assets.delta.storage import Storage
from laion_assets.images.thumbnail import thumbnail
from laion_assets.report.blocks import Place
from laion_assets.webdataset.reader import TarError
from laion_assets.webdataset.samples import read_pictures

PIXELS = 160


def thumbnails(storage: Storage, places: Iterable[Place], *, seconds: float = math.inf) -> Mapping[Place, str]:
    """Small copies of the pictures at these places; see :func:`contents`."""
    found: dict[Place, str] = {}
    for place, content in contents(storage, places, seconds=seconds):
        small = thumbnail(content, PIXELS, "WEBP")
        if small is not None:
            found[place] = f"data:image/webp;base64,{base64.b64encode(small).decode()}"
    return found


def contents(storage: Storage, places: Iterable[Place], *, seconds: float = math.inf) -> Iterator[tuple[Place, bytes]]:
    """The files of the pictures at these places, each tar read once; what cannot be read is left out.

    Args:
        storage: where the lake's files lie.
        places: where the pictures lie.
        seconds: after these no further tar is opened. Out of a bucket each is copied whole.
    """
    wanted = sorted(set(places), key=lambda place: (place.tar, place.key))
    progress = Progress("pictures", len(wanted), "pictures")
    give_up = time.monotonic() + seconds
    for tar, of_tar in groupby(wanted, key=lambda place: place.tar):
        if time.monotonic() > give_up:
            return
        members = list(of_tar)
        yield from _of_tar(storage, tar, members).items()
        progress(len(members))


def _of_tar(storage: Storage, tar: str, places: Iterable[Place]) -> Mapping[Place, bytes]:
    try:
        with storage.local(tar) as file:
            pictures = read_pictures(file, [place.key for place in places])
    except (OSError, TarError, LakeError):  # a table that somebody else wrote may say anything
        return {}
    return {Place(tar=tar, key=key): content for key, content in pictures.items()}
