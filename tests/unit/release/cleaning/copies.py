"""Copies of a release as third parties have them, in the layouts that their tools document."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_assets.webdataset.writer import write_samples


@dataclass(frozen=True)
class Pair:
    """One pair of a copy."""

    number: int
    url: str
    text: str
    picture: bytes

    @property
    def pair_id(self) -> int:
        return int(mmh3.hash64(self.url + self.text)[0])

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.picture).hexdigest()

    @property
    def key(self) -> str:
        return f"{self.number:09d}"


def pairs(count: int, host: str = "cdn{}.example.org") -> list[Pair]:
    """Pairs of which no two share anything."""
    made = []
    for number in range(count):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (number % 256, number // 256, 77)).save(picture, "PNG")
        url = f"https://{host.format(number % 3)}/img/{number:03d}%20a.png?w={number}"
        made.append(Pair(number, url, f"a caption “{number}”, with\na break and ünïcödé", picture.getvalue()))
    return made


def laion_list(path: Path, rows: list[Pair], **columns: list[object]) -> None:
    """Parquet with LAION's columns and ours, in row groups of seven."""
    table = pa.table(
        {
            "URL": [row.url for row in rows],
            "TEXT": [row.text for row in rows],
            "WIDTH": pa.array([8] * len(rows), pa.int32()),
            "hash": pa.array([row.pair_id for row in rows], pa.int64()),
            "sha256": [row.sha256 for row in rows],
            **columns,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7, compression="zstd")


def img2dataset_shard(folder: Path, shard: str, rows: list[Pair], failed: list[Pair] = ()) -> None:
    """A tar, its Parquet, and its counts, as img2dataset 1.47 writes them (with a column ``pair_id`` kept)."""

    def said(row: Pair, status: str) -> dict[str, object]:
        is_there = status == "success"
        return {
            "url": row.url, "caption": row.text, "pair_id": row.pair_id, "key": row.key, "status": status,
            "error_message": None if is_there else f"HTTPSConnectionPool(host='{row.url.split('/')[2]}'): refused",
            "width": 8 if is_there else None, "height": 8 if is_there else None,
            "sha256": row.sha256 if is_there else None,
        }  # fmt: skip

    folder.mkdir(parents=True, exist_ok=True)
    members = (
        {"json": json.dumps(said(row, "success"), indent=4).encode(), "png": row.picture, "txt": row.text.encode()}
        for row in rows
    )
    write_samples(folder / f"{shard}.tar", zip((row.key for row in rows), members, strict=True))
    told = [said(row, "success") for row in rows] + [said(row, "failed_to_download") for row in failed]
    pq.write_table(pa.Table.from_pylist(told), folder / f"{shard}.parquet")
    messages = [str(row["error_message"]) for row in told if row["error_message"]]
    counts = {
        "count": len(told), "successes": len(rows), "failed_to_download": len(failed), "failed_to_resize": 0,
        "duration": 1.5, "status_dict": {"success": len(rows)} | {text: messages.count(text) for text in messages},
    }  # fmt: skip
    (folder / f"{shard}_stats.json").write_text(json.dumps(counts, indent=4))


def vectors_of(rows: list[Pair], salt: float) -> np.ndarray:
    """A vector for each pair that says whose it is."""
    return np.array([[row.number, salt, 0.5, 1] for row in rows], dtype=np.float16)


def clip_retrieval_part(folder: Path, number: str, rows: list[Pair]) -> None:
    """Two arrays and their metadata, as clip-retrieval's writer has them."""
    for name, salt in (("img_emb", 1.0), ("text_emb", 2.0)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        np.save(folder / name / f"{name}_{number}.npy", vectors_of(rows, salt))
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    metadata = {
        "image_path": [row.key for row in rows], "caption": [row.text for row in rows],
        "url": [row.url for row in rows], "sha256": [row.sha256 for row in rows],
    }  # fmt: skip
    pq.write_table(pa.table(metadata), folder / "metadata" / f"metadata_{number}.parquet")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
