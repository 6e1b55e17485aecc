"""Virtual shards: lists of where the pictures of a shard's samples lie, in tars that are there already.

A virtual shard stands for the tar that a copy would be: as many samples, in the same order, dealt by the same schedule.
It costs the texts and some twenty bytes a sample, and reads the pictures where the download left them. A checksum a
picture takes the place of the copied tar's digest: a picture that is not what it was when the list was written ends the
training.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.webdataset.reader import TarError, TarReader

SUFFIX: Final = ".parquet"
"""What the name of a virtual shard ends with."""

_SCHEMA: Final = pa.schema(
    {
        "key": pa.string(),
        "tar": pa.dictionary(pa.int32(), pa.string()),
        "start": pa.int64(),
        "size": pa.int64(),
        "extension": pa.dictionary(pa.int32(), pa.string()),
        "crc32": pa.int64(),
        "text": pa.string(),
    }
)
_READ_AT_ONCE: Final = 1_024  # samples whose pictures are held: read as they lie, served in their own order


class Place(NamedTuple):
    """Where a sample's picture lies."""

    tar: str
    """Relative to the folder that is the root of all tars."""
    start: int
    size: int
    extension: str


def write_virtual(file: Path, root: Path, keys: Sequence[int], places: Sequence[Place], texts: Sequence[bytes]) -> None:
    """Write the list of a shard's samples, in order; every picture is read once, for its checksum.

    Args:
        file: to write.
        root: folder that the tars are below.
        keys: names of the samples.
        places: of their pictures.
        texts: of them, in UTF-8.

    Raises:
        TarError: a tar is absent or shorter than it was.
    """
    sums = [0] * len(places)
    for number, content in _pictures(root, places):
        sums[number] = zlib.crc32(content)
    columns = {
        "key": [str(key) for key in keys],
        "tar": [place.tar for place in places],
        "start": [place.start for place in places],
        "size": [place.size for place in places],
        "extension": [place.extension for place in places],
        "crc32": sums,
        "text": [text.decode() for text in texts],
    }
    pq.write_table(pa.table(columns, schema=_SCHEMA), file, compression="zstd")


def read_virtual(shard: Path, root: Path) -> Iterator[dict[str, Any]]:
    """The samples that a virtual shard stands for, as webdataset gives those of a tar.

    Memory: the pictures of some hundred samples, besides the list.

    Args:
        shard: that :func:`write_virtual` wrote.
        root: folder that the tars are below.

    Yields:
        ``__key__``, ``__url__`` (the shard), the picture's bytes by its extension, and ``txt``.

    Raises:
        OSError: the list is not there.
        TarError: a tar is absent, or a picture is not what it was when the list was written.
    """
    rows = pq.read_table(shard)
    for first in range(0, rows.num_rows, _READ_AT_ONCE):
        some = rows.slice(first, _READ_AT_ONCE).to_pydict()
        places = [Place(*place) for place in zip(*(some[name] for name in Place._fields), strict=True)]
        contents = [b""] * len(places)
        for number, content in _pictures(root, places):
            if zlib.crc32(content) != some["crc32"][number]:
                raise TarError(
                    f"{root / places[number].tar} is not what it was when {shard} was written: the picture of sample "
                    f"{some['key'][number]} differs; download its partition again, then `laion train RECIPE`"
                )
            contents[number] = content
        for key, place, content, text in zip(some["key"], places, contents, some["text"], strict=True):
            yield {"__key__": key, "__url__": str(shard), place.extension: content, "txt": text.encode()}


def _pictures(root: Path, places: Sequence[Place]) -> Iterator[tuple[int, bytes]]:
    """The number of each place and its picture, in the order in which they lie, one tar open at a time."""
    order = sorted(range(len(places)), key=lambda number: places[number][:2])
    for tar, numbers in groupby(order, key=lambda number: places[number].tar):
        with TarReader(root / tar) as reader:
            for number in numbers:
                yield number, reader.read(places[number].start, places[number].size)
