"""From the rows of a list to candidate pairs: one row per url with a text worth having."""

from collections.abc import Iterator, Mapping

import polars as pl
import pyarrow as pa

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import CANDIDATE_SCHEMA, ExtractionOptions, candidates
from laion_assets.sources.lists.batches import BAD, ROW, ListReader
from laion_assets.sources.lists.columns import MEANINGS
from laion_assets.sources.lists.errors import ListChanged
from laion_assets.text.language import LanguageIdentifier

LIST_SCHEMA: dict[str, type[pl.DataType]] = {
    "row_number": pl.Int64,
    "source_hash": pl.String,
    "source_similarity": pl.Float32,
    "source_punsafe": pl.Float32,
    "source_pwatermark": pl.Float32,
    "license": pl.String,
    "expected_md5": pl.String,
    "expected_sha256": pl.String,
}
"""The columns that only rows of lists have, beside those of ``CANDIDATE_SCHEMA``."""

_PLACE = ("page_url", "record_offset", "link_position", "warc_filename", "warc_offset")
_NOTHING: dict[str, type[pl.DataType]] = {
    **{name: CANDIDATE_SCHEMA[name] for name in _PLACE},
    **LIST_SCHEMA,
    "base": pl.String,
}
"""What is null where a list does not have it."""
_PAIR = ("url", "text")
_DIGITS = {"expected_md5": 32, "expected_sha256": 64}


def extract_rows(
    reader: ListReader,
    columns: Mapping[str, str],
    first: int,
    count: int,
    *,
    uri: str,
    options: ExtractionOptions,
    counts: ExtractionCounts,
    batch_rows: int = 50_000,
) -> Iterator[pl.DataFrame]:
    """Make candidate pairs of some rows of a list.

    Every row becomes a pair or is counted under exactly one reason, the first that applies of: ``bad_row`` (it is none
    of the file's format), ``bad_utf8`` (its url or text is none), and those of ``extract``. Texts are normalised as
    there, urls resolved by the same standard.

    Args:
        reader: the list.
        columns: by meaning, its column.
        first: number of the first row.
        count: rows from there on.
        uri: what to call the list in messages.
        options: what is a candidate.
        counts: filled on the way: ``links`` are rows of the list.
        batch_rows: rows that are held at a time.

    Yields:
        Frames with the columns of ``CANDIDATE_SCHEMA`` and ``LIST_SCHEMA``, none of them empty.

    Raises:
        SourceError: the list cannot be read.
        ListChanged: it has fewer rows.
    """
    identifier = LanguageIdentifier(options.language_floor)
    seen = 0
    for batch in reader.read([*dict.fromkeys(columns.values())], first, count, batch_rows):
        seen += batch.num_rows
        counts.links += batch.num_rows
        found = candidates(_links(batch, columns, counts), options, identifier, counts, more=LIST_SCHEMA)
        if not found.is_empty():
            yield found
    if seen != count:
        raise ListChanged(f"{uri} has {seen:,} rows from row {first:,} on, and had {count:,} when it was imported")


def _links(batch: pa.RecordBatch, columns: Mapping[str, str], counts: ExtractionCounts) -> pl.DataFrame:
    bad = pl.Series(batch.column(BAD).to_numpy(zero_copy_only=False))
    fault = pl.select(pl.when(bad).then(pl.lit("bad_row"))).to_series().alias("fault")
    values = {"row_number": pl.Series(batch.column(ROW))}
    for meaning, name in columns.items():
        if MEANINGS[meaning].is_text:
            values[meaning], broken = _texts(batch.column(name), strict=meaning in _PAIR)
            if broken is not None:
                fault = (
                    pl.select(pl.coalesce(fault, pl.when(broken).then(pl.lit("bad_utf8")))).to_series().alias("fault")
                )
        else:
            values[meaning] = _numbers(batch.column(name))
    links = pl.DataFrame(values).rename({"url": "reference"}).with_columns(fault)
    absent = [pl.lit(None, type_).alias(name) for name, type_ in _NOTHING.items() if name not in links.columns]
    links = links.with_columns(*absent, pl.col("text").fill_null(""))
    links = links.with_columns(_digest(name, digits) for name, digits in _DIGITS.items())
    for reason, rows in links.group_by("fault").len().drop_nulls("fault").sort("fault").iter_rows():
        counts.drop(reason, rows)
    return links.filter(pl.col("fault").is_null()).drop("fault")


def _digest(name: str, digits: int) -> pl.Expr:
    """A digest in small letters; null where it is none: a picture cannot be held against it."""
    told = pl.col(name).str.strip_chars().str.to_lowercase()
    return pl.when(told.str.contains(rf"^[0-9a-f]{{{digits}}}$")).then(told).alias(name)


def _texts(column: pa.Array, *, strict: bool) -> tuple[pl.Series, pl.Series | None]:
    """A column as texts, and where ``strict`` which of them are none; elsewhere they are read as far as they can be."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type):
            return pl.Series(column.cast(pa.string())), None
    else:
        column = column.cast(pa.large_binary())
    try:
        return pl.Series(column.cast(pa.large_binary()).cast(pa.large_string())), None  # which looks at the bytes
    except pa.ArrowInvalid:
        pass
    values = column.to_pylist()
    broken = [value is not None and not _is_utf8(value) for value in values]
    read = [None if value is None else value.decode("utf-8", "replace") for value in values]
    return pl.Series(read, dtype=pl.String), pl.Series(broken) if strict else None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _numbers(column: pa.Array) -> pl.Series:
    """A column as numbers; what is none, and what is not finite, is null."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return _finite(_texts(column, strict=False)[0].cast(pl.Float32, strict=False))
    return _finite(pl.Series(column).cast(pl.Float32))


def _finite(numbers: pl.Series) -> pl.Series:
    return pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series()
