"""From a WAT or WARC file to candidate pairs: one row per image link with a text worth having."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, BinaryIO, Self, cast

import numpy as np
import polars as pl

from laion_assets.pairs.identity import pair_id, url_id
from laion_assets.sources import warc, wat
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.index import Format
from laion_assets.sources.page import Page
from laion_assets.sources.sources import Source
from laion_assets.sources.urls import resolve
from laion_assets.text.language import DEFAULT_FLOOR, LanguageIdentifier
from laion_assets.text.normalise import normalise

CANDIDATE_SCHEMA: dict[str, type[pl.DataType]] = {
    "pair_id": pl.Int64,
    "url_id": pl.Int64,
    "url": pl.String,
    "text": pl.String,
    "language": pl.String,
    "language_confidence": pl.Float32,
    "page_url": pl.String,
    "record_offset": pl.Int64,
    "link_position": pl.Int32,
    "warc_filename": pl.String,
    "warc_offset": pl.Int64,
}
"""Columns that every frame of candidate pairs has, in order."""

PAGE_SCHEMA: dict[str, pl.DataType] = {
    "page_signals": pl.List(pl.Struct({"signal": pl.String, "raw": pl.String, "forbids": pl.List(pl.String)})),
    "page_seen_at": pl.Datetime("us", "UTC"),
}
"""Columns that frames of ``extract`` have after these: what the page said of its use, and when; null where nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionOptions:
    """Which image links are candidate pairs."""

    min_text_length: int = 5
    """Shortest normalised alt text kept, in characters."""
    max_text_length: int = 2000
    """Longest normalised alt text kept, in characters."""
    language_floor: float = DEFAULT_FLOOR
    """Confidence below which a pair's language is ``nolang``, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse ranges that hold nothing."""
        if not 1 <= self.min_text_length <= self.max_text_length:
            raise ValueError(
                "text lengths must satisfy 1 <= min_text_length <= max_text_length, "
                f"found {self.min_text_length} and {self.max_text_length}"
            )
        if not 0.0 <= self.language_floor <= 1.0:
            raise ValueError(f"language_floor must lie in [0, 1], found {self.language_floor}")


def extract(
    source: Source,
    path: str,
    *,
    format: Format,
    options: ExtractionOptions,
    counts: ExtractionCounts,
    crawl: str | None = None,
    batch_rows: int = 50_000,
) -> Iterator[pl.DataFrame]:
    """Extract the candidate pairs of one file.

    The rows of a file are a pure function of its bytes and the options, in the order (record_offset, link_position),
    whatever ``batch_rows`` is. Every image link becomes a row or is counted under exactly one reason, the first that
    applies of: ``no_alt``, ``too_short``, ``too_long``, ``data_url``, ``no_url``, ``not_http``, ``template``,
    ``bad_url``, ``page_itself``, ``url_too_long``, ``tracking_pixel``.

    ``link_position`` is a link's place among the page's image links. ``record_offset`` lies in the file read, and is
    unique within it; ``warc_filename`` and ``warc_offset`` say where the page itself lies.

    Args:
        source: Where the file lies.
        path: The file, relative to the source.
        format: What kind of file it is.
        options: What is a candidate.
        counts: Filled on the way, complete when the iterator is exhausted: then ``counts.balanced`` holds.
        crawl: The crawl the file belongs to; null: the one its path names. Values of WAT files from before June 2019
            are decoded by it; see ``references``.
        batch_rows: About how many links with alt text are held at a time.

    Yields:
        Frames with the columns of ``CANDIDATE_SCHEMA`` and ``PAGE_SCHEMA``, none of them empty.

    Raises:
        SourceError: The source did not deliver the file, or it is none of its format (``ErrorPage`` where another try
            may bring it, else ``UnexpectedContent``); rows and counts so far are worthless. Damage that lies in the
            file itself costs the damaged records and is counted in ``counts.bad_records``.
        ValueError: An unknown format.
    """
    readers: dict[str, Callable[[Source, str, ExtractionCounts], Iterator[Page]]]
    readers = {"wat": partial(wat.read_pages, crawl=crawl), "warc": warc.read_pages}
    if format not in readers:
        raise ValueError(f"a crawl is read from 'wat' or 'warc' files, found {format!r}")
    identifier = LanguageIdentifier(options.language_floor)
    for links in _batches(readers[format](_CountedSource(source, counts), path, counts), batch_rows):
        found = candidates(links, options, identifier, counts, more=PAGE_SCHEMA)
        if not found.is_empty():
            yield found


