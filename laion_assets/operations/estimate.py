"""Numbers with a range, and how ranges combine."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

UNKNOWN_SPREAD = 1.5
"""A figure without a known spread is taken to be right within this factor."""

_FEWEST = 3
_LOW, _HIGH = 0.1, 0.9


@dataclass(frozen=True)
class Estimate:
    """A quantity that is not negative: the likely value, and what it lies between."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not 0 <= self.low <= self.value <= self.high:
            raise ValueError(f"expected 0 <= low <= value <= high, found {self.low}, {self.value}, {self.high}")

    @classmethod
    def exactly(cls, value: float) -> Self:
        """A number that is known."""
        return cls(value, value, value)

    @classmethod
    def about(cls, value: float, factor: float = UNKNOWN_SPREAD) -> Self:
        """A number that is right within a factor."""
        return cls(value, value / factor, value * factor)

    def __add__(self, other: "Estimate") -> "Estimate":
        """A sum: what makes one addend large makes the other large too, so that the ends add up."""
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        """A product. Factors err independently: their spreads, as ratios, add up in squares."""
        if not isinstance(other, Estimate):
            return Estimate(self.value * other, self.low * other, self.high * other)
        value = self.value * other.value
        if value == 0:
            return Estimate(0, 0, self.high * other.high)
        down, up = (math.hypot(a, b) for a, b in zip(self._spread(), other._spread(), strict=True))
        return Estimate(value, value * math.exp(-down), value * math.exp(up))

    __rmul__ = __mul__

    def __truediv__(self, other: "Estimate | float") -> "Estimate":
        """A quotient; see the product."""
        if isinstance(other, Estimate):
            if other.low <= 0:
                raise ZeroDivisionError("what is divided by may be zero")
            return self * Estimate(1 / other.value, 1 / other.high, 1 / other.low)
        return self * (1 / other)

    def _spread(self) -> tuple[float, float]:
        """How far the ends are, as logarithms of ratios."""
        down = math.log(self.value / self.low) if self.low > 0 else math.inf
        return down, math.log(self.high / self.value)


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of all; 0 of none."""
    return sum(estimates, Estimate.exactly(0))


def ratio(parts: Sequence[tuple[float, float]]) -> Estimate | None:
    """The ratio of the sums of (numerator, denominator), between the tenth and the ninetieth percentile of the parts'.

    Parts whose denominator is 0 say nothing. None where none says anything. The spread of fewer than three parts is
    not known: then it is :data:`UNKNOWN_SPREAD`.
    """
    known = [(n, d) for n, d in parts if d > 0]
    if not known:
        return None
    value = sum(n for n, _ in known) / sum(d for _, d in known)
    if len(known) < _FEWEST:
        return Estimate.about(value)
    ratios = sorted(n / d for n, d in known)
    return Estimate(value, min(value, percentile(ratios, _LOW)), max(value, percentile(ratios, _HIGH)))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of sorted values lies, between its neighbours in proportion."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
