"""Two small parts of a release with pictures and vectors, what is told of it, and a server that has the pictures."""

import hashlib
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_assets.common.digests import file_sha256
from laion_assets.pairs.identity import pair_id
from laion_assets.release.facts import CrawlFacts, EncoderFacts, ReleaseFacts, ThresholdFacts
from laion_assets.release.parts import EMBEDDING_COLUMNS, RELEASED_COLUMNS, Format, Part, ReleasedFile
from laion_assets.webdataset.writer import write_samples

CAPTIONS = (
    "a plain caption",
    "he said \"yes\", she said 'no'",
    "line one\nline two\r\nline three",
    "tab\tand  two blanks ",
    "日本語のキャプション",
    "שלום \u200frtl",
    "e\u0301 is not \u00e9",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 family \U0001f3f3\ufe0f\u200d\U0001f308",
    "back\\slash \\n no line break",
    "a,b;c|d",
    "<b>mark</b> &amp; &lt;",
    "\u2028 separators \u2029 \x85",
    "zero\u200bwidth \ufeff bom",
    "\U0001d518\U0001d52b\U0001d526 plane one",
    '{"json": [1, 2]}',
    "'; DROP TABLE pairs; --",
    "%s %d {0} {{x}}",
    'ends with a quote"',
    "\x01 control \x7f",
    "null",
)
"""What captions may hold: any Unicode but surrogates, quotes, line breaks, what looks like code."""
ENCODERS = {"ViT-B-32/laion2b": ("ab" * 32, 16), "xlm-roberta/laion5b": ("cd" * 32, 8)}
REPLACED = 3
"""The number of the pair whose picture the server has replaced by another."""


@cache
def picture(number: int, form: str = "jpeg") -> bytes:
    """A small picture, another for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def form_of(number: int) -> str:
    """What a picture is encoded as: some of the second part are PNGs."""
    return "png" if number >= 24 and number % 4 == 0 else "jpeg"


@contextmanager
def pictures_served() -> Iterator[str]:
    """The address of a server that has the pictures by number, one of them replaced."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.rpartition("/")[2].partition(".")[0])
            content = picture(1000 if number == REPLACED else number, form_of(number))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@dataclass(frozen=True, kw_only=True)
class Made:
    """Parts, the rows in them, and a release of them in some formats."""

    parts: tuple[Part, ...]
    rows: pl.DataFrame
    vectors: pl.DataFrame
    pictures: dict[int, bytes]
    """By pair_id, as stored."""
    facts: ReleaseFacts
    folder: Path
    files: tuple[ReleasedFile, ...]


def made_parts(folder: Path, address: str) -> tuple[tuple[Part, ...], dict[int, bytes]]:
    """A part of a crawl of Common Crawl with JPEGs alone, and one of an imported list that has PNGs and licences."""
    crawls = (("CC-MAIN-2024-10", range(24)), ("bought-list", range(24, 40)))
    pictures: dict[int, bytes] = {}
    parts = []
    for number, (crawl, numbers) in enumerate(crawls):
        rows = [_row(i, crawl, number, address) for i in numbers]
        frame = pl.DataFrame(rows).with_columns(pair_id=pair_id("url", "text")).sort("pair_id")
        pictures |= dict(frame.select("pair_id", "bytes").iter_rows())
        vectors = [
            _vector(row, name)
            for row in frame.iter_rows(named=True)
            for name in sorted(ENCODERS)
            if name.startswith("ViT") or row["subset"] != "en"
        ]
        part = Part(
            number=number * 4 + 1,
            parts=8,
            crawl=crawl,
            bucket=1,
            rows=_stored(frame, RELEASED_COLUMNS, folder / f"rows-{number}.parquet"),
            embeddings=_stored(pl.DataFrame(vectors), EMBEDDING_COLUMNS, folder / f"vectors-{number}.parquet"),
            tars=_source_tars(frame, folder / crawl),
        )
        parts.append(part)
    return tuple(parts), pictures


def _stored(frame: pl.DataFrame, schema: pa.Schema, path: Path) -> Path:
    pq.write_table(frame.select(schema.names).to_arrow().cast(schema), path)
    return path


