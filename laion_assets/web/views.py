"""What is shown of a lake: rows of its newest versions, without those that anybody asked to remove since."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Final

import duckdb

from laion_assets.charts.contact_sheet import Sample, contact_strip
from laion_assets.consent.removals import RegisteredRemovals, Removals
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, predicate
from laion_assets.delta.table import Table
from laion_assets.report import blocks
from laion_assets.report.blocks import Card, Cell, Place, Section, Sheet, language_code
from laion_assets.report.document import rendered
from laion_assets.report.material import has_rows
from laion_assets.report.page import ReportOptions
from laion_assets.report.samples import PairSamples, pair_samples
from laion_assets.report.sheets import contents, thumbnails
from laion_assets.sql.build import declared
from laion_assets.sql.project import open_project
from laion_assets.sql.session import connect
from laion_assets.web.addresses import Kind

_STRIP: Final = 4
_PER_SHEET: Final = 12
_PER_REASON: Final = 8
_ROWS: Final = 15
_MOST: Final = 10**15
"""Larger numbers are names: nobody wants their digits in groups."""
_SECONDS: Final = 20.0
"""So long a query may take, and the reading of pictures."""
_MEMORY_GIB: Final = 1.0
_MEANINGS: Final[Mapping[Kind, str]] = {
    "kept": "Pairs that the filter released, by language group.",
    "dropped": "Pairs with a picture that the filter dropped, by the first reason that held.",
}


class UnknownPageError(LookupError):
    """There is no such page: the lake has no such table or partition."""


@dataclass(frozen=True)
class Views:
    """A lake to look at."""

    lake: Lake
    models: Path | str
    """Folder of the SQL models."""
    removals: Callable[[], Removals]
    """Takedowns and deny lists as they are now."""
    deny_lists: Sequence[str] = ()
    """The files of the deny lists."""

    def strip(self, kind: Kind, partition: str) -> bytes:
        """A few pairs of a partition of filtered_pairs, as an SVG file.

        Raises:
            UnknownPageError: the lake has no such partition.
            LakeError, duckdb.Error: it cannot be read, or not in time.
        """
        of = self.partition("filtered_pairs", partition)
        groups = _groups(self._pairs(of), kind)
        by_turns = chain.from_iterable(zip_longest(*([(name, card) for card in cards] for name, cards in groups)))
        cards = list(islice(filter(None, by_turns), _STRIP))  # one of each group before a second of any
        places = [card.place for _, card in cards if card.place is not None]
        pictures = dict(contents(self.lake.storage, places, seconds=_SECONDS))
        samples = [
            Sample(pictures.get(card.place) if card.place else None, card.text, f"{name} {card.facts[0]}")
            for name, card in cards
        ]
        return contact_strip(samples, f"no {kind} pairs with a picture")

    def pairs(self, kind: Kind, partition: str) -> bytes:
        """A page of pairs of a partition of filtered_pairs, with their pictures; raises as ``strip`` does."""
        of = self.partition("filtered_pairs", partition)
        sheets = [Sheet(title=name, cards=cards) for name, cards in _groups(self._pairs(of), kind)]
        section = Section(id=kind, title=f"{kind} pairs", intro=_MEANINGS[kind], blocks=sheets or [_nothing()])
        places = [card.place for sheet in sheets for card in sheet.cards if card.place is not None]
        return self._page("filtered_pairs", partition, section, thumbnails(self.lake.storage, places, seconds=_SECONDS))

    def rows(self, table: str, partition: str) -> bytes:
        """A page with the first rows of a partition of a table or SQL model, without vectors; raises as ``strip``."""
        of, of_table = self.partition(table, partition), self._table(table)
        shown = [column.name for column in of_table.columns if column.name not in of and _is_readable(column.type)]
        with self._session() as (con, removals):
            relation = f"(FROM {table} WHERE {predicate(of)})"
            clean = removals.annotate(relation, **_identities(of_table))
            names = ", ".join(f'"{name}"' for name in shown)
            found = con.execute(f"SELECT {names} FROM ({clean}) WHERE removal IS NULL LIMIT {_ROWS}").fetchall()
        cells = [[_cell(value) for value in row] for row in found]
        title = f"The first {len(cells)} rows" if len(cells) == _ROWS else f"All {len(cells)} rows"
        block = blocks.Table(title=title, headings=shown, rows=cells)
        section = Section(id="rows", title="Rows", intro=of_table.description, blocks=[block if cells else _nothing()])
        return self._page(table, partition, section, {})

    def state(self, table: str) -> tuple[object, ...]:
        """What a page about a table depends on: while it is the same, the page is. No data of the lake is read.

        Raises:
            UnknownPageError: there is no such table.
            LakeError: a log cannot be read.
        """
        below = dict.fromkeys([table, "takedowns", *(read.table for read in self._table(table).reads)])
        lists = [path.stat() if path.is_file() else None for path in map(Path, self.deny_lists)]
        return (
            *(self.lake.ledger(name).version for name in below),
            *(stat and (stat.st_mtime_ns, stat.st_size) for stat in lists),
        )

    def partition(self, table: str, name: str) -> Partition:
        """The partition of this name, which the lake holds.

        Raises:
            UnknownPageError: it does not.
        """
        if name not in self.lake.ledger(self._table(table).name).commits:
            raise UnknownPageError(f"the lake has no partition {name[:200]} of {table}")
        return self.lake.catalogue.partition(name)

    def _table(self, name: str) -> Table:
        """The table or SQL model of this name, if it is one that steps build."""
        declared(self.lake, open_project(self.models))
        table = self.lake.tables.get(name)
        if table is None or table.entered:
            raise UnknownPageError(f"there are no pages of {name[:100]}")
        return table

    def _pairs(self, partition: Partition) -> PairSamples:
        with self._session() as (con, removals):
            if not has_rows(con, "scored_pairs"):
                return PairSamples()
            return pair_samples(con, removals, per_sheet=_PER_SHEET, per_reason=_PER_REASON, partition=partition)

    @contextmanager
    def _session(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, RegisteredRemovals]]:
        """A session over the newest versions, which is ended when it has taken too long."""
        with connect(self.lake, models=self.models, memory_gib=_MEMORY_GIB) as con:
            late = threading.Timer(_SECONDS, con.interrupt)
            late.start()
            try:
                yield con, self.removals().register(con)
            finally:
                late.cancel()

    def _page(self, table: str, partition: str, section: Section, images: Mapping[Place, str]) -> bytes:
        page = rendered(
            "lake_page.html.jinja",
            title=f"{table} {partition}",
            name=table,
            eyebrow=f"Lake {self.lake.name}",
            partition=partition,
            said="as the newest version has it, without what anybody asked to remove",
            sections=[section],
            images=images,
            options=ReportOptions(),
            language_code=language_code,
        )
        return page.encode()


def _groups(pairs: PairSamples, kind: Kind) -> list[tuple[str, Sequence[Card]]]:
    return [(name, cards) for name, cards in (pairs.kept if kind == "kept" else pairs.dropped).items() if cards]


def _identities(table: Table) -> dict[str, str | None]:
    """The columns of a table by which its rows can be asked to be removed, as ``annotate`` names them."""
    known = {*table.schema.names}
    url = next((name for name in ("url", "example_url") if name in known), None)
    named = {name: name for name in ("final_url", "pair_id", "sha256") if name in known}
    return {"url": url, **named}


def _nothing() -> blocks.Note:
    return blocks.Note(text="There is nothing to show.")


def _is_readable(type_: Any) -> bool:
    return not str(type_).startswith(("list", "binary", "map", "struct", "fixed_size"))


def _cell(value: Any) -> Cell:
    if value is None:
        return blocks.words("")
    is_number = isinstance(value, int | float) and abs(value) < _MOST
    return blocks.number(value) if is_number else blocks.foreign(value)
