"""Made pairs with pictures in webdataset tars, as the download stores them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from PIL import Image

PAIR_SCHEMA = {
    "pair_id": pl.Int64,
    "url_id": pl.Int64,
    "url": pl.String,
    "text": pl.String,
    "sha256": pl.String,
    "shard_path": pl.String,
    "sample_key": pl.String,
    "crawl": pl.String,
    "similarity": pl.Float32,
    "fetched_at": pl.Datetime("us", "UTC"),
}


@cache
def picture(number: int, form: str = "jpeg") -> bytes:
    """A small encoded picture, another for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def sha256_of(number: int) -> str:
    """What stands for the digest of the picture as downloaded."""
    return hashlib.sha256(b"picture %d" % number).hexdigest()


def write_source_tar(path: Path, pictures: Iterable[tuple[str, str, bytes]]) -> None:
    """A tar of (sample key, extension, picture), written as webdataset does: times as floats, so with PAX headers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, extension, content in pictures:
            for suffix, data in (("json", json.dumps({"key": key}).encode()), (extension, content)):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size, member.mtime, member.uname = len(data), 1234.5, "bigdata"  # type: ignore[assignment]
                archive.addfile(member, io.BytesIO(data))


def made_pairs(
    root: Path, captions: Sequence[Sequence[str]], *, per_tar: int = 7, encode: Callable[[int], bytes] = picture
) -> pl.DataFrame:
    """A pair for each caption of each picture; the pictures lie in tars below ``root``."""
    rows: list[dict[str, Any]] = []
    for first in range(0, len(captions), per_tar):
        numbers = range(first, min(first + per_tar, len(captions)))
        path = f"images/{first // per_tar:05d}.tar"
        write_source_tar(root / path, [(f"{n:09d}", ("jpg", "png", "webp")[n % 3], encode(n)) for n in numbers])
        for number in numbers:
            rows += [
                {
                    "pair_id": len(rows) * 7919 - 5_000_000_000 + at,
                    "url_id": number,
                    "url": f"https://pictures.example/{number}.jpg",
                    "text": text,
                    "sha256": sha256_of(number),
                    "shard_path": path,
                    "sample_key": f"{number:09d}",
                    "crawl": "CC-MAIN-2024-10",
                    "similarity": number / 7,
                    "fetched_at": 1_700_000_000_000_000 + number,
                }
                for at, text in enumerate(captions[number])
            ]
    return pl.DataFrame(rows, schema=PAIR_SCHEMA)


def connect(pairs: pl.DataFrame) -> duckdb.DuckDBPyConnection:
    """A connection as the lake's are, that knows the pairs as the view ``pairs``."""
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
    connection.register("pairs", pairs.to_arrow())
    return connection
