"""Figures: pictures that open, show what was measured, and never fail for want of it."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from laion_assets.charts.evaluation import robustness_plot, scaling_plot
from laion_assets.evaluation.robustness import ROBUSTNESS_SCHEMA, effective_robustness
from laion_assets.evaluation.scaling import FIT_SCHEMA, fit_scaling

STRANGE = "_$x^{ <\\alpha"
POINT_SCHEMA = ["benchmark", "recipe", "seed", "arm", "compute", "error"]


def points(benchmarks=("imagenet1k",), arms=("en", STRANGE), number=5):
    rows = [
        (benchmark, f"r{c:.0f}", seed, arm, float(c), 0.9 * float(c) ** -(0.1 + 0.05 * k))
        for benchmark in benchmarks for k, arm in enumerate(arms) for c in np.geomspace(10, 1000, number)
        for seed in (0, 1)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=POINT_SCHEMA, orient="row")


def robustness(models, benchmarks=("v2",)):
    rows = []
    for number in range(models):
        accuracy = number / max(models - 1, 1)
        rows.append((f"{STRANGE}{number}", 1, True, "in", None, accuracy, 100))
        rows += [(f"{STRANGE}{number}", 1, True, name, "in", accuracy * 0.8, 100) for name in benchmarks]
    schema = ["recipe", "epoch", "baseline", "benchmark", "in_distribution_benchmark", "accuracy", "samples"]
    return effective_robustness(pl.DataFrame(rows, schema=schema, orient="row"), resamples=50)


def opened(png):
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    picture.load()
    return picture.convert("RGB")


def colours(picture):
    """How many pixels have a colour, no grey."""
    pixels = np.asarray(picture).astype(int)
    return int((np.ptp(pixels, axis=2) > 60).sum())


@pytest.mark.parametrize("number", [5, 3, 1])
def test_laws_and_what_is_no_law_are_drawn(number):
    measured = points(number=number)
    assert colours(opened(scaling_plot(measured, fit_scaling(measured, resamples=20)))) > 60


def test_each_benchmark_has_a_panel():
    names = ("imagenet1k", "flickr30k", "mscoco")
    one, three = points(), points(names)
    small, large = (opened(scaling_plot(p, fit_scaling(p, resamples=20))) for p in (one, three))
    assert large.width > 1.5 * small.width
    assert large.height > 1.5 * small.height
    assert colours(large) > 2 * colours(small)
    assert opened(robustness_plot(robustness(3, ("v2", "sketch")))).width > opened(robustness_plot(robustness(3))).width


def test_a_law_with_offset_and_points_without_any_fit_are_drawn():
    compute = np.geomspace(1, 1e4, 9)
    rows = [("b", f"r{c:.0f}", seed, "en", float(c), 0.5 * float(c) ** -0.4 + 0.3) for c in compute for seed in (0, 1)]
    frame = pl.DataFrame(rows, schema=POINT_SCHEMA, orient="row")
    laws = fit_scaling(frame, resamples=10)
    assert laws["intercept"][0] > 0
    opened(scaling_plot(frame, laws))
    opened(scaling_plot(frame, laws.clear()))


@pytest.mark.parametrize("models", [1, 3, 10, 25])
def test_models_are_drawn_also_with_accuracies_of_0_and_1(models):
    frame = robustness(models)
    assert (frame["effective_robustness"].null_count() == 0) == (models >= 10)
    assert colours(opened(robustness_plot(frame))) > 30 * models


def test_without_anything_measured_it_is_said():
    empty = pl.DataFrame(schema={**dict.fromkeys(POINT_SCHEMA, pl.String), "compute": pl.Float64, "error": pl.Float64})
    opened(scaling_plot(empty, pl.DataFrame(schema=FIT_SCHEMA)))
    opened(robustness_plot(pl.DataFrame(schema=ROBUSTNESS_SCHEMA)))


def test_errors_of_0_are_left_out():
    perfect = points().with_columns(error=pl.lit(0.0))
    opened(scaling_plot(perfect, fit_scaling(perfect)))


def test_the_same_scores_give_the_same_picture():
    measured = points()
    laws = fit_scaling(measured, resamples=20)
    assert scaling_plot(measured, laws) == scaling_plot(measured, laws)
    assert robustness_plot(robustness(10)) == robustness_plot(robustness(10))
