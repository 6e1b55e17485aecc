"""Robustness: intervals that cover, a line through the other models, and no number where none is deserved."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.evaluation.robustness import (
    ROBUSTNESS_SCHEMA,
    ScoresMismatch,
    effective_robustness,
    wilson_interval,
)

SAMPLES = 10_000


def expit(x):
    return 1 / (1 + np.exp(-x))


def made(models=10, low=-1.5, high=1.0, shift=-0.5, beyond=None, samples=SAMPLES, noise=0.0):
    """Scores of models on a line in logits, 0.9 * x + shift, but for those that are so far beyond it."""
    rng = np.random.default_rng(7)
    rows = []
    for number, x in enumerate(np.linspace(low, high, models)):
        y = 0.9 * x + shift + (beyond or {}).get(number, 0) + noise * rng.standard_normal()
        rows.append((f"r{number:02d}", 4, True, "in", None, expit(x), samples))
        rows.append((f"r{number:02d}", 4, True, "shifted", "in", expit(y), samples))
    schema = {
        "recipe": pl.String, "epoch": pl.Int64, "baseline": pl.Boolean, "benchmark": pl.String,
        "in_distribution_benchmark": pl.String, "accuracy": pl.Float64, "samples": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_wilson_intervals_are_those_of_the_literature(hits, trials, low, high):
    assert wilson_interval(hits / trials, trials) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(st.floats(0, 1), st.integers(1, 10**7), st.floats(0.5, 0.999))
def test_an_interval_lies_within_0_and_1_and_around_the_accuracy(accuracy, samples, confidence):
    low, high = wilson_interval(accuracy, samples, confidence=confidence)
    assert 0 <= low <= accuracy <= high <= 1


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    for p in (0.02, 0.3, 0.9):
        low, high = wilson_interval(rng.binomial(400, p, 4000) / 400, 400)
        assert ((low <= p) & (p <= high)).mean() == pytest.approx(0.95, abs=0.025)


def test_models_on_the_line_have_none_and_one_beyond_it_has_what_it_was_given():
    found = effective_robustness(made(beyond={4: 0.6}))
    assert found.schema == pl.Schema(ROBUSTNESS_SCHEMA)
    x = np.linspace(-1.5, 1.0, 10)[4]
    given_to_it = expit(0.9 * x + 0.1) - expit(0.9 * x - 0.5)
    beyond = found.row(4, named=True)
    assert beyond["effective_robustness"] == pytest.approx(given_to_it, abs=0.002)
    assert beyond["ci_low"] > 0.05
    assert (beyond["baseline_models"], beyond["reason"]) == (9, None)
    assert beyond["ci_low"] < beyond["effective_robustness"] < beyond["ci_high"]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    found = effective_robustness(made(models=40, samples=400, noise=0.1), resamples=500)
    rng = np.random.default_rng(1)
    drawn = made(models=60, noise=0.0).with_columns(
        accuracy=pl.col("accuracy").map_elements(lambda p: rng.binomial(500, p) / 500, return_dtype=pl.Float64),
        samples=pl.lit(500, pl.Int64),
    )
    covered = effective_robustness(drawn, resamples=500).select((pl.col("ci_low") <= 0) & (pl.col("ci_high") >= 0))
    assert covered.to_series().mean() >= 0.88
    assert (found["ci_low"] < found["ci_high"]).all()


def test_a_model_that_is_no_baseline_does_not_move_the_line_of_others():
    scores = made(beyond={9: 3.0})
    without = effective_robustness(scores.filter(pl.col("recipe") != "r09"))
    outside = scores.with_columns(baseline=pl.col("baseline") & (pl.col("recipe") != "r09"))
    with_it = effective_robustness(outside).filter(pl.col("recipe") != "r09")
    assert with_it.equals(without)


def test_the_same_again_and_in_any_order():
    scores = made(noise=0.1)
    first = effective_robustness(scores, seed=3)
    assert effective_robustness(scores.sample(fraction=1, shuffle=True, seed=1), seed=3).equals(first)
    assert not effective_robustness(scores, seed=4).equals(first)
    assert first["recipe"].is_sorted()


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (made(models=4), "not estimable: 3 baseline models, 8 are needed"),
        (made(models=2), "not estimable: 1 baseline model, 8 are needed"),
        (made(models=1), "not estimable: 0 baseline models, 8 are needed"),
        (made(low=0, high=0.4), "not estimable: baseline models span 0.099 of accuracy, 0.15 is needed"),
    ],
)
def test_what_cannot_be_estimated_says_why_and_keeps_its_accuracies(scores, reason):
    found = effective_robustness(scores).row(1 if scores.height > 2 else 0, named=True)
    if "span" not in reason:
        assert found["reason"] == reason
    else:
        assert found["reason"].startswith("not estimable: baseline models span 0.09")
    assert [found[name] for name in ("effective_robustness", "ci_low", "ci_high")] == [None] * 3
    assert found["in_distribution_low"] < found["in_distribution_accuracy"] < found["in_distribution_high"]
    assert found["shifted_low"] < found["shifted_accuracy"] < found["shifted_high"]


def test_eight_others_over_fifteen_points_are_enough():
    scores = made(models=9).with_columns(
        accuracy=pl.when(pl.col("benchmark") == "in")
        .then(0.2 + 0.15 / 7 * (pl.col("recipe").str.slice(1).cast(pl.Int64) - 1).clip(0))
        .otherwise("accuracy")
    )
    first = effective_robustness(scores).row(0, named=True)
    assert (first["baseline_models"], first["reason"]) == (8, None)
    assert first["baseline_span"] == pytest.approx(0.15)


def test_accuracies_of_0_and_1_have_a_place():
    scores = made(samples=50).with_columns(
        accuracy=pl.when(pl.col("recipe") == "r00").then(0.0).when(pl.col("recipe") == "r09").then(1.0)
        .otherwise("accuracy")
    )  # fmt: skip
    found = effective_robustness(scores)
    assert found.select(pl.col("effective_robustness", "ci_low", "ci_high").is_finite().all()).row(0) == (True,) * 3


def test_a_score_without_one_in_distribution_has_no_row():
    scores = made().filter((pl.col("recipe") != "r03") | (pl.col("benchmark") != "in"))
    found = effective_robustness(scores)
    assert "r03" not in found["recipe"]
    assert found["baseline_models"].unique().to_list() == [8]
    assert effective_robustness(scores.clear()).schema == pl.Schema(ROBUSTNESS_SCHEMA)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (made().drop("samples"), "lack samples"),
        (made().with_columns(accuracy=pl.col("accuracy") * 100), "an accuracy of 0 to 1"),
        (made().with_columns(accuracy=pl.lit(None, pl.Float64)), "an accuracy of 0 to 1"),
        (made().with_columns(samples=pl.lit(0)), "at least 1 sample"),
        (pl.concat([made(), made()]), "has one score on a benchmark.*keep one"),
    ],
)
def test_scores_that_cannot_be_are_refused(scores, message):
    with pytest.raises(ScoresMismatch, match=message):
        effective_robustness(scores)
    with pytest.raises(ScoresMismatch, match="not in percent"):
        wilson_interval(57.0, 100)