class _CountedSource:
    """A source that counts the bytes it delivers."""

    def __init__(self, source: Source, counts: ExtractionCounts) -> None:
        self._source = source
        self._counts = counts

    @property
    def uri(self) -> str:
        return self._source.uri

    def open(self, path: str, *, offset: int = 0) -> BinaryIO:
        return cast(BinaryIO, _CountedStream(self._source.open(path, offset=offset), self._counts))

    def read(self, path: str) -> bytes:
        content = self._source.read(path)
        self._counts.bytes += len(content)
        return content


class _CountedStream:
    def __init__(self, stream: BinaryIO, counts: ExtractionCounts) -> None:
        self._stream = stream
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._counts.bytes += len(content)
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _batches(pages: Iterator[Page], batch_rows: int) -> Iterator[pl.DataFrame]:
    batch: list[Page] = []
    held = 0
    for page in pages:
        batch.append(page)
        held += len(page.links)
        if held >= batch_rows:
            yield _frame(batch)
            batch, held = [], 0
    if batch:
        yield _frame(batch)


def _frame(pages: list[Page]) -> pl.DataFrame:
    """The links of pages, one row each, beside what is known of their pages."""
    about = pl.DataFrame(
        {
            "page_url": pl.Series([page.page_url for page in pages], dtype=pl.String),
            "base": pl.Series([page.base for page in pages], dtype=pl.String),
            "encoding": pl.Series([page.encoding for page in pages], dtype=pl.String),
            "record_offset": pl.Series([page.record_offset for page in pages], dtype=pl.Int64),
            "warc_filename": pl.Series([page.warc_filename for page in pages], dtype=pl.String),
            "warc_offset": pl.Series([page.warc_offset for page in pages], dtype=pl.Int64),
            "links": pl.Series([len(page.links) for page in pages], dtype=pl.UInt32),
        }
    )
    rows = about.select(pl.exclude("links").repeat_by("links").explode()).with_columns(_said(pages))
    positions, references, texts = zip(*(link for page in pages for link in page.links), strict=True)
    return rows.with_columns(
        pl.Series("link_position", positions, dtype=pl.Int32),
        pl.Series("reference", references, dtype=pl.String),
        pl.Series("text", texts, dtype=pl.String),
    )


def _said(pages: list[Page]) -> list[pl.Series | pl.Expr]:
    """The columns of ``PAGE_SCHEMA``, a row for each link. Few pages say anything."""
    if not any(page.signals for page in pages):
        return [pl.lit(None).alias(name) for name in PAGE_SCHEMA]
    of_page = [
        [{"signal": said.signal, "raw": said.raw, "forbids": [*said.forbids]} for said in page.signals] or None
        for page in pages
    ]
    places = np.repeat(np.arange(len(pages)), [len(page.links) for page in pages])
    values: dict[str, list[Any]] = {"page_signals": of_page, "page_seen_at": [page.seen_at for page in pages]}
    return [pl.Series(name, values[name], dtype=dtype).gather(places) for name, dtype in PAGE_SCHEMA.items()]


def candidates(
    links: pl.DataFrame,
    options: ExtractionOptions,
    identifier: LanguageIdentifier,
    counts: ExtractionCounts,
    *,
    more: Mapping[str, pl.DataType | type[pl.DataType]] = MappingProxyType({}),
) -> pl.DataFrame:
    """The candidate pairs among links; the others are counted.

    Args:
        links: what ``CANDIDATE_SCHEMA`` has of where they stand; ``text``; and ``reference``, ``base`` and ``encoding``
            as ``resolve`` takes them.
        options: what is a candidate.
        identifier: of languages.
        counts: is added to.
        more: further columns to keep, with their types.

    Returns:
        A frame with the columns of ``CANDIDATE_SCHEMA`` and ``more``.
    """
    length = pl.col("text").str.len_chars()
    links = links.with_columns(normalise(links.get_column("text")))
    links = _without_faults(
        links.with_columns(
            fault=pl.when(length == 0)
            .then(pl.lit("no_alt"))
            .when(length < options.min_text_length)
            .then(pl.lit("too_short"))
            .when(length > options.max_text_length)
            .then(pl.lit("too_long"))
        ),
        counts,
    )
    links = _without_faults(resolve(links), counts)
    counts.rows += links.height
    return (
        links.hstack(identifier.identify(links.get_column("text")))
        .with_columns(pair_id=pair_id("url", "text"), url_id=url_id("url"))
        .select(pl.col(name).cast(kind) for name, kind in {**CANDIDATE_SCHEMA, **more}.items())
    )


def _without_faults(links: pl.DataFrame, counts: ExtractionCounts) -> pl.DataFrame:
    for reason, count in links.group_by("fault").len().filter(pl.col("fault").is_not_null()).sort("fault").iter_rows():
        counts.drop(reason, count)
    return links.filter(pl.col("fault").is_null()).drop("fault")
