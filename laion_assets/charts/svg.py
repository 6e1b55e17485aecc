"""Charts of marks and lines on two scales, as small inline SVG, drawn as `plots` draws."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from laion_assets.charts.report_plots import drawing, fixed, round_numbers, short, words

WIDTH = 400
_TOP, _BOTTOM, _LEFT, _RIGHT = 26, 34, 46, 16
_NEAREST = {"x": 0.11, "y": 0.08}
"""Numbers nearer to each other than this, in parts of an axis, would touch."""
_EDGE = 0.001
_LOGIT_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 0.99, 0.997, 0.999)
_STEPS = ((1,), (1, 3), (1, 2, 5))
"""Of a decade, on a logarithmic axis."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Kind = Literal["linear", "log", "logit"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is measured along one side, and from where to where; :func:`axis` makes one around values."""

    label: str
    low: float
    high: float
    """Both as transformed by the kind."""
    kind: Kind

    def at(self, value: float) -> float:
        """How far along the axis a value lies, from 0 to 1; what is beyond an end lies at the end."""
        return min(max((_transformed(value, self.kind) - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round numbers along it, few."""
        low, high = (_restored(end, self.kind) for end in (self.low, self.high))
        if self.kind == "linear":
            return round_numbers(low, high, 4)
        if self.kind == "logit":
            found: Sequence[float] = _LOGIT_TICKS
        else:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            choices = (
                [step * 10.0**power for power in powers for step in steps] for steps in ((1,), (1, 3), (1, 2, 5))
            )
            inside = ([tick for tick in choice if low <= tick <= high] for choice in choices)
            found = next((choice for choice in inside if len(choice) >= 3), round_numbers(low, high, 5))
        return [tick for tick in found if low <= tick <= high and tick > 0]

    def said(self, value: float) -> str:
        """The number of a tick."""
        if self.kind == "logit":
            return f"{100 * value:g}%"
        if 1e-3 <= value < 1e6 or self.kind == "linear":
            return short(value)
        power = math.floor(math.log10(value) + 1e-9)
        step = round(value / 10**power)
        return ("" if step == 1 else f"{step}·") + f"10{str(power).translate(_SUPERSCRIPTS)}"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point, what a reader who points at it is told, and how far off it may be."""

    x: float
    y: float
    said: str
    across: tuple[float, float] | None = None
    along: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """Marks of one colour, with a line."""

    tone: str
    marks: Sequence[Mark] = ()
    line: Sequence[tuple[float, float]] = ()
    dotted: bool = False


def axis(values: Iterable[float], label: str, kind: Kind = "linear", *, least: float | None = None) -> Axis:
    """An axis around all values; those that have no place on it are left out of account.

    Args:
        values: what will be drawn.
        label: what is measured, with its unit.
        kind: of scale.
        least: the axis spans at least this: decades where it is logarithmic, logits where it is logit.
    """
    known = [_transformed(v, kind) for v in values if kind != "log" or v > 0] or [0.0, 1.0]
    low, high = min(known), max(known)
    if least is None:
        least = {"linear": 0.05 * max(abs(low), abs(high), 1e-9), "log": 0.01, "logit": 1.0}[kind]
    span = max(high - low, least)
    room = (span - (high - low)) / 2 + 0.06 * span
    return Axis(label=label, low=low - room, high=high + room, kind=kind)


def chart(
    title: str, description: str, series: Sequence[Series], *, x: Axis, y: Axis, equal: bool = False, height: int = 220
) -> Markup:
    """Lines below, intervals and marks above; ``equal`` adds a line where both axes have the same value."""
    floor, across = height - _BOTTOM, WIDTH - _LEFT - _RIGHT

    def place(at: tuple[float, float]) -> tuple[str, str]:
        return fixed(_LEFT + x.at(at[0]) * across), fixed(floor - y.at(at[1]) * (floor - _TOP))

    body = [*_scales(x, y, floor)]
    if equal:
        ends = max(x.low, y.low), min(x.high, y.high)
        if ends[0] < ends[1]:
            body.append(_line("equal", [place((_restored(end, x.kind),) * 2) for end in ends]))
    for one in series:
        if one.line:
            dots = " dotted" if one.dotted else ""
            body.append(_line(f"line {one.tone}{dots}", [place(point) for point in one.line]))
    for one in series:
        for mark in one.marks:
            body += [_line(f"span {one.tone}", [place((end, mark.y)) for end in mark.across or ()])]
            body += [_line(f"span {one.tone}", [place((mark.x, end)) for end in mark.along or ()])]
            dot = Markup('<circle class="{}" cx="{}" cy="{}" r="3.5"><title>{}</title></circle>')
            body.append(dot.format(one.tone, *place((mark.x, mark.y)), mark.said))
    return drawing(title, description, height, body)


def _scales(x: Axis, y: Axis, floor: int) -> list[Markup]:
    across = WIDTH - _LEFT - _RIGHT
    body = [words(2, 12, y.label)]
    for value in _apart(y, "y"):
        level = floor - y.at(value) * (floor - _TOP)
        rule = Markup('<line class="rule" x1="{}" x2="{}" y1="{}" y2="{}"/>')
        body.append(rule.format(_LEFT, WIDTH - _RIGHT, fixed(level), fixed(level)))
        body.append(words(_LEFT - 6, level + 4, y.said(value), "end"))
    body += [words(_LEFT + x.at(v) * across, floor + 15, x.said(v), "middle") for v in _apart(x, "x")]
    body.append(words(_LEFT + across / 2, floor + _BOTTOM - 3, x.label, "middle"))
    return body


def _apart(of: Axis, side: str) -> list[float]:
    """Ticks whose numbers do not touch."""
    chosen: list[float] = []
    for tick in of.ticks():
        if not chosen or of.at(tick) - of.at(chosen[-1]) >= _NEAREST[side]:
            chosen.append(tick)
    return chosen


def _line(tone: str, points: Sequence[tuple[str, str]]) -> Markup:
    if not points:
        return Markup("")
    return Markup('<polyline class="{}" points="{}"/>').format(tone, " ".join(",".join(point) for point in points))


def _transformed(value: float, kind: Kind) -> float:
    if kind == "log":
        return math.log10(max(value, 1e-300))
    if kind == "logit":
        inside = min(max(value, _EDGE), 1 - _EDGE)
        return math.log(inside / (1 - inside))
    return value


def _restored(value: float, kind: Kind) -> float:
    if kind == "log":
        return float(10.0**value)
    return 1 / (1 + math.exp(-value)) if kind == "logit" else value
