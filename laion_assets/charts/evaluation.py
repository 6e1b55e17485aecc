"""Figures of scores for people, as PNG: error against compute, and accuracy under shift."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from laion_assets.evaluation.scaling import predicted_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDEST: Final = 1_050
"""So many pixels fit into the window in which Dagster shows a picture, on a screen of 1,440."""
_LINE: Final = 0.14
"""Height of a line of small text, in inches."""
_FEW: Final = 4
"""So many panels stand in two columns and are large; more stand in three and are smaller."""
_PANEL: Final = (5.2, 3.9)
_SMALL_PANEL: Final = (3.9, 3.1)
"""Size of the part of a figure that shows one benchmark, in inches."""
_NAMED_RECIPES: Final = 12
"""Recipes that a legend names; more of them share the colours there are."""
_STEPS: Final = {1000: (1,), 20: (1, 3), 4: (1, 2, 5), 1: (1, 2, 3, 4, 5, 6, 7, 8, 9)}
"""Numbers within a power of ten that an axis bears, by how many times its end is its beginning."""
_LEAST_TICKS: Final = 3
_MARKERS: Final = "osD^vP*X"
_EXPECTED: Final = "expected from baseline"
_EQUAL: Final = "equal accuracy"
_GREY: Final = "0.45"
_SMALL: Final = 7.5
_NOTE_CHARACTERS: Final = 62
"""So many small characters are as wide as a small panel."""


def scaling_plot(points: pl.DataFrame, fits: pl.DataFrame) -> bytes:
    """Error against compute on logarithmic axes, a panel for each benchmark and a colour for each arm, as PNG.

    Fitted laws are lines from the least to the most compute measured. Where nothing was fitted, a dotted line joins
    the mean errors, and the reason stands below the panel. Errors of 0, which have no place on the axis, are left out.

    Args:
        points: As ``scaling.fit_scaling`` takes them.
        fits: What it gave for them.
    """
    arms = sorted(points["arm"].unique())
    colours = {arm: f"C{number % 10}" for number, arm in enumerate(arms)}
    figure, panels = _panels(sorted(points["benchmark"].unique()), lines=2 * len(arms))
    for benchmark, axes in panels:
        here = points.filter((pl.col("benchmark") == benchmark) & (pl.col("error") > 0))
        laws = {law["arm"]: law for law in fits.filter(pl.col("benchmark") == benchmark).iter_rows(named=True)}
        axes.set(xscale="log", yscale="log", xlabel="compute in GMACs", ylabel="error")
        reasons = []
        for arm in arms:
            shown = here.filter(pl.col("arm") == arm).sort("compute")
            if len(shown):
                reason = _draw_arm(axes, arm, shown, laws.get(arm), colours[arm])
                reasons += [reason] if reason else []
        _number_log_axis(axes, "y", here["error"].to_list())
        _number_log_axis(axes, "x", here["compute"].to_list())
        # Above the panel: inside, no corner is always free.
        legend = axes.legend(
            *axes.get_legend_handles_labels(),
            title=_plain(benchmark), title_fontsize=11, alignment="left", frameon=False, fontsize=_SMALL + 0.5,
            loc="lower left", bbox_to_anchor=(0, 1),
        )  # fmt: skip
        legend.get_title().set_fontweight("bold")
        _note(axes, reasons)
    return _png(figure)


def robustness_plot(frame: pl.DataFrame) -> bytes:
    """Accuracy on shifted benchmarks against in-distribution accuracy, on logit axes, as PNG.

    A panel for each shifted benchmark, a colour for each recipe, bars for both intervals. The dotted line is equal
    accuracy on both. Where effective robustness was estimated, a hollow mark shows what the baseline lets expect, and
    a line from it to the model is the effective robustness; where not, the reason stands below the panel.

    Args:
        frame: As ``robustness.effective_robustness`` gives it.
    """
    recipes = sorted(frame["recipe"].unique())
    colours = {recipe: f"C{number % 10}" for number, recipe in enumerate(recipes)}
    markers = {recipe: _MARKERS[number // 10 % len(_MARKERS)] for number, recipe in enumerate(recipes)}
    figure, panels = _panels(sorted(frame["benchmark"].unique()))
    for benchmark, axes in panels:
        here = frame.filter(pl.col("benchmark") == benchmark)
        for recipe in recipes:
            rows = here.filter(pl.col("recipe") == recipe)
            if len(rows):
                _draw_recipe(axes, recipe, rows, colours[recipe], markers[recipe])
        _draw_expected(axes, here)
        _frame_logit_axes(axes, here)
        names = sorted(here["in_distribution_benchmark"].unique())
        axes.set_title(_plain(benchmark), loc="left", fontsize=11, fontweight="bold")
        axes.set_xlabel(_plain(f"accuracy on {', '.join(names)}, %"))
        axes.set_ylabel("accuracy, %")
        _note(axes, here.filter(pl.col("reason").is_not_null())["reason"].unique().sort())
    _name_once(figure, panels, set(recipes) if len(recipes) <= _NAMED_RECIPES else set())
    return _png(figure)


def _panels(names: Sequence[str], *, lines: int = 0) -> tuple["Figure", list[tuple[str, "Axes"]]]:
    """A figure with axes for each name and room for lines of small text; without a name it says so."""
    from matplotlib.figure import Figure

    columns = max(1, min(len(names), 2 if len(names) <= _FEW else 3))
    rows = max(1, -(-len(names) // columns))
    width, height = _PANEL if len(names) <= _FEW else _SMALL_PANEL
    figure = Figure(figsize=(width * columns, (height + _LINE * lines) * rows), layout="constrained")
    grid: Any = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    if not names:
        grid[0].text(0.5, 0.5, "nothing was measured", ha="center", va="center", color=_GREY)
    for axes in grid[: len(names)]:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(zip(names, grid, strict=False))


def _draw_arm(axes: "Axes", arm: str, shown: pl.DataFrame, law: dict[str, Any] | None, colour: str) -> str | None:
    """Points and line of one arm; gives the reason where there is no law."""
    fitted = law is not None and law["error_model"] is not None
    if law is not None and fitted:
        compute = np.geomspace(law["compute_min"], law["compute_max"], 100)
        error = predicted_error(
            compute, coefficient=law["coefficient"], exponent=law["exponent"], intercept=law["intercept"]
        )
        floor = "" if law["intercept"] is None else f", floor {law['intercept']:.3f}"
        label = f"{arm}: b = {law['exponent']:.3f} [{law['ci_low']:.3f}, {law['ci_high']:.3f}]{floor}"
        axes.plot(compute, error, color=colour, linewidth=1.4, label=_plain(label))
    else:
        means = shown.group_by("compute").agg(pl.col("error").log().mean().exp()).sort("compute")
        axes.plot(means["compute"], means["error"], ":", color=colour, linewidth=1.1)
    axes.plot(
        shown["compute"], shown["error"], "o", color=colour, markersize=4.5, alpha=0.65, markeredgewidth=0,
        label=None if fitted else _plain(arm),
    )  # fmt: skip
    return None if law is None or fitted else f"{arm}: {law['reason']}"


def _draw_recipe(axes: "Axes", recipe: str, rows: pl.DataFrame, colour: str, marker: str) -> None:
    x, y = _inside(rows["in_distribution_accuracy"]), _inside(rows["shifted_accuracy"])
    across = [x - _inside(rows["in_distribution_low"]), _inside(rows["in_distribution_high"]) - x]
    along = [y - _inside(rows["shifted_low"]), _inside(rows["shifted_high"]) - y]
    axes.errorbar(
        x, y, xerr=np.clip(across, 0, None), yerr=np.clip(along, 0, None), fmt=marker, color=colour, markersize=5,
        elinewidth=0.9, label=_plain(recipe),
    )  # fmt: skip


def _draw_expected(axes: "Axes", here: pl.DataFrame) -> None:
    """What the baseline lets expect of each model, and its distance from there."""
    known = here.filter(pl.col("effective_robustness").is_not_null()).sort("in_distribution_accuracy")
    if not len(known):
        return
    x, y = _inside(known["in_distribution_accuracy"]), _inside(known["shifted_accuracy"])
    expected = _inside(known["shifted_accuracy"] - known["effective_robustness"])
    axes.vlines(x, expected, y, color=_GREY, linewidth=2.2, alpha=0.5)
    axes.plot(x, expected, "o", markerfacecolor="white", markeredgecolor=_GREY, markersize=4, label=_EXPECTED)


def _frame_logit_axes(axes: "Axes", here: pl.DataFrame) -> None:
    """Equal logit axes around all that is drawn, numbered in percent, with the line of equal accuracy."""
    names = ("in_distribution_low", "in_distribution_high", "shifted_low", "shifted_high")
    ends = _inside(pl.concat([here[name].rename("end") for name in names]))
    logits = np.log(ends / (1 - ends))
    room = 0.08 * max(float(np.ptp(logits)), 1.0)
    low, high = (float(1 / (1 + np.exp(-end))) for end in (logits.min() - room, logits.max() + room))
    all_ticks = np.array(
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.99, 0.997, 0.999)
    )
    ticks = all_ticks[(all_ticks >= low) & (all_ticks <= high)].tolist()
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set(xscale="logit", yscale="logit")
    axes.plot([low, high], [low, high], ":", color=_GREY, linewidth=1, zorder=0, label=_EQUAL)
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        axis.set_ticks(ticks, labels)
        axis.set_ticks([], minor=True)
        limit(low, high)


def _name_once(figure: "Figure", panels: Sequence[tuple[str, "Axes"]], recipes: set[str]) -> None:
    """One legend for all panels, of these recipes and of what is no recipe."""
    named = {_plain(recipe) for recipe in recipes}
    shown: dict[str, Any] = {}
    for _, axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        shown.update(zip(labels, handles, strict=True))
    labels = [*sorted(named & set(shown)), *(label for label in (_EXPECTED, _EQUAL) if label in shown)]
    if labels:
        figure.legend(
            [shown[label] for label in labels], labels, loc="outside upper left", ncols=4, frameon=False,
            fontsize=_SMALL + 0.5,
        )  # fmt: skip


def _number_log_axis(axes: "Axes", side: Literal["x", "y"], values: Sequence[float]) -> None:
    """Numbers such as 0.2 and 300 around these values, on an axis that seldom spans a power of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if not values:
        return
    ratio, least = max(values) / min(values), 4 if side == "x" else 1.02
    room = max(ratio, least) ** 0.08 * max(least / ratio, 1) ** 0.5
    low, high = min(values) / room, max(values) * room
    steps = next(steps for least, steps in _STEPS.items() if high / low >= least)
    ticks = [step * 10.0**power for power in range(-6, 16) for step in steps]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) < _LEAST_TICKS:
        inside = [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    axis = axes.xaxis if side == "x" else axes.yaxis
    (axes.set_xlim if side == "x" else axes.set_ylim)(low, high)
    axis.set_major_locator(FixedLocator(inside))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if 1000 <= value < 1e6 else f"{value:.4g}"))
    axis.set_minor_locator(NullLocator())


def _inside(values: pl.Series) -> NDArray[np.float64]:
    """Accuracies with those of 0 and 1 moved to where logit axes have a place for them."""
    inside: NDArray[np.float64] = np.clip(values.cast(pl.Float64).to_numpy(), 0.001, 0.999)
    return inside


def _note(axes: "Axes", lines: Iterable[str]) -> None:
    """Small text below the axis's label."""
    text = "\n".join(_plain(part) for line in lines for part in textwrap.wrap(line, _NOTE_CHARACTERS))
    if text:
        axes.annotate(
            text, (0, 0), (0, -34), xycoords="axes fraction", textcoords="offset points", va="top", fontsize=_SMALL,
            color=_GREY,
        )  # fmt: skip


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula, and no label that it keeps out of legends."""
    return text.replace("$", r"\$").lstrip("_") or " "


def _png(figure: "Figure") -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=min(110, _WIDEST / figure.get_figwidth()))
    return out.getvalue()
