"""From the samples of a tar to candidate pairs: one row per picture with a url and a text worth having."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import polars as pl

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import CANDIDATE_SCHEMA, ExtractionOptions, candidates
from laion_assets.sources.lists.columns import MEANINGS
from laion_assets.sources.lists.rows import LIST_SCHEMA
from laion_assets.sources.tars.folder import ForeignTars
from laion_assets.sources.tars.samples import look_through
from laion_assets.text.language import LanguageIdentifier
from laion_assets.webdataset.writer import BLOCK

TAR_SCHEMA: Final[dict[str, type[pl.DataType]]] = {**LIST_SCHEMA, "original_sha256": pl.String}
"""The columns that only samples of tars have, beside those of ``CANDIDATE_SCHEMA``."""
_DIGITS: Final = {"expected_md5": 32, "expected_sha256": 64, "original_sha256": 64}
_MADE: Final = ("pair_id", "url_id", "url", "language", "language_confidence")
_LINKS: Final[dict[str, type[pl.DataType]]] = {
    **{name: kind for name, kind in {**CANDIDATE_SCHEMA, **TAR_SCHEMA}.items() if name not in _MADE},
    "base": pl.String,
    "reference": pl.String,
}


class ImportedTar:
    """A tar that was imported, as the steps read it: one piece, whatever its size."""

    def __init__(self, tars: ForeignTars, uri: str, mapping: Mapping[str, str], samples: int) -> None:
        """Take what was recorded of a tar.

        Args:
            tars: opens it.
            uri: the tar.
            mapping: by meaning, the name under which samples tell it.
            samples: how many it has.
        """
        self._tars = tars
        self._uri = uri
        self._mapping = mapping
        self._samples = samples

    def units(self) -> list[tuple[int, int]]:
        """The one piece, as (first sample, samples)."""
        return [(0, self._samples)]

    def pairs(
        self, first: int, count: int, options: ExtractionOptions, counts: ExtractionCounts
    ) -> Iterator[pl.DataFrame]:
        """The candidate pairs of the tar; see ``extract_tar``."""
        del first, count  # it is one piece
        return extract_tar(self._tars, self._uri, self._mapping, options=options, counts=counts)

    def close(self) -> None:
        """Nothing is held."""


def read_links(
    tars: ForeignTars, uri: str, mapping: Mapping[str, str], counts: ExtractionCounts, *, batch_rows: int = 20_000
) -> Iterator[pl.DataFrame]:
    """What the samples of a tar say of their pictures, one row a picture, before anything is judged.

    ``row_number`` is the sample's place in the tar, ``record_offset`` where the header of its picture begins. Counted
    as dropped are ``no_picture`` samples, ``bad_row`` where the json cannot be read, ``bad_utf8`` where the text is
    none, and ``second_picture``.

    Args:
        tars: knows the tar.
        uri: the tar.
        mapping: by meaning, the name under which samples tell it; see ``describe_tar``.
        counts: filled on the way; ``links`` are the pictures, and samples without one.
        batch_rows: about how many rows are held at a time.

    Yields:
        Frames that ``candidates`` takes.
    """
    rows: list[dict[str, Any]] = []
    for number, (sample, record) in enumerate(look_through(tars, uri, counts)):
        counts.pages += 1
        counts.links += max(1, len(sample.pictures))
        if not sample.pictures:
            counts.drop("no_picture")
            continue
        counts.drop("second_picture", len(sample.pictures) - 1)
        if record is None:
            counts.drop("bad_row")
            continue
        try:
            text = (sample.told.get("txt") or b"").decode()
        except UnicodeDecodeError:
            counts.drop("bad_utf8")
            continue
        offset = sample.pictures[0].offset - BLOCK
        rows.append({"row_number": number, "record_offset": offset, **_pair(text, record, mapping)})
        if len(rows) >= batch_rows:
            yield pl.DataFrame(rows, schema=_LINKS)
            rows = []
    if rows:
        yield pl.DataFrame(rows, schema=_LINKS)


def extract_tar(
    tars: ForeignTars,
    uri: str,
    mapping: Mapping[str, str],
    *,
    options: ExtractionOptions,
    counts: ExtractionCounts,
    batch_rows: int = 20_000,
) -> Iterator[pl.DataFrame]:
    """The candidate pairs of one tar, judged as ``extract`` judges the links of a page; see ``read_links``.

    Args:
        tars: knows the tar.
        uri: the tar.
        mapping: by meaning, the name under which samples tell it; see ``describe_tar``.
        options: what is a candidate.
        counts: filled on the way, complete when the iterator is exhausted: then ``counts.balanced`` holds.
        batch_rows: about how many rows are held at a time.

    Yields:
        Frames with the columns of ``CANDIDATE_SCHEMA`` and ``TAR_SCHEMA``, none of them empty.

    Raises:
        SourceError: the tar is not there, or cannot be had.
        TarError: it cannot be opened.
    """
    identifier = LanguageIdentifier(options.language_floor)
    for links in read_links(tars, uri, mapping, counts, batch_rows=batch_rows):
        found = candidates(links, options, identifier, counts, more=TAR_SCHEMA)
        if not found.is_empty():
            yield found


def _pair(text: str, record: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """What a sample says of its picture, as ``candidates`` takes it: a text of its own goes before the record's."""
    told = {
        meaning: fitting(meaning, record[name]) for meaning, name in mapping.items() if record.get(name) is not None
    }
    return {**told, "reference": told.pop("url", None), "text": text or told.get("text") or ""}


def fitting(meaning: str, value: Any) -> str | float | None:
    """A value as its column takes it; None where it is none."""
    if meaning in _DIGITS:
        lowered = str(value).strip().lower()
        return lowered if re.fullmatch(rf"[0-9a-f]{{{_DIGITS[meaning]}}}", lowered) else None
    if MEANINGS[meaning].is_text:
        return str(value).encode("utf-8", "replace").decode()
    with suppress(TypeError, ValueError, OverflowError):
        found = float(value)
        return found if math.isfinite(found) else None
    return None
