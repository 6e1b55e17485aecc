"""A lake of two crawls, small enough to count by hand, for the models that are shipped.

Two buckets share pair ids, two encoders scored the English pairs, two urls lead to the same picture.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from laion_assets.delta.build import lake_build
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.tables.catalogue import TABLES
from tests.unit.sql.model_files import PROVENANCE

OLD, NEW = "CC-MAIN-2026-04", "CC-MAIN-2026-08"
BUCKETS = (0, 1)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One unique pair and what became of it; without a similarity its picture could not be fetched."""

    crawl: str = OLD
    bucket: int = 0
    pair_id: int
    url: str
    text: str
    language: str = "en"
    similarity: float | None = None
    released: bool = False
    size: tuple[int, int] = (300, 200)
    byte_size: int = 9000
    content_type: str = "image/jpeg"
    picture: str = ""
    copies: int = 1

    @property
    def url_id(self) -> int:
        """A number for its url."""
        return int(self.url.rsplit("/", 1)[1])

    @property
    def sha256(self) -> str:
        """Of its picture."""
        return (self.picture or f"{self.bucket}{self.pair_id}").rjust(64, "0")


PAIRS = (
    Pair(pair_id=1, url="http://a.example/1", text="a Red car on the road", similarity=0.3, released=True, copies=2),
    Pair(pair_id=2, url="http://a.example/2", text="red car", similarity=0.29, released=True),
    Pair(pair_id=3, url="http://a.example/3", text="cars", similarity=0.9),
    Pair(pair_id=4, url="http://b.example/4", text="small file shown", similarity=0.9, byte_size=4999),
    Pair(pair_id=5, url="http://b.example/5", text="moving picture here", similarity=0.9, content_type="image/gif"),
    Pair(pair_id=6, url="http://b.example/6", text="blue car", similarity=0.27),
    Pair(bucket=1, pair_id=1, url="http://a.example/7", text="ein rotes Auto", language="de", similarity=0.27,
         released=True),
    Pair(bucket=1, pair_id=2, url="http://a.example/8", text="12345 67890", language="nolang", similarity=0.25),
    Pair(bucket=1, pair_id=3, url="http://gone.example/9", text="gone away now"),
    Pair(bucket=1, pair_id=4, url="http://a.example/10", text="tall picture of a tower", similarity=0.5,
         released=True, size=(200, 601)),
    Pair(crawl=NEW, pair_id=7, url="http://a.example/11", text="large red car", similarity=0.6, released=True,
         size=(2000, 1500), picture="same"),
    Pair(crawl=NEW, bucket=1, pair_id=8, url="http://c.example/12", text="large green car", similarity=0.6,
         size=(2000, 1500)),
    Pair(crawl=NEW, bucket=1, pair_id=9, url="http://c.example/13", text="a green road", similarity=0.1,
         picture="same"),
)  # fmt: skip


def shipped_lake(folder: str) -> Lake:
    """The lake, built up to filtered_pairs."""
    lake = open_lake(folder, shards=1, buckets=len(BUCKETS))
    for crawl in (OLD, NEW):
        pairs = [pair for pair in PAIRS if pair.crawl == crawl]
        seen = [PAIRS[1]] if crawl == NEW else []
        candidates = [pair for pair in (*pairs, *seen) for _ in range(pair.copies)]
        _publish(lake, "crawl_snapshots", {"crawl": crawl}, [{"name": crawl}])
        _publish(lake, "wat_files", {"crawl": crawl}, [{"shard": 0}])
        rows = [_pair_row(pair) | {"record_offset": place} for place, pair in enumerate(candidates)]
        _publish(lake, "candidate_pairs", {"crawl": crawl, "shard": 0}, rows, no_alt=3)
        for bucket in BUCKETS:
            _publish_bucket(lake, crawl, bucket, [p for p in pairs if p.bucket == bucket], candidates)
    return lake


def _publish_bucket(lake: Lake, crawl: str, bucket: int, pairs: list[Pair], candidates: list[Pair]) -> None:
    place = {"crawl": crawl, "bucket": bucket}
    here = [pair for pair in candidates if pair.bucket == bucket]
    again = sum(pair.copies - 1 for pair in pairs)
    earlier = sum(pair.crawl != crawl for pair in here)
    rows = [_pair_row(pair) | {"duplicate_count": pair.copies} for pair in pairs]
    _publish(lake, "unique_pairs", place, rows, duplicate=again, seen_in_earlier_crawl=earlier)
    _publish(lake, "images", place, map(_image_row, pairs))
    scored = [pair for pair in pairs if pair.similarity is not None]
    second = [_embedding_row(p) | {"encoder": "other", "encoder_sha256": "ff"} for p in scored if p.language == "en"]
    failed = len(pairs) - len(scored)
    _publish(lake, "clip_embeddings", place, [*map(_embedding_row, scored), *second], image_failed=failed)
    released = [pair for pair in pairs if pair.released]
    dropped = len(scored) - len(released)
    _publish(
        lake, "filtered_pairs", place, map(_released_row, released), image_failed=failed, below_threshold_en=dropped
    )


def _publish(lake: Lake, table: str, partition: Mapping[str, Any], rows: Any, **drops: int) -> None:
    # Columns that no model asks for get some value of their type.
    declared = [c for c in TABLES[table].columns if c.name not in partition]
    filled = [
        {c.name: row.get(c.name, None if c.nullable else _SOME.get(str(c.type), "x")) for c in declared} for row in rows
    ]
    with lake_build(lake, table, partition, PROVENANCE) as build:
        build.add(pl.DataFrame(filled, schema=dict(pl.from_arrow(build.schema.empty_table()).schema)))
        build.rows_in = len(filled) + sum(drops.values())
        for reason, count in Counter(drops).items():
            build.drop(reason, count)
        build.publish()


_SOME: dict[str, Any] = {
    "int32": 1,
    "int64": 1,
    "float": 0.5,
    "bool": False,
    "list<item: float>": [1.0],
    "timestamp[us, tz=UTC]": datetime(2026, 1, 1, tzinfo=UTC),
}


def _pair_row(pair: Pair) -> dict[str, Any]:
    return {
        "bucket": pair.bucket,
        "pair_id": pair.pair_id,
        "url_id": pair.url_id,
        "url": pair.url,
        "text": pair.text,
        "language": pair.language,
    }


def _image_row(pair: Pair) -> dict[str, Any]:
    row = {"url_id": pair.url_id, "url": pair.url, "attempts": 1}
    if pair.similarity is None:
        return row | {"status": "failed", "failure": "http_4xx", "http_status": 404}
    width, height = pair.size
    return row | {
        "status": "success",
        "width": 10,
        "height": 10,
        "original_width": width,
        "original_height": height,
        "content_type": pair.content_type,
        "byte_size": pair.byte_size,
        "sha256": pair.sha256,
    }


def _embedding_row(pair: Pair) -> dict[str, Any]:
    return {
        "pair_id": pair.pair_id,
        "url_id": pair.url_id,
        "sha256": pair.sha256,
        "encoder": "ViT-B-32/openai",
        "encoder_sha256": "b32",
        "precision": "fp32",
        "similarity": pair.similarity,
    }


def _released_row(pair: Pair) -> dict[str, Any]:
    group = pair.language if pair.language in ("en", "nolang") else "multi"
    kept = {name: getattr(pair, name) for name in ("pair_id", "url", "text", "language", "similarity", "sha256")}
    return kept | {"subset": group, "policy": "laion", "encoder": "ViT-B-32/openai", "encoder_sha256": "b32"}
