"""What a page is made of: sections of tables, charts and sheets of pictures, with their numbers written out."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from laion_assets.charts.drawing import Chart
from laion_assets.common.quantities import figure, percent

_SHOWN_CHARACTERS = 180
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A name of ours, and where the page says more about it."""

    text: str
    to: str = ""
    """Id of an element of the page; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    kind: str = "text"
    """``text``, ``number``, ``total`` (its row sums up others), ``name`` (of ours), ``prose`` (of ours, with code in
    backticks), ``names`` (links) or ``foreign`` (of the web)."""
    links: Sequence[Link] = ()
    """What stands in the cell instead of a text."""
    id: str = ""
    """What links lead to it by."""
    note: str = ""
    """A smaller line below."""
    share: float | None = None
    """Length of a bar behind the cell, from 0 to 1."""
    tone: str = ""
    """Which colour the bar has: a language group, or nothing."""
    language: str = ""
    """Language code of the text, where it is known."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under headings; the first cell of a row is its heading."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    block: str = "table"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a picture lies: a tar of the lake and the sample's key in it."""

    tar: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One pair to look at."""

    text: str
    facts: Sequence[str] = ()
    """Short lines about it; ours."""
    url: str = ""
    language: str = ""
    place: Place | None = None
    """Its picture; None where there is none to show."""
    size: tuple[int, int] | None = None
    """Width and height of the picture as downloaded, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Pairs to look at, under a heading."""

    title: str
    cards: Sequence[Card]
    reason: str = ""
    """The name of what happened to them, which stands before the title."""
    note: str = ""
    block: str = "sheet"


@dataclass(frozen=True, kw_only=True)
class Note:
    """A sentence or two, with a command to run where something is missing."""

    text: str
    command: str = ""
    block: str = "note"


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading inside a section."""

    text: str = ""
    name: str = ""
    """A name of ours that stands before the text."""
    block: str = "heading"


Block: TypeAlias = Table | Chart | Sheet | Note | Heading


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page that the table of contents names."""

    id: str
    title: str
    intro: str
    blocks: Sequence[Block] = field(default_factory=tuple)


Columns: TypeAlias = Mapping[str, Callable[[Any], Cell]]
"""By heading, what a column shows of a row."""


def table_of(title: str, rows: Iterable[Any], columns: Columns, *, note: str = "") -> Table:
    """A table that shows rows by its columns."""
    lines = [[cell(row) for cell in columns.values()] for row in rows]
    return Table(title=title, headings=[*columns], rows=lines, note=note)


def name(text: Any, *, note: str = "") -> Cell:
    """A name of ours: a crawl, a table, a reason."""
    return Cell(text=str(text), kind="name", note=note)


def words(text: Any, *, note: str = "") -> Cell:
    """Plain words of ours."""
    return Cell(text=str(text), note=note)


def prose(text: str, *, note: str = "") -> Cell:
    """Sentences of ours, with code in backticks."""
    return Cell(text=text, kind="prose", note=note)


def links(of: Sequence[Link], *, otherwise: str = "–") -> Cell:
    """Names of ours that lead to where the page says more; other words where there are none."""
    return Cell(text="" if of else otherwise, kind="names", links=of)


def foreign(text: Any, *, note: str = "", language: str = "") -> Cell:
    """A text that somebody on the web wrote, or its address."""
    return Cell(text=shown(str(text)), kind="foreign", note=shown(note), language=language_code(language))


def number(value: float | None, *, note: str = "", bar: float | None = None, tone: str = "") -> Cell:
    """A count or a measure, with its thousands apart; a dash where there is none."""
    return Cell(text=figure(value), kind="number", note=note, share=_between(bar), tone=tone)


def share(value: float | None, *, note: str = "", bar: bool = False, tone: str = "") -> Cell:
    """A share from 0 to 1, as percent."""
    return Cell(text=percent(value), kind="number", note=note, share=_between(value) if bar else None, tone=tone)


def ratio(part: float | None, whole: float | None) -> float | None:
    """Part of whole, None where the whole is nothing."""
    return None if part is None or not whole else part / whole


def shown(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """The beginning of a text of the web in one line, without what no page may hold."""
    line = " ".join(_INVISIBLE.sub(" ", text).split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def first_sentence(text: str) -> str:
    """The first sentence of a description of ours."""
    return re.split(r"(?<=[.])\s+(?=[A-Z])", text, maxsplit=1)[0]


def language_code(language: str | None) -> str:
    """A language code that may stand in ``lang``, which chooses the right glyphs; empty where it is none."""
    return language if language and _LANGUAGE.fullmatch(language) else ""


def _between(value: float | None) -> float | None:
    return None if value is None else min(max(float(value), 0.0), 1.0)
