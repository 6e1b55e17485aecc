"""Charts of scores: they show what was measured, say why there is no law, and never fail for want of it."""

from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from laion_assets.charts.scores import accuracy_under_shift, error_by_compute
from laion_assets.charts.standalone import standalone
from laion_assets.evaluation.robustness import effective_robustness
from laion_assets.evaluation.scaling import fit_scaling

SVG = "{http://www.w3.org/2000/svg}"
STRANGE = "_$x^{ <\\alpha"
POINT_SCHEMA = ["benchmark", "recipe", "seed", "arm", "compute", "error"]


def points(benchmarks=("imagenet1k",), arms=("en", STRANGE), number=5):
    rows = [
        (benchmark, f"r{c:.0f}", seed, arm, float(c), 0.9 * float(c) ** -(0.1 + 0.05 * k))
        for benchmark in benchmarks for k, arm in enumerate(arms) for c in np.geomspace(10, 1000, number)
        for seed in (0, 1)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=POINT_SCHEMA, orient="row")


def scaling(measured, resamples=20):
    return error_by_compute(measured.to_dicts(), fit_scaling(measured, resamples=resamples).to_dicts())


def robustness(models, benchmarks=("v2",)):
    rows = []
    for number in range(models):
        accuracy = number / max(models - 1, 1)
        rows.append((f"{STRANGE}{number}", 1, True, "in", None, accuracy, 100))
        rows += [(f"{STRANGE}{number}", 1, True, name, "in", accuracy * 0.8, 100) for name in benchmarks]
    schema = ["recipe", "epoch", "baseline", "benchmark", "in_distribution_benchmark", "accuracy", "samples"]
    return effective_robustness(pl.DataFrame(rows, schema=schema, orient="row"), resamples=50)


def shift(frame):
    return accuracy_under_shift(frame.to_dicts(), sorted(frame["recipe"].unique()))


def opened(chart):
    """The chart as a picture of its own, parsed."""
    return ElementTree.fromstring(standalone(chart, "a title"))


def classes(plot, tag):
    return [element.get("class") for element in ElementTree.fromstring(str(plot.svg)).iter(tag)]


def inside(plot):
    """How far along both sides each mark with a text lies, from the lower left."""
    marks = [c for c in ElementTree.fromstring(str(plot.svg)).iter("circle") if c.find("title") is not None]
    return [(float(mark.get("cx")), -float(mark.get("cy"))) for mark in marks]


@pytest.mark.parametrize(("number", "dotted"), [(5, False), (3, True)])
def test_laws_and_what_is_no_law_are_drawn(number, dotted):
    chart = scaling(points(number=number))
    (plot,) = chart.plots
    ending = " dotted" if dotted else ""
    assert classes(plot, "polyline") == [f"line c0{ending}", f"line c1{ending}"]
    assert len(inside(plot)) == 2 * 2 * number
    assert [tone for tone, _ in plot.notes] == ["c0", "c1"]
    assert all(("exponent" in said) != dotted and ("not fitted" in said) == dotted for _, said in plot.notes)
    assert sorted(name for _, name in chart.legend) == sorted(("en", STRANGE))
    opened(chart)


def test_each_benchmark_has_a_plot():
    names = ("imagenet1k", "flickr30k", "mscoco")
    assert [plot.caption for plot in scaling(points(names)).plots] == [f"Error on {name}." for name in sorted(names)]
    one, three = (opened(scaling(points(which))) for which in (names[:1], names))
    assert float(three.get("width")) > 1.5 * float(one.get("width"))
    assert len(list(three.iter(f"{SVG}circle"))) > 2 * len(list(one.iter(f"{SVG}circle")))
    assert len(shift(robustness(3, ("v2", "sketch"))).plots) == 2


def test_a_law_with_offset_and_points_without_any_fit_are_drawn():
    compute = np.geomspace(1, 1e4, 9)
    rows = [("b", f"r{c:.0f}", seed, "en", float(c), 0.5 * float(c) ** -0.4 + 0.3) for c in compute for seed in (0, 1)]
    frame = pl.DataFrame(rows, schema=POINT_SCHEMA, orient="row")
    laws = fit_scaling(frame, resamples=10)
    assert laws["intercept"][0] > 0
    (plot,) = error_by_compute(frame.to_dicts(), laws.to_dicts()).plots
    assert f"floor {laws['intercept'][0]:.3f}" in plot.notes[0][1]
    (without,) = error_by_compute(frame.to_dicts(), []).plots
    assert classes(without, "polyline") == ["line c0 dotted"]
    assert inside(without) == inside(plot)


@pytest.mark.parametrize("models", [1, 3, 10, 25])
def test_models_are_drawn_also_with_accuracies_of_0_and_1(models):
    frame = robustness(models)
    estimated = frame["effective_robustness"].null_count() == 0
    assert estimated == (models >= 10)
    chart = shift(frame)
    (plot,) = chart.plots
    root = ElementTree.fromstring(str(plot.svg))
    marks = [m for m in (*root.iter("circle"), *root.iter("path")) if m.find("title") is not None]
    assert len({mark.get("class") for mark in marks}) == models
    assert classes(plot, "circle").count("expected") == (models if estimated else 0)
    assert classes(plot, "polyline").count("distance") == (models if estimated else 0)
    assert classes(plot, "polyline").count("equal") == 1
    assert [said for _, said in chart.legend][models:] == ["expected from baseline"] * estimated + ["equal accuracy"]
    assert [said for _, said in plot.notes] == ([] if estimated else [f"Effective robustness is {frame['reason'][0]}."])
    opened(chart)


def test_a_better_model_stands_further_up_and_to_the_right():
    (plot,) = shift(robustness(6)).plots
    assert inside(plot) == sorted(inside(plot))
    assert [y for _, y in inside(plot)] == sorted(y for _, y in inside(plot))


def test_without_anything_measured_it_is_said():
    for chart in (error_by_compute([], []), accuracy_under_shift([], [])):
        assert "nothing was measured" in [text.text for text in opened(chart).iter(f"{SVG}text")]


def test_errors_of_0_are_left_out():
    mixed = pl.concat([points(), points().with_columns(error=pl.lit(0.0))])
    assert len(inside(scaling(mixed).plots[0])) == len(inside(scaling(points()).plots[0]))
    assert scaling(points().with_columns(error=pl.lit(0.0))).plots == []


def test_the_same_scores_give_the_same_picture():
    assert standalone(scaling(points()), "") == standalone(scaling(points()), "")
    assert standalone(shift(robustness(10)), "") == standalone(shift(robustness(10)), "")
