"""Plots as small inline SVG. They name colours by class, and the page says which: so they follow light and dark.

Every plot is drawn for a width of 400 units, so that its words stay readable on a phone and small beside another.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from laion_assets.common.quantities import figure

_WIDTH = 400
_TOP, _BOTTOM, _LEFT, _RIGHT = 22, 34, 46, 8


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a histogram."""

    low: float
    high: float
    total: int
    part: int = 0
    """So many of the total, drawn stronger."""


def stacked_bars(title: str, description: str, rows: Sequence[tuple[str, Mapping[str, int]]]) -> Markup:
    """A bar for each row, made of parts that are named by their tone."""
    most = max((sum(parts.values()) for _, parts in rows), default=0) or 1
    left, right, pitch = 92, 56, 30
    body: list[Markup] = []
    for number, (label, parts) in enumerate(rows):
        y, x = 6 + number * pitch, float(left)
        body.append(words(left - 8, y + 15, label, "end"))
        for tone, count in parts.items():
            width = count / most * (_WIDTH - left - right)
            body.append(_bar(x, y, width, 20, tone, f"{label}, {tone}: {figure(count)}"))
            x += width
        body.append(words(x + 6, y + 15, figure(sum(parts.values())), strong=True))
    return drawing(title, description, 6 + len(rows) * pitch, body)


def histogram(
    title: str,
    description: str,
    bins: Sequence[Bin],
    *,
    tone: str,
    label: str,
    span: tuple[float, float],
    marks: Iterable[tuple[float, str]] = (),
) -> Markup:
    """Bars on a scale of numbers: all pale, the part of each strong, with lines at what is marked."""
    height = 190
    most = max((b.total for b in bins), default=0) or 1
    low, high = span
    scale = (_WIDTH - _LEFT - _RIGHT) / ((high - low) or 1)
    floor = height - _BOTTOM
    body = _count_axis(most, floor)
    for b in bins:
        x, width = _LEFT + (b.low - low) * scale, max((b.high - b.low) * scale - 0.6, 0.4)
        said = f"{b.low:.2f} to {b.high:.2f}: {figure(b.total)}"
        tall, part = (count / most * (floor - _TOP) for count in (b.total, b.part))
        body.append(_bar(x, floor - tall, width, tall, f"{tone} pale", said))
        if b.part:
            body.append(_bar(x, floor - part, width, part, tone, f"{said}, {figure(b.part)} of them released"))
    for value, said in marks:
        x = _LEFT + (value - low) * scale
        body.append(Markup('<line class="mark" x1="{0}" x2="{0}" y1="12" y2="{1}"/>').format(fixed(x), floor))
        ends = x > _WIDTH * 0.6
        body.append(words(x + (-5 if ends else 5), 18, said, "end" if ends else "start", strong=True))
    for value in round_numbers(low, high, 5):
        body.append(words(_LEFT + (value - low) * scale, floor + 15, f"{value:g}", "middle"))
    body.append(words((_LEFT + _WIDTH) / 2, height - 3, label, "middle"))
    return drawing(title, description, height, body)


def columns(
    title: str, description: str, bins: Sequence[tuple[str, Mapping[str, int]]], *, label: str, most_labels: int = 9
) -> Markup:
    """A column for each class, in their order, made of parts that are named by their tone."""
    height = 190
    floor = height - _BOTTOM
    most = max((sum(parts.values()) for _, parts in bins), default=0) or 1
    pitch = (_WIDTH - _LEFT - _RIGHT) / max(len(bins), 1)
    width = min(pitch * 0.86, 56)
    every = math.ceil(len(bins) / most_labels) if bins else 1
    body = _count_axis(most, floor)
    for number, (name, parts) in enumerate(bins):
        x, y = _LEFT + (number + 0.5) * pitch - width / 2, float(floor)
        for tone, count in parts.items():
            tall = count / most * (floor - _TOP)
            y -= tall
            body.append(_bar(x, y, width, tall, tone, f"{name} {label}, {tone}: {figure(count)}"))
        if number % every == 0:
            body.append(words(x + width / 2, floor + 15, name, "middle"))
    body.append(words((_LEFT + _WIDTH) / 2, height - 3, label, "middle"))
    return drawing(title, description, height, body)


def curves(title: str, description: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, label: str) -> Markup:
    """Shares, from 0 to 1, over a logarithmic scale that begins at 1; one line for each tone."""
    height = 190
    floor = height - _BOTTOM
    last = max((x for points in lines.values() for x, _ in points), default=1)
    decades = max(math.log10(last), 0.5)
    body: list[Markup] = []
    for step in (0, 0.25, 0.5, 0.75, 1):
        y = floor - step * (floor - _TOP)
        body += [_rule(y), words(_LEFT - 6, y + 4, f"{step:.0%}", "end")]
    for tone, points in lines.items():
        at = [
            (
                fixed(_LEFT + math.log10(max(x, 1)) / decades * (_WIDTH - _LEFT - _RIGHT)),
                fixed(floor - y * (floor - _TOP)),
            )
            for x, y in points
        ]
        joined = " ".join(",".join(point) for point in at)
        body.append(Markup('<polyline class="{}" points="{}"/>').format(f"line {tone}", joined))
        body += [Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>').format(tone, *point) for point in at[-1:]]
    for power in range(math.floor(decades) + 1):
        x = _LEFT + power / decades * (_WIDTH - _LEFT - _RIGHT)
        body.append(words(x, floor + 15, figure(10**power), "middle"))
    body.append(words((_LEFT + _WIDTH) / 2, height - 3, label, "middle"))
    return drawing(title, description, height, body)


def drawing(title: str, description: str, height: float, body: Iterable[Markup]) -> Markup:
    """An SVG with a title and a description, 400 units wide."""
    return Markup(
        '<svg role="img" viewBox="0 0 {} {}"><title>{}</title><desc>{}</desc>{}</svg>'
    ).format(_WIDTH, fixed(height), title, description, Markup("").join(body))  # fmt: skip


def _count_axis(most: int, floor: float) -> list[Markup]:
    """Rules at round counts, with the counts beside them."""
    body: list[Markup] = []
    for value in round_numbers(0, most, 3):
        y = floor - value / most * (floor - _TOP)
        body += [_rule(y), words(_LEFT - 6, y + 4, short(value), "end")]
    return body


def round_numbers(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two others, about so many."""
    if high <= low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about + 0.5)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A count in few characters."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 10 * factor or (value >= factor and value % (factor / 10) == 0):
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def _bar(x: float, y: float, width: float, height: float, tone: str, said: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        tone, fixed(x), fixed(y), fixed(max(width, 0)), fixed(max(height, 0)), said
    )


def _rule(y: float) -> Markup:
    return Markup('<line class="rule" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
        _LEFT, _WIDTH - _RIGHT, fixed(y), fixed(y)
    )


def words(x: float, y: float, text: str, anchor: str = "start", *, strong: bool = False) -> Markup:
    """A text in a plot."""
    place = Markup("") if anchor == "start" else Markup(' text-anchor="{}"').format(anchor)
    weight = Markup(' class="strong"') if strong else Markup("")
    return Markup('<text x="{}" y="{}"{}{}>{}</text>').format(fixed(x), fixed(y), place, weight, escape(text))


def fixed(value: float) -> str:
    """A coordinate, to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")
