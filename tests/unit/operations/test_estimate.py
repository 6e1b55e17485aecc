"""Numbers with a range."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.operations.estimate import Estimate, percentile, ratio, total

numbers = st.floats(1e-6, 1e9)
factors = st.floats(1, 100)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    value = draw(numbers)
    return Estimate(value, value / draw(factors), value * draw(factors))


def close(found: Estimate, value: float, low: float, high: float) -> None:
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), rel=1e-6)


def test_a_sum_adds_the_ends() -> None:
    close(Estimate(2, 1, 4) + Estimate(10, 5, 30), 12, 6, 34)


def test_spreads_of_factors_add_up_in_squares() -> None:
    """Twice and half: the logarithms are ln 2 each, together sqrt(2) ln 2, so that the ends are a factor 2.665 away."""
    far = math.exp(math.sqrt(2) * math.log(2))
    close(Estimate(3, 1.5, 6) * Estimate(5, 2.5, 10), 15, 15 / far, 15 * far)


def test_what_is_known_only_scales() -> None:
    close(Estimate(3, 1, 9) * 2, 6, 2, 18)
    close(Estimate(3, 1, 9) * Estimate.exactly(2), 6, 2, 18)
    close(Estimate(3, 1, 9) / Estimate.exactly(2), 1.5, 0.5, 4.5)


def test_a_quotient_turns_the_divisor_s_ends() -> None:
    close(Estimate.exactly(12) / Estimate(3, 1, 4), 4, 3, 12)


def test_nothing_times_anything_is_nothing() -> None:
    assert Estimate.exactly(0) * Estimate(3, 1, 9) == Estimate(0, 0, 0)
    close(Estimate(3, 0, 9) * Estimate(2, 1, 2), 6, 0, 18)


@pytest.mark.parametrize("wrong", [(1, 2, 3), (3, 1, 2), (-1, -2, 0)])
def test_what_is_no_range_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="low <= value <= high"):
        Estimate(*wrong)


def test_a_ratio_is_of_sums_and_spreads_as_its_parts_do() -> None:
    """The ratios are 1, 2, … 11: the tenth percentile is the second of them, the ninetieth the tenth."""
    parts = [(float(n), 1.0) for n in range(1, 12)]
    close(ratio(parts) or Estimate.exactly(0), 6, 2, 10)
    heavy = [(1.0, 1.0)] * 10 + [(1_000.0, 100.0)]
    assert (ratio(heavy) or Estimate.exactly(0)).value == pytest.approx(1_010 / 110)


def test_few_parts_have_no_spread_and_none_say_nothing() -> None:
    close(ratio([(4, 2), (8, 4)]) or Estimate.exactly(0), 2, 2 / 1.5, 3)
    assert ratio([(4, 0), (0, 0)]) is None
    assert ratio([]) is None


def test_percentiles_lie_between_neighbours_in_proportion() -> None:
    assert percentile([1, 2, 4, 8], 0) == 1
    assert percentile([1, 2, 4, 8], 1) == 8
    assert percentile([1, 2, 4, 8], 0.5) == 3
    assert percentile([5], 0.9) == 5


@given(estimates(), estimates())
def test_a_product_is_the_same_either_way_and_at_least_as_wide(a: Estimate, b: Estimate) -> None:
    one, other = a * b, b * a
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert one.high / one.value >= max(a.high / a.value, b.high / b.value) * (1 - 1e-9)
    assert one.high / one.value <= a.high / a.value * (b.high / b.value) * (1 + 1e-9)


@given(st.lists(estimates(), max_size=6))
def test_a_total_holds_its_parts(parts: list[Estimate]) -> None:
    found = total(parts)
    assert found.value == pytest.approx(sum(p.value for p in parts))
    assert found.low == pytest.approx(sum(p.low for p in parts))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.001, 1e6)), min_size=1, max_size=30))
def test_a_ratio_lies_among_its_parts(parts: list[tuple[float, float]]) -> None:
    found = ratio(parts)
    assert found is not None
    ratios = [n / d for n, d in parts]
    assert min(ratios) * (1 - 1e-9) <= found.value <= max(ratios) * (1 + 1e-9)
