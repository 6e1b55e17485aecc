"""Pictures of a webdataset tar and their texts to rows of `clip_embeddings`.

What belongs here: reading the tar, batching, similarity. What does not: which pairs are wanted, and where the rows go.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from laion_assets.clip.encoder import BoolArray, Encoder, FloatArray, PreparedImages, cosine_similarity
from laion_assets.webdataset.reader import TarError, TarReader
from laion_assets.webdataset.samples import PicturePlace, pictures_of

EMBEDDING_SCHEMA: Final[dict[str, pl.DataType]] = {
    "pair_id": pl.Int64(),
    "url_id": pl.Int64(),
    "sha256": pl.String(),
    "encoder": pl.String(),
    "encoder_sha256": pl.String(),
    "preprocess": pl.String(),
    "precision": pl.String(),
    "image_embedding": pl.List(pl.Float32()),
    "text_embedding": pl.List(pl.Float32()),
    "text_truncated": pl.Boolean(),
    "similarity": pl.Float32(),
}
"""Columns that `embed_tar` yields."""


@dataclass(slots=True)
class EmbeddingCounts:
    """What happened to the pairs of one or more tars, counted where it happened: pairs == rows + Σ drops."""

    pairs: int = 0
    """Pairs asked for."""
    rows: int = 0
    """Pairs embedded."""
    images: int = 0
    """Pictures encoded, each once however many texts it has."""
    texts_truncated: int = 0
    """Rows whose text was longer than the encoder reads."""
    drops: dict[str, int] = field(default_factory=dict)
    """Pairs dropped, by reason: `undecodable`, the encoder's decoder refused the picture."""


def embed_tar(encoder: Encoder, tar: Path, pairs: pl.DataFrame, *, counts: EmbeddingCounts) -> Iterator[pl.DataFrame]:
    """Embed the pairs of one tar, each picture encoded once.

    Pictures go through the encoder in the order of their sample keys, `encoder.batch_size` at a time, so that a rerun
    makes the same batches. One batch is decoded while the one before is encoded; no more is held in memory.

    Args:
        encoder: The loaded encoder.
        tar: A webdataset tar: members `<sample_key>.<jpg|jpeg|png|webp>`.
        pairs: Columns `pair_id, url_id, sha256, sample_key, text`; every picture of the tar that is wanted, once for
            each of its texts.
        counts: Is added to.

    Yields:
        Frames of `EMBEDDING_SCHEMA`, ordered by (sample key, pair_id), one a batch of pictures.

    Raises:
        TarError: the tar cannot be read to its end, or lacks a picture that `pairs` names.
    """
    ordered = pairs.sort("sample_key", "pair_id")
    counts.pairs += ordered.height
    keys = ordered["sample_key"].unique(maintain_order=True).to_list()
    if not keys:
        return
    try:
        places = pictures_of(tar)
        missing = set(keys) - places.keys()
        if missing:
            raise TarError(
                f"{tar} lacks the pictures of {len(missing)} of {len(keys)} sample keys, {min(missing)} among them"
            )
        with TarReader(tar) as reader, ThreadPoolExecutor(1, "prepare") as ahead:
            for batch_keys, prepared in _prepared_batches(encoder, reader, places, keys, ahead):
                batch = ordered.filter(pl.col("sample_key").is_in(batch_keys))
                yield _embed_batch(encoder, batch, batch_keys, prepared, counts)
    except TarError as error:
        raise TarError(f"its pictures cannot be read: {error}; download its partition again") from error


def _prepared_batches(
    encoder: Encoder,
    reader: TarReader,
    places: dict[str, PicturePlace],
    keys: list[str],
    ahead: ThreadPoolExecutor,
) -> Iterator[tuple[list[str], PreparedImages]]:
    remaining = iter(keys)

    def start() -> tuple[list[str], Future[PreparedImages]] | None:
        batch_keys = list(islice(remaining, encoder.batch_size))
        if not batch_keys:
            return None
        images = [reader.read(*places[key][:2]) for key in batch_keys]
        return batch_keys, ahead.submit(encoder.prepare_images, images)

    current = start()
    while current is not None:
        following = start()
        yield current[0], current[1].result()
        current = following


def _embed_batch(
    encoder: Encoder, pairs: pl.DataFrame, keys: list[str], prepared: PreparedImages, counts: EmbeddingCounts
) -> pl.DataFrame:
    image_vectors, ok = encoder.encode_prepared(prepared)
    image_of = pl.DataFrame({"sample_key": keys, "_image": range(len(keys)), "_ok": ok})
    joined = pairs.join(image_of, on="sample_key", how="left", maintain_order="left")
    undecodable = joined.filter(~pl.col("_ok")).height
    kept = joined.filter("_ok")
    text_vectors, truncated = encoder.encode_texts(kept["text"].to_list())
    frame = _frame(encoder, kept, image_vectors[kept["_image"].to_numpy()], text_vectors, truncated)
    if undecodable:
        counts.drops["undecodable"] = counts.drops.get("undecodable", 0) + undecodable
    counts.images += int(ok.sum())
    counts.rows += frame.height
    counts.texts_truncated += int(truncated.sum())
    return frame


def _frame(
    encoder: Encoder, pairs: pl.DataFrame, images: FloatArray, texts: FloatArray, truncated: BoolArray
) -> pl.DataFrame:
    vectors = pl.Array(pl.Float32, encoder.dimension)
    return pairs.select(
        "pair_id",
        "url_id",
        "sha256",
        encoder=pl.lit(encoder.name),
        encoder_sha256=pl.lit(encoder.sha256),
        preprocess=pl.lit(encoder.preprocess),
        precision=pl.lit(encoder.precision),
        image_embedding=pl.Series(images, dtype=vectors).arr.to_list(),
        text_embedding=pl.Series(texts, dtype=vectors).arr.to_list(),
        text_truncated=pl.Series(truncated),
        similarity=pl.Series(cosine_similarity(images, texts)),
    ).cast(pl.Schema(EMBEDDING_SCHEMA))
