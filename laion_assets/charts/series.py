"""Plots of marks and lines on two scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from laion_assets.charts.axes import Axis
from laion_assets.charts.drawing import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Dot, Line, Plot, Rule, Shape, Words

_NEAREST = {"x": 0.11, "y": 0.08}
"""Numbers nearer to each other than this, in parts of an axis, would touch."""
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point, what a reader who points at it is told, and how far off it may be."""

    x: float
    y: float
    said: str
    across: tuple[float, float] | None = None
    along: tuple[float, float] | None = None
    expected: float | None = None
    """Where it was to be expected, along the upright axis."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Marks of one colour, with a line."""

    tone: str
    marks: Sequence[Mark] = ()
    line: Sequence[Point] = ()
    dotted: bool = False


def marks_and_lines(
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    x: Axis,
    y: Axis,
    equal: bool = False,
    height: int = 220,
    caption: str = "",
    notes: Sequence[tuple[str, str]] = (),
) -> Plot:
    """Lines below, intervals and marks above. What is no finite number has no place on a scale, and is left out.

    Args:
        title: what it shows, for those who do not see it.
        description: the same in more words.
        series: what is drawn, the first below the others.
        x: the scale below.
        y: the scale to the left.
        equal: whether there is a line where both have the same value.
        height: of the plot, in its units.
        caption: of the plot.
        notes: of the plot.
    """
    floor, across = height - BOTTOM, WIDTH - LEFT - RIGHT

    def place(at: Point) -> Point:
        return LEFT + x.at(at[0]) * across, floor - y.at(at[1]) * (floor - TOP)

    def joined(tone: str, *points: Point) -> list[Shape]:
        found = [place(point) for point in points if all(map(isfinite, point))]
        return [Line(points=found, tone=tone)] if found else []

    shapes = _scales(x, y, floor)
    ends = x.common(y) if equal else None
    if ends is not None:
        shapes += joined("equal", *((end, end) for end in ends))
    for one in series:
        shapes += joined(f"line {one.tone}{' dotted' if one.dotted else ''}", *one.line)
    for one in series:
        for mark in (mark for mark in one.marks if isfinite(mark.x) and isfinite(mark.y)):
            shapes += joined(f"span {one.tone}", *((end, mark.y) for end in mark.across or ()))
            shapes += joined(f"span {one.tone}", *((mark.x, end) for end in mark.along or ()))
            at = place((mark.x, mark.y))
            if mark.expected is not None:
                from_there = place((mark.x, mark.expected))
                shapes.append(Line(points=[from_there, at], tone="distance"))
                shapes.append(Dot(x=from_there[0], y=from_there[1], tone="expected"))
            shapes.append(Dot(x=at[0], y=at[1], tone=one.tone, said=mark.said))
    return Plot(title=title, description=description, height=height, shapes=shapes, caption=caption, notes=notes)


def _scales(x: Axis, y: Axis, floor: int) -> list[Shape]:
    across = WIDTH - LEFT - RIGHT
    shapes: list[Shape] = [Words(x=2, y=12, text=y.label)] if y.label else []
    for value in _apart(y, "y"):
        level = floor - y.at(value) * (floor - TOP)
        shapes.append(Rule(begin=(LEFT, level), end=(WIDTH - RIGHT, level)))
        shapes.append(Words(x=LEFT - 6, y=level + 4, text=y.said(value), anchor="end"))
    shapes += [
        Words(x=LEFT + x.at(value) * across, y=floor + 15, text=x.said(value), anchor="middle")
        for value in _apart(x, "x")
    ]
    shapes.append(Words(x=LEFT + across / 2, y=floor + BOTTOM - 3, text=x.label, anchor="middle"))
    return shapes


def _apart(of: Axis, side: str) -> list[float]:
    """Ticks whose numbers do not touch."""
    chosen: list[float] = []
    for tick in of.ticks():
        if not chosen or of.at(tick) - of.at(chosen[-1]) >= _NEAREST[side]:
            chosen.append(tick)
    return chosen
