"""A chart so small that it fits into a line of metadata, and is seen without a click."""

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import quote

from markupsafe import Markup

from laion_assets.charts.drawing import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Bar, Chart, Dot, Line, Plot, Rule
from laion_assets.charts.standalone import NOT_XML, NOTHING
from laion_assets.charts.style import LIGHT

T = TypeVar("T")

_WIDTH: Final = 320
_HEIGHT: Final = 96
_MOST_PLOTS: Final = 3
_MOST_POINTS: Final = 12
"""Of a line, and dots of a colour."""
_GREY: Final = "#888"
"""Seen on light and on dark."""
_KEPT: Final = "/:=',;{}-."
"""In an address: what neither it nor Markdown minds."""


def at_a_glance(chart: Chart, most: int) -> str | None:
    """The first plots as the address of a picture (``data:``) of at most so many characters, without numbers.

    As many plots as fit, with their captions where there is room for them too; None where not even one fits. The
    address holds no blank and no bracket, so that it can stand in Markdown.
    """
    shown = range(min(len(chart.plots), _MOST_PLOTS), 0, -1)
    choices = [(chart.plots[:plots], captions) for plots in shown for captions in (True, False)] or [((), True)]
    addresses = (_address(plots, captions=captions) for plots, captions in choices)
    return next((address for address in addresses if len(address) <= most), None)


def _address(plots: Sequence[Plot], *, captions: bool) -> str:
    width = _WIDTH // max(len(plots), 1)
    body = [Markup("<style>text{{font:9px sans-serif;fill:{}}}</style>").format(_GREY)] if captions else []
    if not plots:
        body.append(Markup("<text y='9'>{}</text>").format(NOTHING))
    for number, plot in enumerate(plots):
        left, top = number * width, 12 if captions else 0
        if captions:
            said = textwrap.shorten(plot.caption.rstrip("."), width // 8, placeholder="…")
            body.append(Markup("<text x='{}' y='9'>{}</text>").format(left, said))
        body += _paths(plot, left, top, (width - 6) / WIDTH, (_HEIGHT - top) / plot.height)
    begin = f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}' fill='none'"
    svg = f"{begin} stroke-linecap='round'>{''.join(body)}</svg>"
    return f"data:image/svg+xml,{quote(NOT_XML.sub(' ', svg), safe=_KEPT)}"


def _paths(plot: Plot, left: int, top: int, across: float, along: float) -> list[Markup]:
    """A path for each look with all of its shapes, areas first; the scales are a corner."""

    def place(x: float, y: float) -> tuple[int, int]:
        return left + round(x * across), top + round(y * along)

    (x, y), (right, floor) = place(LEFT, TOP), place(WIDTH - RIGHT, plot.height - BOTTOM)
    areas, strokes = defaultdict[str, str](str), defaultdict[str, str](str)
    dots = defaultdict[str, list[tuple[int, int]]](list)
    strokes[_GREY] = f"M{x},{y}V{floor}H{right}"
    ends: dict[str, tuple[int, int]] = {}
    for shape in plot.shapes:
        if isinstance(shape, Bar) and shape.width * shape.height > 0:
            (x, y), (right, floor) = place(shape.x, shape.y), place(shape.x + shape.width, shape.y + shape.height)
            look = _colour(shape.tone) + ("' opacity='.3" if "pale" in shape.tone else "")
            at, level = ends.get(look, (-9, 0))
            if x - at in (0, 1) and floor == level:  # the next of a row
                areas[look] = f"{areas[look].removesuffix(f'V{floor}')}V{y}h{right - at}V{floor}"
            else:
                areas[look] += f"M{x},{floor}V{y}h{right - x}V{floor}"
            ends[look] = right, floor
        elif isinstance(shape, Line) and shape.tone.startswith(("line", "equal")):
            points = [place(*point) for point in _few(shape.points)]
            strokes[_colour(shape.tone)] += "M" + "L".join(f"{x},{y}" for x, y in points)
        elif isinstance(shape, Rule) and shape.tone == "mark":
            (x, y), (_, floor) = place(*shape.begin), place(*shape.end)
            strokes[_GREY] += f"M{x},{y}V{floor}"
        elif isinstance(shape, Dot) and shape.said:
            dots[_colour(shape.tone)].append(place(shape.x, shape.y))
    spots = {colour: "".join(f"M{x},{y}h0" for x, y in _few(places)) for colour, places in dots.items()}
    looks = (("fill='{}'", areas), ("stroke='{}'", strokes), ("stroke-width='4' stroke='{}'", spots))
    return [
        Markup(f"<path {look.format(colour)} d='{path}'/>")  # noqa: S704 - all of it is ours
        for look, paths in looks
        for colour, path in paths.items()
    ]


def _few(points: Sequence[T]) -> Sequence[T]:
    """Some of the points, the first and the last among them."""
    return [*points[: -1 : -(-len(points) // _MOST_POINTS)], points[-1]]


def _colour(tone: str) -> str:
    return next((LIGHT[word] for word in tone.split() if word in LIGHT and word != "line"), _GREY)
