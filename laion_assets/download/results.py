"""The rows a download gives: one for each url, in one Parquet file beside each tar."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from laion_assets.common.files import put_into_place
from laion_assets.consent.signals import SAID

_REQUEST_KEY = b"laion.request"

SCHEMA = pa.schema(
    [
        ("url_id", pa.int64()),
        ("url", pa.string()),
        ("status", pa.string()),
        ("failure", pa.string()),
        ("failure_detail", pa.string()),
        ("http_status", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("final_url", pa.string()),
        ("content_type", pa.string()),
        ("attempts", pa.int32()),
        ("byte_size", pa.int64()),
        ("sha256", pa.string()),
        ("perceptual_hash", pa.int64()),
        ("exif", pa.string()),
        ("signals", SAID),
        ("asked_at", pa.timestamp("us", tz="UTC")),
        ("shard_path", pa.string()),
        ("sample_key", pa.string()),
        ("expected", pa.string()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of the results. Those about the stored picture are null for a url that failed."""


class Row(TypedDict):
    """What became of one url; ``SCHEMA`` has the types."""

    url_id: int
    url: str
    status: str
    failure: str | None
    failure_detail: str | None
    http_status: int | None
    width: int | None
    height: int | None
    original_width: int | None
    original_height: int | None
    final_url: str | None
    content_type: str | None
    attempts: int
    byte_size: int | None
    sha256: str | None
    perceptual_hash: int | None
    exif: str | None
    signals: list[dict[str, object]] | None
    asked_at: datetime | None
    shard_path: str | None
    sample_key: str | None
    expected: str | None
    fetched_at: datetime


def write_rows(rows: Sequence[Row], path: Path, *, request: str, scratch: Path) -> None:
    """Write the rows of a tar in order of ``url_id`` and url; they appear at ``path`` at once, by rename.

    Args:
        rows: the rows.
        path: where they appear.
        request: digest of what was asked for, kept in the file for ``answers``.
        scratch: path on the same file system where the file is written first.
    """
    ordered = sorted(rows, key=lambda row: (row["url_id"], row["url"]))
    table = pa.Table.from_pylist(ordered, schema=SCHEMA).replace_schema_metadata({_REQUEST_KEY: request.encode()})
    pq.write_table(table, scratch, compression="zstd")
    put_into_place(scratch, path, durable=True)


def answers(path: Path, request: str) -> bool:
    """Whether the rows at ``path`` exist and are the answer to exactly this request."""
    try:
        metadata = pq.read_schema(path).metadata
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return bool((metadata or {}).get(_REQUEST_KEY) == request.encode())
