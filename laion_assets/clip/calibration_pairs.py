"""Held-out pairs to calibrate on, read from the forms in which data sets of others come.

What belongs here: from a Parquet file to bytes of pictures and one text each. Whether they decode is `calibration`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from laion_assets.clip.calibration import CalibrationError
from laion_assets.text.language import LanguageIdentifier, language_group
from laion_assets.text.normalise import normalise

_EXPECTED: Final = (
    "columns image (bytes, or Hugging Face's struct of bytes and path) and text (a text, or a list of captions)"
)


@dataclass(frozen=True, slots=True)
class HeldOutPairs:
    """Pairs of a file, and how many of its rows are none."""

    pairs: pl.DataFrame
    """Columns `image` (binary) and `text`, in the order of the file; neither null nor empty."""
    left_out: dict[str, int]
    """Rows left out, by reason: `no picture` or `no text`; without those that are 0."""


def read_pairs(path: str | Path) -> HeldOutPairs:
    """Read held-out true pairs.

    A row's picture is the bytes of its `image`: of Hugging Face's feature `Image` those in `bytes`, never the file that
    `path` names. Its text is the first caption of a list that is not blank, so that no picture counts twice.

    Raises:
        CalibrationError: the file cannot be read, a column is missing or of another type, or no row has both.
    """
    try:
        schema = pl.read_parquet_schema(path)
        missing = {"image", "text"} - schema.keys()
        if missing:
            raise CalibrationError(f"{path}: expected {_EXPECTED}, found {', '.join(schema) or 'none'}")
        rows = pl.read_parquet(path, columns=["image", "text"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CalibrationError(f"{path}: expected a Parquet file with {_EXPECTED}, found {error}") from error
    pairs = rows.select(image=_picture(path, rows.schema["image"]), text=_text(path, rows.schema["text"]))
    has_picture = pl.col("image").bin.size().fill_null(0) > 0
    has_text = pl.col("text").str.strip_chars().str.len_bytes().fill_null(0) > 0
    counts = {
        "no picture": pairs.filter(~has_picture).height,
        "no text": pairs.filter(has_picture & ~has_text).height,
    }
    left_out = {reason: rows_left for reason, rows_left in counts.items() if rows_left}
    kept = pairs.filter(has_picture & has_text)
    if kept.is_empty():
        found = ", ".join(f"{rows_left} with {reason}" for reason, rows_left in left_out.items()) or "none"
        raise CalibrationError(f"{path}: expected rows with a picture and a text, found {rows.height} rows: {found}")
    return HeldOutPairs(kept, left_out)


def with_language_groups(pairs: pl.DataFrame, floor: float) -> pl.DataFrame:
    """Pairs as :func:`calibrate` takes them: texts normalised, `language` and `language_group` told from them.

    Args:
        pairs: With a column `text`.
        floor: The least certainty of a language, as extraction has it.
    """
    texts = normalise(pairs["text"])
    languages = LanguageIdentifier(floor).identify(texts)
    return pairs.with_columns(text=texts, language=languages["language"]).with_columns(
        language_group=language_group(pl.col("language"))
    )


def _picture(path: str | Path, kind: pl.DataType) -> pl.Expr:
    column = pl.col("image")
    if isinstance(kind, pl.Struct) and {field.name: field.dtype for field in kind.fields}.get("bytes") == pl.Binary:
        return column.struct.field("bytes")
    if kind in (pl.Binary, pl.Null):
        return column.cast(pl.Binary)
    raise CalibrationError(f"{path}: expected {_EXPECTED}, found an image of type {kind}")


def _text(path: str | Path, kind: pl.DataType) -> pl.Expr:
    column = pl.col("text")
    if isinstance(kind, pl.List | pl.Array) and kind.inner in (pl.String, pl.Categorical, pl.Null):
        captions = column.cast(pl.List(pl.String))
        spoken = captions.list.eval(pl.element().filter(pl.element().str.strip_chars().str.len_bytes() > 0))
        return spoken.list.first()
    if kind in (pl.String, pl.Categorical, pl.Null) or isinstance(kind, pl.Enum):
        return column.cast(pl.String)
    raise CalibrationError(f"{path}: expected {_EXPECTED}, found a text of type {kind}")
