"""The scores of the pictures of one partition: what is taken over, what is a dot product, what needs more.

A score is right as long as picture, head, and what the head saw (encoder, its weights, preprocessing, arithmetic) are
the same. Nothing is embedded here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl

from laion_assets.common.duck import number, quoted
from laion_assets.scoring.head import Head
from laion_assets.scoring.shapes import Affine, Layers
from laion_assets.scoring.tensors import HeadError
from laion_assets.scoring.watermark import PRECISION, PREPROCESS

_ROWS: Final = 8192

COLUMNS: Final = (
    "sha256", "head", "head_sha256", "measures", "priority", "encoder", "encoder_sha256", "preprocess", "precision",
    "value",
)  # fmt: skip
"""What a row of scores has."""
_KNOWN: Final = ", ".join(COLUMNS[:-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorePlan:
    """What becomes of pictures times heads: rows_in == taken_over + wanted + the drops."""

    rows_in: int
    taken_over: int
    wanted: int
    drops: dict[str, int]
    """``not_embedded``: the picture has no vector of the encoder that the head was made for."""


def plan_scores(
    con: duckdb.DuckDBPyConnection,
    *,
    images: str,
    embeddings: str,
    earlier: str,
    heads: Sequence[tuple[Head, str | None]],
    output: Path,
) -> ScorePlan:
    """Sort pictures times heads into the table ``planned_scores`` of ``con``, and write the rows that are still right.

    Args:
        con: knows the views.
        images: view with url_id, status, sha256, shard_path and sample_key.
        embeddings: view of ``clip_embeddings``.
        earlier: view of the rows that this partition holds now and that the same code made.
        heads: each head, in their order, and what rows of embeddings call its encoder, if any.
        output: Parquet file for the rows taken over.
    """
    schema = ["head", "head_sha256", "measures", "priority", "encoder", "sees"]
    rows = [
        (head.name, head.sha256, head.measures, place, feeder, head.sees) for place, (head, feeder) in enumerate(heads)
    ]
    types = [pl.String, pl.String, pl.String, pl.Int32, pl.String, pl.String]
    con.register("heads", pl.DataFrame(rows, dict(zip(schema, types, strict=True)), orient="row"))
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE planned_scores AS
        WITH pictures AS (
            SELECT sha256, arg_min({{'shard_path': shard_path, 'sample_key': sample_key}}, url_id) AS place
            FROM {images} WHERE status = 'success' AND sha256 IS NOT NULL GROUP BY sha256
        ), vectors AS (  -- equal pictures have equal vectors; the same one is taken whenever this runs
            SELECT sha256, encoder, min(pair_id) AS pair_id FROM {embeddings} GROUP BY ALL
        ), seen AS (
            SELECT sha256, heads.*, place, vectors.pair_id, embedded.encoder_sha256,
                   CASE sees WHEN 'pixels' THEN {quoted(PREPROCESS)} ELSE embedded.preprocess END AS preprocess,
                   CASE sees WHEN 'pixels' THEN {quoted(PRECISION)} ELSE embedded.precision END AS precision
            FROM pictures CROSS JOIN heads
            LEFT JOIN vectors USING (sha256, encoder)
            LEFT JOIN {embeddings} AS embedded
              ON embedded.pair_id = vectors.pair_id AND embedded.encoder = vectors.encoder
        )
        SELECT seen.*, own.value,
               CASE WHEN seen.encoder IS NOT NULL AND seen.pair_id IS NULL THEN 'not_embedded'
                    WHEN own.value IS NOT NULL THEN 'taken_over'
                    ELSE 'wanted' END AS outcome
        FROM seen LEFT JOIN {earlier} AS own
          ON own.sha256 = seen.sha256 AND own.head_sha256 = seen.head_sha256 AND own.measures = seen.measures
         AND own.encoder_sha256 IS NOT DISTINCT FROM seen.encoder_sha256
         AND own.preprocess IS NOT DISTINCT FROM seen.preprocess
         AND own.precision IS NOT DISTINCT FROM seen.precision
    """)
    con.execute(f"""
        COPY (SELECT {_KNOWN}, value FROM planned_scores WHERE outcome = 'taken_over' ORDER BY sha256, head)
        TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd)
    """)
    outcomes = dict(con.execute("SELECT outcome, count(*) FROM planned_scores GROUP BY 1").fetchall())
    return ScorePlan(
        rows_in=number(con, "SELECT count(*) FROM planned_scores"),
        taken_over=outcomes.pop("taken_over", 0),
        wanted=outcomes.pop("wanted", 0),
        drops=outcomes,
    )


