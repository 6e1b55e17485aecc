"""Scales: where a value lies along a side of a plot, which round numbers stand there, and how they are written."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

_EDGE = 0.001
_LOGIT_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 0.99, 0.997, 0.999)
_STEPS = ((1,), (1, 3), (1, 2, 5))
"""Of a decade, on a logarithmic axis."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Kind = Literal["linear", "share", "log", "logit"]


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

    def common(self, other: "Axis") -> tuple[float, float] | None:
        """The least and the largest value that this axis and another of its kind both have a place for."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return (_restored(low, self.kind), _restored(high, self.kind)) if low < high else None

    def ticks(self) -> list[float]:
        """Round numbers along it, few."""
        low, high = (_restored(end, self.kind) for end in (self.low, self.high))
        if self.kind == "linear":
            return round_numbers(low, high, 4)
        if self.kind in ("share", "logit"):
            found: Sequence[float] = _LOGIT_TICKS if self.kind == "logit" else (0, 0.25, 0.5, 0.75, 1)
            return [tick for tick in found if low <= tick <= high]
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        choices = ([step * 10.0**power for power in powers for step in steps] for steps in _STEPS)
        inside = ([tick for tick in choice if low <= tick <= high] for choice in choices)
        found = next((choice for choice in inside if len(choice) >= 3), round_numbers(low, high, 5))
        return [tick for tick in found if low <= tick <= high and tick > 0]

    def said(self, value: float) -> str:
        """The number of a tick."""
        if self.kind in ("share", "logit"):
            return f"{100 * value:g}%"
        if 1e-3 <= value < 1e6 or self.kind == "linear":
            return short(value)
        power = math.floor(math.log10(value) + 1e-9)
        step = round(value / 10**power)
        return ("" if step == 1 else f"{step}·") + _power_of_ten(power)


def axis(values: Iterable[float], label: str, kind: Kind = "linear", *, least: float | None = None) -> Axis:
    """An axis around all values; those that have no place on it are left out of account.

    Args:
        values: what will be drawn.
        label: what is measured, with its unit.
        kind: of scale.
        least: the axis spans at least this: decades where it is logarithmic, logits where it is logit.
    """
    known = [_transformed(v, kind) for v in values if math.isfinite(v) and (kind != "log" or v > 0)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if least is None:
        least = {"log": 0.01, "logit": 1.0}.get(kind, 0.05 * max(abs(low), abs(high), 1e-9))
    span = max(high - low, least)
    room = (span - (high - low)) / 2 + 0.06 * span
    return Axis(label=label, low=low - room, high=high + room, kind=kind)


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


def rounded(value: float | None) -> str:
    """An amount of any size in few characters."""
    if value is None:
        return "–"
    if 1e-3 <= abs(value) < 1e7 or value == 0:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa}·{_power_of_ten(int(power))}"


def _power_of_ten(power: int) -> str:
    return f"10{str(power).translate(_SUPERSCRIPTS)}"


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
