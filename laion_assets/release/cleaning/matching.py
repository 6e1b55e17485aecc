"""Which rows of a table a feed lists, a batch of rows at a time."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from laion_assets.consent.removals import Removals
from laion_assets.pairs.identity import pair_id
from laion_assets.release.cleaning.columns import Columns, column
from laion_assets.release.feed import Feed


class Matcher:
    """Finds rows by address, site, pair and picture, as ``laion_assets.consent`` compares them; to be closed."""

    def __init__(self, feed: Feed, followed: Iterable[int] | None = None) -> None:
        """Nothing is looked up yet.

        Args:
            feed: all that it has in force is found.
            followed: pair ids of rows that other files lose, which are found too; None where no others were looked at.
        """
        things = {kind for kind, _ in feed.in_force}
        entries = pl.DataFrame(
            {"kind": "pair_id", "value": [str(one) for one in sorted({*(followed or ())})]},
            schema={"kind": pl.String, "value": pl.String},
        )
        self.follows = followed is not None
        self.kinds = frozenset(things | ({"pair_id"} if len(entries) else set()))
        """The kinds that something is listed of."""
        self._connection = duckdb.connect()
        removals = Removals(pl.concat([feed.removals.frame, entries]).unique().sort("kind", "value"))
        self._known = removals.register(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._connection.close()

    def rows(self, table: pa.Table, columns: Columns) -> np.ndarray:
        """The numbers of the rows that are listed, from 0, in order, each once.

        Args:
            table: some rows, with the columns that are named.
            columns: what its columns mean.
        """
        parts = [*self._queries(table, columns)] if self.kinds else []
        found = [np.asarray(part, dtype=np.int64) for part in parts if len(part)]
        return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def _queries(self, table: pa.Table, columns: Columns) -> Iterator[np.ndarray]:
        if self.kinds & {"url", "domain"}:
            for name in columns.urls:
                yield self._listed(self._known.annotate("rows", url="value"), column(table, name))
        if "sha256" in self.kinds:
            annotated = self._known.annotate("(SELECT row, {} AS value FROM rows)", url=None, sha256="value")
            for name in columns.sha256:
                values = column(table, name)
                is_hex = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
                digest = "lower(value)" if is_hex or pa.types.is_string_view(values.type) else "lower(hex(value))"
                yield self._listed(annotated.format(digest), values)
            for name in columns.contents:
                yield self._listed(annotated.format("sha256(value)"), column(table, name))
        if "pair_id" in self.kinds:
            for values in _pair_ids(table, columns):
                yield self._listed(self._known.annotate("rows", url=None, pair_id="value"), values)

    def _listed(self, annotated: str, values: pa.ChunkedArray) -> np.ndarray:
        """The rows that an annotation of the table ``rows`` (columns ``row`` and ``value``) gives a removal."""
        rows = pa.table({"row": pa.array(np.arange(len(values))), "value": values})
        self._connection.register("rows", rows)
        try:
            query = f"SELECT row FROM ({annotated}) WHERE removal IS NOT NULL"
            return np.asarray(self._connection.execute(query).fetchnumpy()["row"])
        finally:
            self._connection.unregister("rows")


def pair_ids_of(table: pa.Table, columns: Columns) -> list[int]:
    """The pair ids of rows, as far as they say or tell them."""
    said = (value for values in _pair_ids(table, columns) for value in values.to_pylist())
    return sorted({int(value) for value in said if value is not None})


def _pair_ids(table: pa.Table, columns: Columns) -> Iterator[pa.ChunkedArray]:
    """Signed numbers: as columns say them, or where none does, as an address and a text make them."""
    for name in columns.pair_ids:
        values = pl.Series("value", column(table, name))
        if values.dtype == pl.UInt64:
            yield _arrow(values.reinterpret(signed=True))
        else:
            yield _arrow(values.cast(pl.Int64, strict=False))
    if not columns.pair_ids:
        for url in columns.urls:
            for text in columns.texts[:1]:
                pairs = pl.DataFrame({"url": pl.Series(column(table, url)), "text": pl.Series(column(table, text))})
                yield _arrow(pairs.select(value=pair_id("url", "text"))["value"])


def _arrow(series: pl.Series) -> pa.ChunkedArray:
    return pa.chunked_array([series.to_arrow()])
