"""Tars that hold pictures already, as img2dataset and webdataset write them: their samples, and where they lie.

A sample is what stands side by side under one key: a picture, its text (``.txt``), and what is known of it (``.json``
with ``url``, ``caption`` …; where there is none, the row of that key in the Parquet file beside the tar, which
img2dataset writes as well). A sample of which nothing tells the url is no pair: a url is half of a pair's name.
"""

import io
import json
import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import polars as pl

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions, candidates
from laion_assets.sources.sources import FolderSource, Source, SourceNotFound
from laion_assets.text.language import LanguageIdentifier
from laion_assets.webdataset.reader import Member, TarError, TarReader
from laion_assets.webdataset.samples import PICTURE_EXTENSIONS, key_and_extension
from laion_assets.webdataset.writer import BLOCK

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 4_000_000
"""Of a text or json member; a longer one is no caption and no record of a picture."""
_PASSED_OVER_BYTES: Final = 1_000_000
"""A remote tar is read on over so much that nobody wants, rather than asked for anew from further on."""
_LATEST: Final = 2**33
"""Seconds since 1970 that are taken for a time: the year 2242."""
_READ: Final = ("json", "txt")

TOLD: Final[dict[str, type[pl.DataType]]] = {
    "source_hash": pl.String,
    "source_similarity": pl.Float32,
    "source_punsafe": pl.Float32,
    "source_pwatermark": pl.Float32,
    "license": pl.String,
    "expected_md5": pl.String,
    "expected_sha256": pl.String,
}
"""What a sample may say beside url and text. Nothing of it is taken for ours."""
_LINKS: Final[dict[str, type[pl.DataType]]] = {
    "row_number": pl.Int64,
    "record_offset": pl.Int64,
    "base": pl.String,
    "reference": pl.String,
    "text": pl.String,
    **TOLD,
}


class ForeignTars:
    """The tars of an import, each named by its address; opened one at a time.

    Args:
        open_folder: opens the folder of a tar as a source.
        entered_at: when the import was entered: the time of pictures whose tar says nothing of its own.
    """

    def __init__(self, open_folder: Callable[[str], Source], entered_at: datetime) -> None:
        self._open_folder = open_folder
        self._entered_at = entered_at
        self._folders: dict[str, Source] = {}
        self._written: dict[str, datetime] = {}

    def open(self, path: str) -> TarReader:
        """A tar. One that is no file of this machine is read from one thread.

        Raises:
            SourceError: it is not there, or cannot be had.
        """
        source, name = self._place(path)
        if isinstance(source, FolderSource):
            return TarReader(source.located(name))
        return TarReader(path, _Streamed(source, name))

    def written_at(self, path: str) -> datetime:
        """When the tar was finished, by the ``NNNNN_stats.json`` that img2dataset puts beside it."""
        if path not in self._written:
            told = (_json_object(self._beside(path, "_stats.json")) or {}).get("end_time")
            seconds = told if isinstance(told, int | float) and 0 < told < _LATEST else None
            self._written[path] = self._entered_at if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return self._written[path]

    def records(self, path: str) -> dict[str, dict[str, Any]]:
        """The rows of the Parquet file beside a tar, by key; none where there is no such file."""
        content = self._beside(path, ".parquet")
        if not content:
            return {}
        try:
            rows = pl.read_parquet(io.BytesIO(content))
        except pl.exceptions.PolarsError as error:
            _log.warning("the Parquet file beside %s cannot be read: %s", path, " ".join(str(error).split())[:200])
            return {}
        return {str(row["key"]): row for row in rows.iter_rows(named=True)} if "key" in rows.columns else {}

    def _beside(self, path: str, ending: str) -> bytes:
        source, name = self._place(path)
        try:
            return source.read(name.removesuffix(".tar") + ending)
        except SourceNotFound:
            return b""

    def _place(self, path: str) -> tuple[Source, str]:
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._open_folder(folder)
        return self._folders[folder], name


