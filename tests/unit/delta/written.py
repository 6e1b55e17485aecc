"""A lake with rows in every kind of table and the files that they name, as builds write it."""

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from PIL import Image

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.table import Column
from laion_assets.lake.opening import open_lake
from laion_assets.lake.takedowns import request_takedown
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from tests.unit.delta.conftest import PROVENANCE
from tests.unit.delta.tables_made import FIRST, SECOND, _filling, made, made_crawl, pair

MARK = "0123456789abcdef"


def picture(number: int, kind: str = "JPEG") -> bytes:
    """A small picture, another one for each number."""
    made = Image.new("RGB", (32, 32), (number * 40 % 256, 255 - number * 20 % 256, 99))
    made.putpixel((number % 32, 3), (0, 0, 0))
    content = io.BytesIO()
    made.save(content, kind)
    return content.getvalue()


def tar_of(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def with_files(
    lake: Lake, table: str, partition: str, rows: Sequence[Mapping[str, Any]], files: Mapping[str, Path]
) -> Commit:
    """Publish rows together with the files that they name."""
    with lake_build(lake, table, CATALOGUE.partition(partition), PROVENANCE) as build:
        for name, local in files.items():
            build.publish_file(local, name)
        columns = [c for c in TABLES[table].columns if c.name not in TABLES[table].partition_by]
        filled = [{c.name: row[c.name] if c.name in row else _some(c) for c in columns} for row in rows]
        build.add(pl.from_arrow(pa.Table.from_pylist(filled, schema=build.schema)))
        build.rows_in = len(rows)
        return build.publish()


def _some(column: Column) -> Any:
    return [] if pa.types.is_map(column.type) else _filling(column)


def images(lake: Lake, scratch: Path, crawl: str, numbers: Sequence[int], *, taken_over: str | None = None) -> Commit:
    """Pictures of a bucket in one tar; the first of them lies in the tar of another crawl where one is named."""
    partition = f"crawl={crawl}/bucket=0"
    name = f"files/images/{partition}/{MARK}/00000.tar"
    members, rows = {}, []
    for number in numbers:
        content, key = picture(number), f"{number:09d}"
        sha256 = hashlib.sha256(content).hexdigest()
        here = name
        if taken_over is not None and number == numbers[0]:
            here = f"files/images/crawl={taken_over}/bucket=0/{MARK}/00000.tar"
        else:
            members[f"{key}.jpg"] = content
            members[f"{key}.json"] = json.dumps({"sha256": sha256, "key": key}).encode()
        row = pair(number, sha256=sha256, shard_path=here, sample_key=key, width=32, height=32)
        rows.append({**row, "status": "success"})
    return with_files(lake, "images", partition, rows, {name: tar_of(scratch / crawl / "00000.tar", members)})


def shard(lake: Lake, scratch: Path, recipe: str) -> Commit:
    path = tar_of(scratch / recipe / "00000.tar", {"1.jpg": picture(1), "1.txt": b"one", "1.json": b"{}"})
    name = f"files/training_sets/{recipe}/{MARK * 2}/train/00000.tar"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = {"split": "train", "shard_path": name, "samples": 1, "bytes": path.stat().st_size, "sha256": digest}
    return with_files(lake, "training_sets", f"recipe={recipe}", [row], {name: path})


def weights(lake: Lake, scratch: Path, recipe: str) -> Commit:
    path = scratch / recipe / "epoch_1.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(recipe).randbytes(4_000))
    name = f"files/checkpoints/{recipe}/{MARK}/epoch_1.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = {"epoch": 1, "final": True, "path": name, "sha256": digest}
    return with_files(lake, "clip_checkpoints", f"recipe={recipe}", [row], {name: path})


def written_lake(uri: str, scratch: Path) -> Lake:
    """Two crawls through every stage, a training set, a checkpoint, and requests for removal."""
    lake = open_lake(uri)
    made_crawl(lake, FIRST)
    images(lake, scratch, FIRST, (1, 2, 3))
    made_crawl(lake, SECOND, earlier=[FIRST], numbers=(2, 5, 6))
    images(lake, scratch, SECOND, (2, 5, 6), taken_over=FIRST)
    request_takedown(lake, "url", "http://a.example/9.jpg", "its owner asked")
    request_takedown(lake, "url", "http://a.example/8.jpg", None)
    shard(lake, scratch, "small")
    weights(lake, scratch, "small")
    made(lake, "calibrations", "encoder_sha256=" + "e" * 64, [{"language_group": "en"}])
    made(lake, "robustness", "all", [{"recipe": "small", "epoch": 1, "benchmark": "b"}])
    return lake
