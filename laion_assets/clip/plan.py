"""Which pairs of a partition must be embedded, and which rows are still right.

A row is right as long as picture, encoder, its weights, its preprocessing and its arithmetic are the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from laion_assets.clip.encoder import Encoder
from laion_assets.common.duck import number, quoted
from laion_assets.text.language import language_group_sql


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingPlan:
    """What becomes of the pairs: pairs == taken_over + wanted + the drops."""

    pairs: int
    taken_over: int
    wanted: int
    drops: dict[str, int]
    """Pairs without a picture: ``image_failed``, or ``image_missing`` where nobody tried."""


def plan_embeddings(
    con: duckdb.DuckDBPyConnection,
    *,
    pairs: str,
    images: str,
    earlier: str,
    encoders: Mapping[str, Encoder],
    columns: tuple[str, ...],
    output: Path,
    outdated_since: datetime | None = None,
) -> EmbeddingPlan:
    """Sort every pair into the table ``planned`` of ``con``, and write the rows that are still right.

    Args:
        con: knows the views.
        pairs: view with pair_id, url_id, url, text and language.
        images: view with url, status, sha256, shard_path, sample_key and fetched_at.
        earlier: view of the rows this partition holds now.
        encoders: the encoder of each language group.
        columns: the columns of a row, to be written.
        output: Parquet file for the rows taken over.
        outdated_since: when the earlier rows were published, where other code did so. A picture fetched after that is
            encoded again: it may be stored in another way, although its bytes as downloaded are the same.
    """
    rows = [(group, e.sha256, e.name, e.preprocess, e.precision) for group, e in encoders.items()]
    con.register("encoder_of", pl.DataFrame(rows, schema=["subset", "sha", "name", "prep", "arithmetic"], orient="row"))
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE planned AS
        SELECT pair.pair_id, pair.url_id, pair.text, encoder_of.subset, encoder_of.sha AS encoder_sha256,
               image.sha256, image.shard_path, image.sample_key,
               CASE WHEN image.url IS NULL THEN 'image_missing'
                    WHEN image.status <> 'success' THEN 'image_failed'
                    WHEN own.pair_id IS NOT NULL THEN 'taken_over'
                    ELSE 'wanted' END AS outcome
        FROM {pairs} AS pair
        JOIN encoder_of ON subset = {language_group_sql("pair.language")}
        LEFT JOIN {images} AS image USING (url)
        LEFT JOIN {earlier} AS own
          ON own.pair_id = pair.pair_id AND own.sha256 = image.sha256 AND own.encoder_sha256 = encoder_of.sha
         AND own.encoder = encoder_of.name AND own.preprocess = encoder_of.prep
         AND own.precision = encoder_of.arithmetic AND ($since IS NULL OR image.fetched_at <= $since)
    """,
        {"since": outdated_since},
    )
    names = ", ".join(f"own.{name}" for name in columns)
    con.execute(f"""
        COPY (SELECT {names} FROM {earlier} AS own JOIN planned USING (pair_id, encoder_sha256)
              WHERE outcome = 'taken_over' ORDER BY pair_id)
        TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd)
    """)
    outcomes = dict(con.execute("SELECT outcome, count(*) FROM planned GROUP BY 1").fetchall())
    return EmbeddingPlan(
        pairs=number(con, f"SELECT count(*) FROM {pairs}"),
        taken_over=outcomes.pop("taken_over", 0),
        wanted=outcomes.pop("wanted", 0),
        drops=outcomes,
    )


def wanted_by_tar(con: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """What is wanted, tar by tar and encoder by encoder: one tar's texts are in memory at a time.

    Yields:
        Path of the tar, sha256 of the encoder's weights, and the pairs as ``embed_tar`` takes them.
    """
    work = con.execute(
        "SELECT DISTINCT shard_path, encoder_sha256 FROM planned WHERE outcome = 'wanted' ORDER BY ALL"
    ).fetchall()
    for shard_path, sha256 in work:
        pairs = con.execute(
            "SELECT pair_id, url_id, sha256, sample_key, text FROM planned "
            "WHERE outcome = 'wanted' AND shard_path = ? AND encoder_sha256 = ?",
            [shard_path, sha256],
        ).pl()
        yield shard_path, sha256, pairs
