"""What charts are drawn with: shapes in a plot, plots in a chart, and their colours.

A plot is SVG, 400 units wide, so that its words stay readable on a phone and small beside another. Shapes name what
they stand for by a tone, which is a class, and :mod:`style` says which colour that is: so they follow light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

WIDTH = 400
TOP, BOTTOM, LEFT, RIGHT = 26, 34, 46, 16
"""Room for words around what is drawn on two scales."""
_TONES = 8
_FORMS = ("", " square", " diamond", " triangle")
_OUTLINES = {
    "square": "M{0} {1}m-3.2 -3.2h6.4v6.4h-6.4z",
    "diamond": "M{0} {1}m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
    "triangle": "M{0} {1}m0 -4.4l4.3 7.4h-8.6z",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A rectangle, and what a reader who points at it is told."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    said: str

    @property
    def svg(self) -> Markup:
        """As an element."""
        return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            self.tone, *map(fixed, (self.x, self.y, max(self.width, 0), max(self.height, 0))), self.said
        )


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points that are joined."""

    points: Sequence[tuple[float, float]]
    tone: str

    @property
    def svg(self) -> Markup:
        """As an element."""
        joined = " ".join(f"{fixed(x)},{fixed(y)}" for x, y in self.points)
        return Markup('<polyline class="{}" points="{}"/>').format(self.tone, joined)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A straight line that measures something: one of a scale, or a threshold."""

    begin: tuple[float, float]
    end: tuple[float, float]
    tone: str = "rule"

    @property
    def svg(self) -> Markup:
        """As an element."""
        return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            self.tone, *map(fixed, (self.begin[0], self.end[0], self.begin[1], self.end[1]))
        )


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A mark, round where its tone names no other form, and what a reader who points at it is told."""

    x: float
    y: float
    tone: str
    said: str = ""

    @property
    def svg(self) -> Markup:
        """As an element."""
        at, said = (fixed(self.x), fixed(self.y)), Markup("<title>{}</title>").format(self.said) if self.said else ""
        outline = _OUTLINES.get(self.tone.rpartition(" ")[2])
        if outline is not None:
            return Markup('<path class="{}" d="{}">{}</path>').format(self.tone, outline.format(*at), said)
        return Markup('<circle class="{}" cx="{}" cy="{}" r="3.5">{}</circle>').format(self.tone, *at, said)


@dataclass(frozen=True, kw_only=True)
class Words:
    """A text in a plot."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    strong: bool = False

    @property
    def svg(self) -> Markup:
        """As an element."""
        place = Markup("") if self.anchor == "start" else Markup(' text-anchor="{}"').format(self.anchor)
        weight = Markup(' class="strong"') if self.strong else Markup("")
        return Markup('<text x="{}" y="{}"{}{}>{}</text>').format(
            fixed(self.x), fixed(self.y), place, weight, self.text
        )


Shape: TypeAlias = Bar | Line | Rule | Dot | Words


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot, a caption that says what it shows, and lines for readers who have no table of the same beside it."""

    title: str
    """What it shows, for those who do not see it."""
    description: str
    height: float
    shapes: Sequence[Shape]
    caption: str = ""
    notes: Sequence[tuple[str, str]] = ()
    """(tone, line); the tone is empty where the line is about all of it."""

    @property
    def svg(self) -> Markup:
        """As an element of a page."""
        return Markup('<svg role="img" viewBox="0 0 {} {}"><title>{}</title><desc>{}</desc>{}</svg>').format(
            WIDTH, fixed(self.height), self.title, self.description, self.body
        )

    @property
    def body(self) -> Markup:
        """Its shapes alone."""
        return Markup("").join(shape.svg for shape in self.shapes)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Plots side by side, with the meaning of their colours."""

    plots: Sequence[Plot]
    legend: Sequence[tuple[str, str]] = ()
    """(tone, meaning)."""


def tones(names: Sequence[str]) -> dict[str, str]:
    """A tone for each name, by its place: the colours there are, then the same with marks of another form."""
    forms = [_FORMS[place // _TONES % len(_FORMS)] for place in range(len(names))]
    return {name: f"c{place % _TONES}{form}" for place, (name, form) in enumerate(zip(names, forms, strict=True))}


def shortened(text: str, most: int = 40) -> str:
    """A name that fits beside an axis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fixed(value: float) -> str:
    """A coordinate, to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")
