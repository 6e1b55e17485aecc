"""A chart as one picture that needs no page around it."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup

from laion_assets.charts.drawing import WIDTH, Bar, Chart, Dot, Line, Plot, Shape, Words, fixed
from laion_assets.charts.style import AREAS, style

_WIDEST: Final = 1_050
"""So many pixels fit into the window in which Dagster shows a picture, on a screen of 1,440."""
_ENLARGED: Final = 1.4
_FOUR: Final = 4
"""So many plots stand two by two; more stand in three columns."""
_GAP, _LINE, _BORDER = 28, 16, 12
_LETTER: Final = 6.4
"""Mean width of a letter, in the units of a plot."""
NOTHING: Final = "nothing was measured"
"""What a picture says of a chart without plots."""
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML may hold."""
FONT = "svg { font: 12px ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif; }"


def standalone(chart: Chart, title: str) -> bytes:
    """The chart as an SVG file with its own colours, light and dark, and all that a page would say around it.

    Args:
        chart: what to draw; without plots, the picture says that nothing was measured.
        title: what stands above all of it.
    """
    columns = 2 if len(chart.plots) == _FOUR else max(1, min(len(chart.plots), 3))
    width = columns * WIDTH + (columns - 1) * _GAP
    y: float = 20 + _LINE
    body = [Words(x=0, y=14, text=title, strong=True).svg]
    for line in _legend_lines(chart.legend if chart.plots else (), width):
        body += [shape.svg for x, tone, said in line for shape in _meaning(x, y, tone, said)]
        y += _LINE + 2
    y += 6
    if not chart.plots:
        body.append(Words(x=width / 2, y=y + 40, text=NOTHING, anchor="middle").svg)
        y += 80
    for first in range(0, len(chart.plots), columns):
        row = chart.plots[first : first + columns]
        head = max(len(_wrapped(plot.caption)) for plot in row) * _LINE
        tall = max(plot.height for plot in row)
        for place, plot in enumerate(row):
            x = place * (WIDTH + _GAP)
            body += [words.svg for words in _lines(x, y, _wrapped(plot.caption))]
            body.append(_moved(x, y + head - 8, plot.body))
            body += [shape.svg for shape in _notes(x, y + head + tall + 8, plot)]
        y += head + tall + max(sum(len(_wrapped(said)) for _, said in plot.notes) for plot in row) * _LINE + _GAP
    inside = _moved(_BORDER, _BORDER, Markup("").join(body))
    return _file(inside, width + 2 * _BORDER, y - _LINE + 2 * _BORDER).encode()


def _file(inside: Markup, width: float, height: float) -> str:
    shown = min(_WIDEST, width * _ENLARGED)
    document = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{2}" height="{3}">'
        '<style>{4}</style><rect class="ground" width="{0}" height="{1}"/>{5}</svg>'
    )
    look = Markup(f"{style()}\n.ground {{ fill: var(--paper); }}\n{FONT}")  # noqa: S704 - nothing of it is foreign
    return NOT_XML.sub(" ", document.format(*map(fixed, (width, height, shown, shown * height / width)), look, inside))


def _legend_lines(legend: Iterable[tuple[str, str]], width: float) -> list[list[tuple[float, str, str]]]:
    """The entries of a legend, line by line, each with where it begins."""
    lines: list[list[tuple[float, str, str]]] = []
    x = width
    for tone, said in legend:
        length = 40 + len(said) * _LETTER
        if not lines or x + length > width:
            lines.append([])
            x = 0
        lines[-1].append((x, tone, said))
        x += length
    return lines


def _meaning(x: float, y: float, tone: str, said: str) -> Sequence[Shape]:
    """A spot of a tone, and what it means."""
    spot: Shape = Dot(x=x + 5, y=y - 4, tone=tone)
    if tone in AREAS:
        spot = Bar(x=x, y=y - 9, width=10, height=10, tone=tone, said="")
    elif tone == "equal":
        spot = Line(points=[(x, y - 4), (x + 12, y - 4)], tone=tone)
    return (spot, Words(x=x + 16, y=y, text=said))


def _notes(x: float, y: float, plot: Plot) -> Iterable[Shape]:
    for tone, said in plot.notes:
        lines = _wrapped(said)
        if tone:
            yield Dot(x=x + 5, y=y - 4, tone=tone)
        yield from _lines(x + 16 if tone else x, y, lines)
        y += len(lines) * _LINE


def _lines(x: float, y: float, lines: Iterable[str]) -> list[Words]:
    return [Words(x=x, y=y + number * _LINE, text=line) for number, line in enumerate(lines)]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, round(WIDTH / _LETTER))


def _moved(x: float, y: float, inside: Markup) -> Markup:
    return Markup('<g transform="translate({} {})">{}</g>').format(fixed(x), fixed(y), inside)