def wanted_heads(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The heads that have something to do: no other need be loaded."""
    found = con.execute("SELECT DISTINCT head FROM planned_scores WHERE outcome = 'wanted'").fetchall()
    return {str(head) for (head,) in found}


def score_vectors(
    con: duckdb.DuckDBPyConnection, embeddings: str, scorers: Mapping[str, Affine | Layers], output: Path
) -> list[Path]:
    """Write the wanted scores of heads on vectors, planned by :func:`plan_scores`; gives the files.

    What is linear is a dot product in SQL, the rest goes through numpy some thousand rows at a time.

    Args:
        con: knows the view, and what was planned.
        embeddings: view of ``clip_embeddings``.
        scorers: by head.
        output: folder for a Parquet file a head.

    Raises:
        HeadError: the vectors have another width than a head's.
    """
    files: list[Path] = []
    for head, scorer in scorers.items():
        wanted = f"""
            FROM planned_scores AS planned JOIN {embeddings} AS embedded
              ON embedded.pair_id = planned.pair_id AND embedded.encoder = planned.encoder
            WHERE outcome = 'wanted' AND head = {quoted(head)}"""
        width = number(con, f"SELECT max(len(image_embedding)) {wanted}")
        if width != scorer.width:
            raise HeadError(
                f"the head {head} takes vectors of width {scorer.width}, and those of the lake have {width}"
            )
        known = ", ".join(f"planned.{name}" for name in COLUMNS[:-1])
        file = output / f"scored-{head}.parquet"
        files.append(file)
        if isinstance(scorer, Affine):
            con.execute(
                f"COPY (SELECT {known}, {linear_sql('image_embedding', scorer)} AS value {wanted}) "
                f"TO {quoted(file)} (FORMAT parquet, COMPRESSION zstd)"
            )
        else:
            _through_layers(con, f"SELECT {known}, image_embedding {wanted}", scorer, file)
    return files


def linear_sql(vector: str, head: Affine) -> str:
    """SQL: the score of a vector, a list of FLOAT, by a linear head.

    Args:
        vector: the expression that gives it.
        head: the head.
    """
    weights = ", ".join(repr(float(np.float32(weight))) for weight in head.weights)
    score = f"(list_dot_product({vector}, [{weights}]::FLOAT[]) + {head.bias!r})"
    return f"(1 / (1 + exp(-{score})))::FLOAT" if head.is_probability else f"{score}::FLOAT"


def _through_layers(con: duckdb.DuckDBPyConnection, query: str, scorer: Layers, file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = con.execute(query).to_arrow_reader(_ROWS)
    schema = pa.schema([field for field in batches.schema if field.name != "image_embedding"])
    schema = schema.append(pa.field("value", pa.float32()))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            lists = batch.column("image_embedding")
            vectors = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), scorer.width)
            kept = batch.drop_columns(["image_embedding"])
            writer.write_batch(kept.append_column("value", pa.array(scorer.score(vectors).astype(np.float32))))


def wanted_pixels(con: duckdb.DuckDBPyConnection, head: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """What a head that sees pixels has to score, tar by tar.

    Yields:
        Path of the tar, and its pictures: ``sample_key``, and all that a row of scores has but the value.
    """
    wanted = f"FROM planned_scores WHERE outcome = 'wanted' AND head = {quoted(head)}"
    for (shard_path,) in con.execute(f"SELECT DISTINCT place.shard_path {wanted} ORDER BY 1").fetchall():
        pictures = con.execute(
            f"SELECT {_KNOWN}, place.sample_key AS sample_key {wanted} AND place.shard_path = ?", [shard_path]
        ).pl()
        yield str(shard_path), pictures
