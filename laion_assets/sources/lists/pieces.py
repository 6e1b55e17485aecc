"""One list of an import, as the steps read it: cut into pieces, each of which becomes candidate pairs."""

from collections.abc import Iterator, Mapping

import polars as pl

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.batches import ListReader
from laion_assets.sources.lists.formats import open_list, units
from laion_assets.sources.lists.rows import extract_rows
from laion_assets.sources.lists.streams import Files


class ImportedList:
    """A list that was imported; opened when it is first read."""

    def __init__(self, files: Files, uri: str, columns: Mapping[str, str], rows: int) -> None:
        """Take what was recorded of a list.

        Args:
            files: opens it.
            uri: the list.
            columns: by meaning, its column.
            rows: how many it has.
        """
        self._files = files
        self._uri = uri
        self._columns = columns
        self._rows = rows
        self._reader: ListReader | None = None

    def units(self) -> list[tuple[int, int]]:
        """The pieces, as (first row, rows)."""
        return units(self._opened.row_groups, self._rows)

    def pairs(
        self, first: int, count: int, options: ExtractionOptions, counts: ExtractionCounts
    ) -> Iterator[pl.DataFrame]:
        """The candidate pairs of some rows; see ``extract_rows``. Later rows are best asked for later."""
        reader = self._opened
        yield from extract_rows(reader, self._columns, first, count, uri=self._uri, options=options, counts=counts)

    def close(self) -> None:
        """Let the file go."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def _opened(self) -> ListReader:
        if self._reader is None:
            self._reader = open_list(self._files, self._uri)
        return self._reader
