"""Plots of bars: parts of a whole, histograms, and columns of classes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from laion_assets.charts.axes import round_numbers, short
from laion_assets.charts.drawing import BOTTOM, LEFT, WIDTH, Bar, Plot, Rule, Shape, Words
from laion_assets.common.quantities import figure

_TOP, _RIGHT, _HEIGHT = 22, 8, 190
_FLOOR = _HEIGHT - BOTTOM


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a histogram."""

    low: float
    high: float
    total: int
    part: int | None = 0
    """So many of the total, drawn stronger; None where it is not known which, and all are."""


def stacked_bars(title: str, description: str, rows: Sequence[tuple[str, Mapping[str, int]]], caption: str) -> Plot:
    """A bar for each row, made of parts that are named by their tone."""
    most = max((sum(parts.values()) for _, parts in rows), default=0) or 1
    left, right, pitch = 92, 56, 30
    shapes: list[Shape] = []
    for number, (label, parts) in enumerate(rows):
        y, x = 6 + number * pitch, float(left)
        shapes.append(Words(x=left - 8, y=y + 15, text=label, anchor="end"))
        for tone, count in parts.items():
            width = count / most * (WIDTH - left - right)
            shapes.append(Bar(x=x, y=y, width=width, height=20, tone=tone, said=f"{label}, {tone}: {figure(count)}"))
            x += width
        shapes.append(Words(x=x + 6, y=y + 15, text=figure(sum(parts.values())), strong=True))
    return Plot(title=title, description=description, height=6 + len(rows) * pitch, shapes=shapes, caption=caption)


def histogram(
    title: str,
    description: str,
    bins: Sequence[Bin],
    *,
    tone: str,
    label: str,
    span: tuple[float, float],
    part: str = "",
    marks: Iterable[tuple[float, str]] = (),
    caption: str = "",
) -> Plot:
    """Bars on a scale of numbers: all pale, the part of each strong, with lines at what is marked.

    Args:
        title: what it shows, for those who do not see it.
        description: the same in more words.
        bins: the bars.
        tone: of all of them.
        label: what is measured.
        span: the least and the largest number of the scale.
        part: what the part of a bar is.
        marks: numbers with what stands beside their lines.
        caption: of the plot.
    """
    most = max((b.total for b in bins), default=0) or 1
    low, high = span
    scale = (WIDTH - LEFT - _RIGHT) / ((high - low) or 1)
    shapes = _count_axis(most)
    for b in bins:
        x, width = LEFT + (b.low - low) * scale, max((b.high - b.low) * scale - 0.6, 0.4)
        said = f"{b.low:.2f} to {b.high:.2f}: {figure(b.total)}"
        tall, strong = (count / most * (_FLOOR - _TOP) for count in (b.total, b.part or 0))
        whole = tone if b.part is None else f"{tone} pale"
        shapes.append(Bar(x=x, y=_FLOOR - tall, width=width, height=tall, tone=whole, said=said))
        if b.part:
            told = f"{said}, {figure(b.part)} of them {part}"
            shapes.append(Bar(x=x, y=_FLOOR - strong, width=width, height=strong, tone=tone, said=told))
    for value, said in marks:
        x = LEFT + (value - low) * scale
        ends = x > WIDTH * 0.6
        shapes.append(Rule(begin=(x, 12), end=(x, _FLOOR), tone="mark"))
        shapes.append(Words(x=x + (-5 if ends else 5), y=18, text=said, anchor="end" if ends else "start", strong=True))
    for value in round_numbers(low, high, 5):
        shapes.append(Words(x=LEFT + (value - low) * scale, y=_FLOOR + 15, text=f"{value:g}", anchor="middle"))
    shapes.append(_below(label))
    return Plot(title=title, description=description, height=_HEIGHT, shapes=shapes, caption=caption)


def columns(
    title: str,
    description: str,
    bins: Sequence[tuple[str, Mapping[str, int]]],
    *,
    label: str,
    most_labels: int = 9,
    caption: str = "",
) -> Plot:
    """A column for each class, in their order, made of parts that are named by their tone."""
    most = max((sum(parts.values()) for _, parts in bins), default=0) or 1
    pitch = (WIDTH - LEFT - _RIGHT) / max(len(bins), 1)
    width = min(pitch * 0.86, 56)
    every = math.ceil(len(bins) / most_labels) if bins else 1
    shapes = _count_axis(most)
    for number, (name, parts) in enumerate(bins):
        x, y = LEFT + (number + 0.5) * pitch - width / 2, float(_FLOOR)
        for tone, count in parts.items():
            tall = count / most * (_FLOOR - _TOP)
            y -= tall
            said = f"{name} {label}, {tone}: {figure(count)}"
            shapes.append(Bar(x=x, y=y, width=width, height=tall, tone=tone, said=said))
        if number % every == 0:
            shapes.append(Words(x=x + width / 2, y=_FLOOR + 15, text=name, anchor="middle"))
    shapes.append(_below(label))
    return Plot(title=title, description=description, height=_HEIGHT, shapes=shapes, caption=caption)


def _count_axis(most: int) -> list[Shape]:
    """Rules at round counts, with the counts beside them."""
    shapes: list[Shape] = []
    for value in round_numbers(0, most, 3):
        y = _FLOOR - value / most * (_FLOOR - _TOP)
        shapes.append(Rule(begin=(LEFT, y), end=(WIDTH - _RIGHT, y)))
        shapes.append(Words(x=LEFT - 6, y=y + 4, text=short(value), anchor="end"))
    return shapes


def _below(label: str) -> Words:
    return Words(x=(LEFT + WIDTH) / 2, y=_HEIGHT - 3, text=label, anchor="middle")