class _Streamed:
    """The bytes of a remote file, read on where the next ones are not far, else asked for from there."""

    def __init__(self, source: Source, path: str) -> None:
        self._source, self._path = source, path
        self._stream: BinaryIO | None = None

    @property
    def size(self) -> None:
        return None

    def pread(self, size: int, offset: int) -> bytes:
        stream = self._stream
        if stream is None or not 0 <= offset - stream.tell() <= _PASSED_OVER_BYTES:
            self.close()
            stream = self._stream = self._source.open(self._path, offset=offset)
        _read(stream, offset - stream.tell())
        return _read(stream, size)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _read(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    parts = bytearray()
    while len(parts) < size and (part := stream.read(size - len(parts))):
        parts += part
    return bytes(parts)


@dataclass(slots=True)
class Sample:
    """Members of a tar that share a key."""

    key: str
    """With its folders."""
    pictures: list[Member] = field(default_factory=list)
    told: dict[str, bytes | None] = field(default_factory=dict)
    """What ``json`` and ``txt`` hold; None where that is too long to be what it should be."""
    extensions: set[str] = field(default_factory=set)


def read_samples(tar: TarReader, counts: ExtractionCounts) -> Iterator[Sample]:
    """The samples of a tar, in order. An extension that a key has already begins another sample of that key.

    A damaged or cut off tar gives the samples before the damage. The one that it met is counted as the bad record
    ``damaged_tar``, and a log line says where.

    Args:
        tar: open for reading.
        counts: ``records`` and ``bad_records`` are filled on the way.
    """
    sample: Sample | None = None
    try:
        for member in tar.members():
            found = key_and_extension(member.name)
            if found is None:
                continue
            key, extension = found
            if sample is None or key != sample.key or extension in sample.extensions:
                if sample is not None:
                    counts.records += 1
                    yield sample
                sample = Sample(key)
            sample.extensions.add(extension)
            if extension in PICTURE_EXTENSIONS:
                sample.pictures.append(member)
            elif extension in _READ:
                sample.told[extension] = tar.read(member.offset, member.size) if member.size <= _MOST_BYTES else None
    except TarError as error:
        _log.warning("%s; what lies before is taken", error)
        counts.records += 1
        counts.bad_record("damaged_tar")
        return
    if sample is not None:
        counts.records += 1
        yield sample


def read_links(
    tars: ForeignTars, path: str, counts: ExtractionCounts, *, batch_rows: int = 20_000
) -> Iterator[pl.DataFrame]:
    """What the samples of a tar say of their pictures, one row a picture, before anything is judged.

    ``row_number`` is the sample's place in the tar, ``record_offset`` where the header of its picture begins. Counted
    as dropped are ``no_picture`` samples, ``bad_record`` where the json cannot be read, and ``second_picture``.

    Args:
        tars: knows the tar.
        path: its address.
        counts: filled on the way; ``links`` are the pictures, and samples without one.
        batch_rows: about how many rows are held at a time.

    Yields:
        Frames with ``row_number, record_offset, base, reference, text`` and the columns of ``TOLD``.
    """
    records: dict[str, dict[str, Any]] | None = None
    rows: list[tuple[Any, ...]] = []
    with tars.open(path) as tar:
        for number, sample in enumerate(read_samples(tar, counts)):
            counts.pages += 1
            counts.links += max(1, len(sample.pictures))
            if not sample.pictures:
                counts.drop("no_picture")
                continue
            counts.drop("second_picture", len(sample.pictures) - 1)
            record: dict[str, Any] | None
            if "json" in sample.told:
                record = _json_object(sample.told["json"])
            else:
                records = tars.records(path) if records is None else records
                record = records.get(sample.key.rpartition("/")[2], {})
            if record is None:
                counts.drop("bad_record")
                continue
            rows.append((number, sample.pictures[0].offset - BLOCK, *_pair(sample, record)))
            if len(rows) >= batch_rows:
                yield _frame(rows)
                rows = []
    if rows:
        yield _frame(rows)


def extract_tar(
    tars: ForeignTars,
    path: str,
    *,
    options: ExtractionOptions,
    counts: ExtractionCounts,
    batch_rows: int = 20_000,
) -> Iterator[pl.DataFrame]:
    """The candidate pairs of one tar, judged as ``extract`` judges the links of a page; see ``read_links``.

    Args:
        tars: knows the tar.
        path: its address.
        options: what is a candidate.
        counts: filled on the way, complete when the iterator is exhausted: then ``counts.balanced`` holds.
        batch_rows: about how many rows are held at a time.

    Yields:
        Frames with the columns of ``CANDIDATE_SCHEMA`` and those of ``TOLD``, none of them empty.

    Raises:
        SourceError: the tar is not there, or cannot be had.
        TarError: it cannot be opened.
    """
    identifier = LanguageIdentifier(options.language_floor)
    for links in read_links(tars, path, counts, batch_rows=batch_rows):
        found = candidates(links, options, identifier, counts)
        if not found.is_empty():
            yield found


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=_LINKS, orient="row")


def _pair(sample: Sample, record: dict[str, Any]) -> tuple[Any, ...]:
    """What a sample says of its picture, in the order of ``_LINKS``."""
    told = {str(name).lower(): value for name, value in record.items()}

    def first(*names: str) -> str | None:
        return next((str(told[name]) for name in names if told.get(name) is not None), None)

    text = (sample.told.get("txt") or b"").decode("utf-8", "replace")
    return (
        None,
        first("url", "image_url"),
        text or first("caption", "text", "alt") or "",
        first("hash", "uid"),
        *(_number(told.get(name)) for name in ("similarity", "punsafe", "pwatermark")),
        first("license"),
        *(_digest(told.get(name), digits) for name, digits in (("md5", 32), ("sha256", 64))),
    )


def _number(value: Any) -> float | None:
    with suppress(TypeError, ValueError):
        found = float(value)
        return found if math.isfinite(found) else None
    return None


def _digest(value: Any, digits: int) -> str | None:
    lowered = str(value).strip().lower()
    return lowered if re.fullmatch(rf"[0-9a-f]{{{digits}}}", lowered) else None


def _json_object(content: bytes | None) -> dict[str, Any] | None:
    """None where it is none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(content or b"")
        return found if isinstance(found, dict) else None
    return None