def _source_tars(frame: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """The tars that the rows name, by shard_path, with a picture more than they name."""
    folder.mkdir()
    tars = {}
    for (name,), rows in frame.sort("sample_key").partition_by("shard_path", as_dict=True).items():
        tars[name] = folder / Path(name).name
        samples = [
            (row["sample_key"], {row["form"]: row["bytes"], "json": b"{}"}) for row in rows.iter_rows(named=True)
        ]
        write_samples(tars[name], [*samples, ("99999999", {"jpg": picture(99)})])
    return tars


def _row(number: int, crawl: str, part: int, address: str) -> dict[str, Any]:
    """A row of a part, with its picture in ``form`` and ``bytes``."""
    content = picture(number, form_of(number))
    subset = ("en", "multi", "nolang")[number % 3]
    encoder = "ViT-B-32/laion2b" if subset == "en" else "xlm-roberta/laion5b"
    return {
        "url": f"{address}/pictures/{number}.jpg?q=%C3%BC&x=1", "text": CAPTIONS[number % len(CAPTIONS)],
        "language": {"en": "en", "multi": "ja"}.get(subset, "nolang"), "subset": subset,
        "similarity": 0.25 + number / 1000, "width": 16, "height": 12, "original_width": 32, "original_height": 24,
        "license": f"https://example.org/{number}" if part and number % 2 else None,
        "punsafe": 0.125 if part else None, "pwatermark": None, "aesthetic_score": None,
        "sha256": hashlib.sha256(content).hexdigest(), "encoder": encoder, "encoder_sha256": ENCODERS[encoder][0],
        "policy": "laion", "threshold": 0.25, "crawl": crawl, "bucket": 1,
        "page_url": None if part else f"https://example.org/page/{number}",
        "exif": '{"Make": "x"}' if number % 2 else None,
        "sample_key": f"{number:08d}", "shard_path": f"images/{number % 2:05d}.tar",
        "form": form_of(number).replace("jpeg", "jpg"), "bytes": content,
    }  # fmt: skip


def _vector(row: dict[str, Any], encoder: str) -> dict[str, Any]:
    sha256, dimensions = ENCODERS[encoder]
    pair = np.random.default_rng(row["pair_id"] % 2**32).normal(size=(2, dimensions))
    pair = (pair / np.linalg.norm(pair, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    return {"pair_id": row["pair_id"], "encoder": encoder, "encoder_sha256": sha256,
            "image_embedding": pair[0], "text_embedding": pair[1]}  # fmt: skip


def facts_of(rows: pl.DataFrame) -> ReleaseFacts:
    """What is told of the parts."""
    count = lambda column: dict(rows.group_by(column).len().sort(column).iter_rows())  # noqa: E731
    return ReleaseFacts(
        name="tiny-pairs", description="Pairs made for a test; 日本語 \"too\".", creator="A Tester",
        contact="removals@example.org", url="https://example.org/tiny-pairs", license="CC-BY-4.0",
        created_at=datetime(2026, 11, 30, 8, tzinfo=UTC), source="filtered_pairs", where="similarity > 0.2",
        formats=("huggingface", "webdataset", "clip-retrieval", "croissant"), rows=rows.height, pictures=rows.height,
        subsets=count("subset"), languages=count("language"), hosts=[("127.0.0.1", rows.height)],
        drops={"unique_pairs": {"duplicate": 3}, "filtered_pairs": {"text too short | odd": 5}},
        crawls=[
            CrawlFacts(name="CC-MAIN-2024-10", source="s3://commoncrawl", rows=24,
                       first_capture=datetime(2024, 2, 20, tzinfo=UTC), last_capture=datetime(2024, 3, 5, tzinfo=UTC)),
            CrawlFacts(name="bought-list", source="list.parquet", rows=16),
        ],
        encoders=[EncoderFacts(name=name, sha256=sha256, precision="fp32", preprocess="resize 224, crop")
                  for name, (sha256, _) in ENCODERS.items()],
        policies=["laion"], thresholds=[ThresholdFacts(subset="en", encoder="ViT-B-32/laion2b", threshold=0.25)],
        code_versions={"filtered_pairs": "2", "images": "2"}, versions={"filtered_pairs": 7, "images": 9},
    )  # fmt: skip


def released(
    parts: Sequence[Part], formats: Sequence[Format], facts: ReleaseFacts, folder: Path
) -> tuple[ReleasedFile, ...]:
    """Write a release, as those who publish one do."""
    for part in parts:
        for form in formats:
            form.write_part(part, folder)
    files = tuple(
        ReleasedFile(
            path=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=file_sha256(file), kind="any",
            rows=pq.read_metadata(file).num_rows if file.suffix == ".parquet" else None,
        )
        for file in sorted(folder.rglob("*")) if file.is_file()
    )  # fmt: skip
    for form in formats:
        form.write_whole(facts, files, folder)
    return files
