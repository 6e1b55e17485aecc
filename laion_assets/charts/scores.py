"""Charts of scores: error against compute, and accuracy under shift."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from laion_assets.charts.axes import axis, rounded
from laion_assets.charts.drawing import Chart, Plot, shortened, tones
from laion_assets.charts.series import Mark, Series, marks_and_lines
from laion_assets.common.quantities import figure
from laion_assets.evaluation.scaling import predicted_error

Row: TypeAlias = Mapping[str, Any]

_MOST_PLOTS = 12
_CURVE_POINTS = 40


def error_by_compute(points: Sequence[Row], laws: Sequence[Row]) -> Chart:
    """Error against compute on logarithmic scales, a plot for each benchmark and a colour for each arm.

    A fitted law is a line from the least to the most compute measured. Where none was fitted, a dotted line joins the
    geometric means of the errors, and the plot's notes say why. Errors of 0 have no place on the scale.

    Args:
        points: in the columns ``benchmark``, ``arm``, ``recipe``, ``compute`` in GMACs, and ``error``.
        laws: of ``scaling_laws``.
    """
    shown = sorted(
        (row for row in points if row["error"] > 0 and row["compute"] > 0),
        key=lambda row: (row["benchmark"], row["arm"], row["compute"], row["recipe"]),
    )
    colours = tones(sorted({row["arm"] for row in shown}))
    known = {(law["benchmark"], law["arm"]): law for law in laws}
    plots = [
        _error_plot(benchmark, list(of), known, colours)
        for benchmark, of in groupby(shown, key=lambda row: str(row["benchmark"]))
    ]
    return Chart(plots=plots[:_MOST_PLOTS], legend=tuple((tone, arm) for arm, tone in colours.items()))


def _error_plot(
    benchmark: str, rows: Sequence[Row], laws: Mapping[tuple[str, str], Row], colours: Mapping[str, str]
) -> Plot:
    series, notes = [], []
    for arm, of in groupby(rows, key=lambda row: str(row["arm"])):
        mine, law = list(of), laws.get((benchmark, arm))
        fitted = law is not None and law["error_model"] is not None
        marks = [
            Mark(
                x=row["compute"],
                y=row["error"],
                said=f"{row['recipe']}: error {figure(row['error'])} at {rounded(row['compute'])} GMACs",
            )
            for row in mine
        ]
        line = _curve(law) if law is not None and fitted else _means(mine)
        series.append(Series(tone=colours[arm], marks=marks, line=line, dotted=not fitted))
        if law is not None:
            notes.append((colours[arm], f"{arm}: {_law(law) if fitted else law['reason']}"))
    drawn = [y for one in series for _, y in one.line] + [row["error"] for row in rows]
    error = axis(drawn, "error", "log")
    return marks_and_lines(
        f"Error on {benchmark} against compute",
        ", ".join(sorted({row["recipe"] for row in rows})),
        series,
        x=axis((row["compute"] for row in rows), "compute in GMACs", "log", least=0.6),
        y=replace(error, high=min(error.high, 0.001)),  # no error is above 1, and no number of the axis
        caption=f"Error on {benchmark}.",
        notes=notes,
    )


def _law(law: Row) -> str:
    floor = "" if law["intercept"] is None else f", floor {law['intercept']:.3f}"
    return f"exponent {law['exponent']:.3f} [{law['ci_low']:.3f}, {law['ci_high']:.3f}]{floor}"


def _curve(law: Row) -> list[tuple[float, float]]:
    compute = np.geomspace(law["compute_min"], law["compute_max"], _CURVE_POINTS)
    error = predicted_error(
        compute, coefficient=law["coefficient"], exponent=law["exponent"], intercept=law["intercept"]
    )
    return list(zip(compute.tolist(), error.tolist(), strict=True))


def _means(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Geometric means of the errors of each amount of compute."""
    by_compute = [(x, [row["error"] for row in of]) for x, of in groupby(rows, key=lambda row: row["compute"])]
    return [(x, float(np.exp(np.log(errors).mean()))) for x, errors in by_compute]


def accuracy_under_shift(rows: Sequence[Row], recipes: Sequence[str]) -> Chart:
    """Accuracy on shifted benchmarks against accuracy in distribution, on logit scales, with intervals.

    A plot for each two benchmarks, a colour for each recipe. The dashed line is equal accuracy on both. Where effective
    robustness was estimated, a hollow mark is what the baseline lets expect, and the line from it to the recipe's mark
    is the effective robustness; where not, the plot's notes say why.

    Args:
        rows: of ``robustness``.
        recipes: which are drawn; their places say which colour each has.
    """
    colours = tones(recipes)
    shown = sorted(
        (row for row in rows if row["recipe"] in colours),
        key=lambda row: (row["benchmark"], row["in_distribution_benchmark"], row["recipe"]),
    )
    plots = [
        _shift_plot(benchmark, own, list(of), colours)
        for (benchmark, own), of in groupby(
            shown, key=lambda row: (str(row["benchmark"]), str(row["in_distribution_benchmark"]))
        )
    ]
    drawn = {row["recipe"] for row in shown}
    legend = [(tone, recipe) for recipe, tone in colours.items() if recipe in drawn]
    if any(row["effective_robustness"] is not None for row in shown):
        legend.append(("expected", "expected from baseline"))
    return Chart(plots=plots[:_MOST_PLOTS], legend=[*legend, ("equal", "equal accuracy")])


def _shift_plot(benchmark: str, own: str, rows: Sequence[Row], colours: Mapping[str, str]) -> Plot:
    series = [Series(tone=colours[row["recipe"]], marks=[_shift_mark(benchmark, own, row)]) for row in rows]
    marks = [mark for one in series for mark in one.marks]
    ends = [end for mark in marks for end in (*(mark.across or ()), *(mark.along or ()))]
    ends += [mark.expected for mark in marks if mark.expected is not None]
    reasons = sorted({row["reason"] for row in rows if row["reason"]})
    return marks_and_lines(
        f"Accuracy on {benchmark} against accuracy on {own}",
        ", ".join(row["recipe"] for row in rows),
        series,
        x=axis(ends, f"accuracy on {shortened(own)}", "logit"),
        y=axis(ends, f"accuracy on {shortened(benchmark)}", "logit"),
        equal=True,
        caption=f"{benchmark}, shifted from {own}.",
        notes=[("", f"Effective robustness is {reason}.") for reason in reasons],
    )


def _shift_mark(benchmark: str, own: str, row: Row) -> Mark:
    known = row["effective_robustness"]
    return Mark(
        x=row["in_distribution_accuracy"],
        y=row["shifted_accuracy"],
        across=(row["in_distribution_low"], row["in_distribution_high"]),
        along=(row["shifted_low"], row["shifted_high"]),
        expected=None if known is None else row["shifted_accuracy"] - known,
        said=f"{row['recipe']}: {percents(row['in_distribution_accuracy'])} on {own}, "
        f"{percents(row['shifted_accuracy'])} on {benchmark}",
    )


def percents(value: float) -> str:
    """A share as percent, to a hundredth below one in ten: models near chance differ there."""
    return f"{value:.2%}" if 0 < value < 0.1 else f"{value:.1%}"
