"""Scaling laws: synthetic ones are recovered, and nothing is fitted where too little was measured."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.evaluation.scaling import (
    FIT_SCHEMA,
    POWER_LAW,
    POWER_LAW_WITH_OFFSET,
    PointsMismatch,
    fit_scaling,
    predicted_error,
)


def made(compute, *, a=0.9, b=0.1, floor=0.0, seeds=2, noise=0.0, arm="en", benchmark="imagenet1k", draw=11):
    rng = np.random.default_rng(draw)
    rows = [
        (benchmark, f"r{number}", seed, arm, float(c), (a * c**-b + floor) * np.exp(noise * rng.standard_normal()))
        for number, c in enumerate(compute)
        for seed in range(seeds)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=["benchmark", "recipe", "seed", "arm", "compute", "error"], orient="row")


def only(frame):
    assert frame.schema == pl.Schema(FIT_SCHEMA)
    assert frame.height == 1
    return frame.row(0, named=True)


@settings(max_examples=30, deadline=None)
@given(
    a=st.floats(0.2, 1), b=st.floats(0.01, 0.5), points=st.integers(5, 7), decades=st.floats(1.5, 5),
    unit=st.floats(0, 12),
)  # fmt: skip
def test_the_exponent_of_a_power_law_is_recovered_in_any_unit(a, b, points, decades, unit):
    compute = np.geomspace(1, 10**decades, points)
    scaled = made(compute, a=a, b=b).with_columns(compute=pl.col("compute") * 10**unit)
    law = only(fit_scaling(scaled, resamples=20))
    assert law["error_model"] == POWER_LAW
    assert law["exponent"] == pytest.approx(b, rel=1e-6)
    assert law["coefficient"] == pytest.approx(a * 10 ** (unit * b), rel=1e-4)
    assert law["intercept"] is None
    assert law["r_squared"] == pytest.approx(1)
    assert (law["ci_low"], law["ci_high"]) == (pytest.approx(b, rel=1e-6), pytest.approx(b, rel=1e-6))


@settings(max_examples=15, deadline=None)
@given(b=st.floats(0.2, 0.5), floor=st.floats(0.1, 0.4), points=st.integers(8, 12), unit=st.sampled_from((0, 6, 12)))
def test_exponent_and_floor_of_a_law_with_offset_are_recovered(b, floor, points, unit):
    scores = made(np.geomspace(1, 1e4, points), a=0.55, b=b, floor=floor)
    law = only(fit_scaling(scores.with_columns(compute=pl.col("compute") * 10.0**unit), resamples=5))
    assert law["error_model"] == POWER_LAW_WITH_OFFSET
    assert law["exponent"] == pytest.approx(b, rel=0.01)
    assert law["intercept"] == pytest.approx(floor, rel=0.01)


def test_an_offset_is_fitted_from_eight_points_on_only():
    few, enough = (only(fit_scaling(made(np.geomspace(1, 1e3, n), a=0.5, b=0.4, floor=0.3))) for n in (7, 8))
    assert (few["error_model"], few["intercept"], few["points"]) == (POWER_LAW, None, 7)
    assert (enough["error_model"], enough["points"]) == (POWER_LAW_WITH_OFFSET, 8)


def test_noisy_power_laws_seldom_have_a_floor_and_intervals_hold_the_exponent():
    frames = [made(np.geomspace(1, 1e4, 9), b=0.15, noise=0.03, draw=draw, benchmark=f"b{draw}") for draw in range(60)]
    laws = fit_scaling(pl.concat(frames), resamples=200)
    plain = laws.filter(pl.col("error_model") == POWER_LAW)
    assert plain.height >= 0.8 * laws.height
    assert plain.select(pl.lit(0.15).is_between("ci_low", "ci_high")).to_series().mean() >= 0.8
    assert (laws["ci_high"] > laws["ci_low"]).all()
    assert plain["r_squared"].is_between(0.97, 0.9999).all()


GOOD = made(np.geomspace(10, 1000, 5))


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (made(np.geomspace(1, 1000, 4), seeds=9), "not fitted: 4 compute points, 5 are needed"),
        (made([1.0]), "not fitted: 1 compute point, 5 are needed"),
        (made(np.geomspace(1, 30, 6)), "not fitted: compute spans 1.48 decades, 1.5 are needed"),
        (made(np.geomspace(1, 1000, 6), seeds=1), "not fitted: 1 seed, 2 are needed"),
        (
            GOOD.with_columns(error=pl.when(pl.col("compute") > 900).then(0.0).otherwise("error")),
            "not fitted: an error of 0 has no logarithm",
        ),
    ],
)
def test_where_a_condition_is_not_met_nothing_is_fitted_and_it_is_said(points, reason):
    law = only(fit_scaling(points))
    assert law["reason"] == reason
    fitted = ("error_model", "coefficient", "exponent", "intercept", "ci_low", "ci_high", "r_squared")
    assert [law[name] for name in fitted] == [None] * 7
    assert law["points"] == points["compute"].n_unique()


def test_the_least_that_is_fitted():
    law = only(fit_scaling(made(np.geomspace(1, 10**1.5, 5))))
    assert (law["reason"], law["points"], law["recipes"], law["seeds"]) == (None, 5, 5, 2)
    assert (law["compute_min"], law["compute_max"]) == (1, pytest.approx(10**1.5))


def test_every_benchmark_and_arm_has_its_own_law_whatever_stands_beside_it():
    other = made(np.geomspace(1, 1e4, 9), arm="multi", benchmark="flickr30k", a=0.5, b=0.4, floor=0.3, noise=0.01)
    both = fit_scaling(pl.concat([GOOD, other]).sample(fraction=1, shuffle=True, seed=2), resamples=50)
    assert both.select("benchmark", "arm").rows() == [("flickr30k", "multi"), ("imagenet1k", "en")]
    assert both.equals(pl.concat([fit_scaling(other, resamples=50), fit_scaling(GOOD, resamples=50)]))
    assert fit_scaling(GOOD.clear()).schema == pl.Schema(FIT_SCHEMA)


def test_a_fitted_law_gives_its_errors():
    law = only(fit_scaling(GOOD))
    given_back = predicted_error(GOOD["compute"].to_numpy(), coefficient=law["coefficient"], exponent=law["exponent"])
    assert given_back == pytest.approx(GOOD["error"].to_numpy())


def test_errors_that_are_all_the_same_have_an_exponent_of_nothing():
    law = only(fit_scaling(made(np.geomspace(1, 1e4, 9), b=0.0)))
    assert law["exponent"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (GOOD.drop("seed"), "lack seed"),
        (GOOD.with_columns(error=pl.lit(1.5)), "an error of 0 to 1"),
        (GOOD.with_columns(error=pl.lit(float("nan"))), "an error of 0 to 1"),
        (GOOD.with_columns(compute=pl.lit(0.0)), "a compute above 0"),
        (GOOD.with_columns(compute=pl.lit(None, pl.Float64)), "no null, but 10 are not so"),
    ],
)
def test_points_that_cannot_be_are_refused(points, message):
    with pytest.raises(PointsMismatch, match=message):
        fit_scaling(points)
