"""Tiny releases in folders, written as steps write them, of rows that a test names."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.delta.folder import FolderStorage
from laion_assets.release.build import Known, WrittenFile, finish_release, write_part
from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.formats.laion import LaionParquet
from laion_assets.release.options import Release, ReleaseOptions, usual_terms
from laion_assets.release.parts import RELEASED_COLUMNS, Part

CRAWL = "CC-MAIN-2026-04"
DAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
Rows = Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]
"""Rows by crawl and bucket."""


def row(pair_id: int, **others: Any) -> dict[str, Any]:
    """A row of a release."""
    return {
        "pair_id": pair_id, "url": f"https://example.org/{pair_id}.jpg", "text": f"picture {pair_id}",
        "language": "en", "subset": "en", "similarity": 0.3, "sha256": f"{pair_id:064x}", "crawl": CRAWL, "bucket": 0,
        **others,
    }  # fmt: skip


def release(name: str, rows: Rows, destination: Path) -> Release:
    """What a lake would know of it."""
    counts = {place: len(found) for place, found in rows.items()}
    options = ReleaseOptions(formats=("laion",), destination=str(destination))
    return Release(
        name=name,
        terms=options.terms(name, usual_terms(name, options), None),
        created_at=DAY,
        pairs=sum(counts.values()),
        pictures=0,
        part_rows=counts,
        crawls=tuple(sorted({crawl for crawl, _ in rows})),
        left_out={},
        subsets={},
        languages={},
        hosts={},
        versions={"unique_pairs": 3},
    )


def write_release(
    name: str, rows: Rows, destination: Path, work: Path, *, feed: bytes = b"", known: Known = lambda _: None
) -> list[WrittenFile]:
    """Write it; gives the files of its parts."""
    made, place, written = release(name, rows, destination), FolderStorage(destination), []
    for number, ((crawl, bucket), found) in enumerate(rows.items()):
        folder = work / name / str(number)
        folder.mkdir(parents=True)
        parquet = folder / "rows.parquet"
        given = [{**one, "crawl": crawl, "bucket": bucket} for one in sorted(found, key=lambda r: r["pair_id"])]
        pq.write_table(pa.Table.from_pylist(given, schema=RELEASED_COLUMNS), parquet)
        part = Part(number=number, parts=len(rows), crawl=crawl, bucket=bucket, rows=parquet, embeddings=None, tars={})
        with duckdb.connect() as con:
            written += write_part(con, part, [LaionParquet()], place, folder / "files", known)
    facts = ReleaseFacts(
        name=name, creator="nobody", contact="nobody", license="CC0-1.0", created_at=DAY, source="filtered_pairs",
        formats=["laion"], rows=made.pairs, pictures=0,
    )  # fmt: skip
    files = sorted((one.file for one in written), key=lambda file: file.path)
    finish_release(made, files, [LaionParquet()], facts, feed, place, work / name)
    return written


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by its path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
