"""The stages of a crawl that is an import: what its files hold, whatever they are."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from os.path import commonprefix
from typing import Any, Protocol, TypeAlias

import polars as pl

from laion_assets.lake.imports import columns_of
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.resources import open_at
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.describe import ensure_same
from laion_assets.sources.lists.pieces import ImportedList
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.tars.folder import ForeignTars
from laion_assets.sources.tars.pairs import ImportedTar

Row: TypeAlias = Mapping[str, Any]
"""A row of ``imports``."""


class Pieces(Protocol):
    """One file of an import, in pieces."""

    def units(self) -> list[tuple[int, int]]:
        """The pieces, as (first row, rows)."""

    def pairs(
        self, first: int, count: int, options: ExtractionOptions, counts: ExtractionCounts
    ) -> Iterator[pl.DataFrame]:
        """The candidate pairs of a piece; pieces are asked for in their order."""

    def close(self) -> None:
        """Let the file go."""


def _list(files: Files, row: Row) -> Pieces:
    return ImportedList(files, row["uri"], columns_of(row), row["rows"])


def _tar(files: Files, row: Row) -> Pieces:
    return ImportedTar(ForeignTars(files, row["registered_at"]), row["uri"], columns_of(row), row["rows"])


KINDS: Mapping[str, Callable[[Files, Row], Pieces]] = {"list": _list, "tars": _tar}
"""By ``kind`` of a file, what reads it."""


def snapshot(step: Step) -> tuple[Mapping[str, object], Metadata]:
    """What there is to say of all of an import as of one crawl, and what to tell of it."""
    files = _files(step)
    uris = files["uri"].to_list()
    folders = [uri.rpartition("/")[0] + "/" for uri in uris]
    folder = commonprefix(folders).rpartition("/")[0]  # noqa: RUF071 - addresses are no paths; it is cut at a slash
    facts = dict.fromkeys(("first_capture", "last_capture"))
    facts |= {"name": step.crawl, "wat_file_count": 0, "source_uri": folder}
    return facts, {"source": folder, "files": files.height, "rows": int(files["rows"].sum())}


def units(step: Step) -> pl.DataFrame:
    """Every piece of every file, each with its number; files must be what they were."""
    opened, found = Files(open_at), []
    for row in _files(step).iter_rows(named=True):
        _ensure_same(step, opened, row)
        with closing(KINDS[row["kind"]](opened, row)) as pieces:
            found += [(row["uri"], row["sha256"], first, count) for first, count in pieces.units()]
    columns = {"path": pl.String, "file_sha256": pl.String, "first_row": pl.Int64, "row_count": pl.Int64}
    return pl.DataFrame(found, schema=columns, orient="row")


class ImportReader:
    """Reads the pieces of a shard, one after the other; files are opened once."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._rows = {row["uri"]: row for row in _files(step).iter_rows(named=True)}
        self._opened = Files(open_at)
        self._held = ExitStack()
        self._uri: str | None = None
        self._pieces: Pieces | None = None

    @property
    def source(self) -> object:
        """What the pairs depend on beside the pieces."""
        return sorted((row["uri"], row["sha256"], row["mapping"]) for row in self._rows.values())

    def read(self, piece: Row, counts: ExtractionCounts) -> Iterator[pl.DataFrame]:
        """The candidate pairs of one row of ``wat_files``."""
        uri = piece["path"]
        if uri != self._uri or self._pieces is None:
            self.close()
            row = self._rows[uri]
            _ensure_same(self._step, self._opened, row)
            self._pieces = self._held.enter_context(closing(KINDS[row["kind"]](self._opened, row)))
            self._uri = uri
        options = self._step.settings.extraction
        yield from self._pieces.pairs(piece["first_row"], piece["row_count"], options, counts)

    def close(self) -> None:
        """Let the file go that is open."""
        self._held.close()
        self._uri, self._pieces = None, None


def foreign_tars(step: Step) -> ForeignTars | None:
    """The tars of an import that holds its pictures already, each as it was imported; None of any other crawl."""
    if not step.is_import:
        return None
    rows = {row["uri"]: row for row in _files(step).iter_rows(named=True)}
    if any(row["kind"] != "tars" for row in rows.values()):
        return None
    opened = Files(open_at)
    entered_at = max(row["registered_at"] for row in rows.values())
    digests = {uri: row["sha256"] for uri, row in rows.items()}
    return ForeignTars(opened, entered_at, digests=digests, check=lambda uri: _ensure_same(step, opened, rows[uri]))


def _files(step: Step) -> pl.DataFrame:
    return step.frame("imports").sort("file_number")


def _ensure_same(step: Step, opened: Files, row: Row) -> None:
    again = f"laion import {step.crawl} …"
    then = {name: row[name] for name in ("bytes", "stamp", "sha256")}
    ensure_same(opened, row["uri"], **then, again=again)
