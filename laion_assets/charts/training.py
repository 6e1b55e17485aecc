"""Charts of learning: what was measured of each epoch."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from laion_assets.charts.axes import axis, rounded
from laion_assets.charts.drawing import Chart, Plot, tones
from laion_assets.charts.series import Mark, Series, marks_and_lines
from laion_assets.common.quantities import figure

_MEASURES = {
    "loss": ("Loss", "Mean contrastive loss of each epoch, by samples seen."),
    "learning_rate": ("Learning rate", "Learning rate at the end of each epoch, by samples seen."),
    "samples_per_second": ("Samples a second", "Throughput: samples a second, by samples seen."),
}


def training_curves(epochs: Sequence[Mapping[str, Any]], recipes: Sequence[str]) -> Chart:
    """Loss by samples seen; learning rate and throughput too, where the epochs tell of them.

    Args:
        epochs: in their order, in the columns ``recipe``, ``samples_seen`` and ``loss`` of ``clip_checkpoints``, and
            perhaps ``learning_rate`` and ``samples_per_second``.
        recipes: which are drawn; their places say which colour each has.
    """
    colours = tones(recipes)
    shown = sorted((row for row in epochs if row["recipe"] in colours), key=lambda row: str(row["recipe"]))
    plots = [_curves(measure, shown, colours) for measure in _MEASURES if all(measure in row for row in shown)]
    return Chart(plots=plots, legend=tuple((tone, recipe) for recipe, tone in colours.items()))


def _curves(measure: str, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> Plot:
    title, caption = _MEASURES[measure]
    series = []
    for recipe, of in groupby(rows, key=lambda row: str(row["recipe"])):
        points = [(row["samples_seen"], row[measure]) for row in of]
        marks = [
            Mark(x=seen, y=value, said=f"{recipe}, {figure(seen)} samples: {title.lower()} {_said(measure, value)}")
            for seen, value in points
        ]
        series.append(Series(tone=colours[recipe], line=points, marks=marks))
    # A loss is far from 0, and what is seen of it is how it falls; of the others, how much there is.
    floor = () if measure == "loss" else (0.0,)
    return marks_and_lines(
        f"{title} by samples seen",
        ", ".join(dict.fromkeys(row["recipe"] for row in rows)),
        series,
        x=axis((row["samples_seen"] for row in rows), "samples seen", "log", least=0.6),
        y=axis((*floor, *(row[measure] for row in rows)), title.lower()),
        caption=caption,
    )


def _said(measure: str, value: float) -> str:
    return figure(value) if measure == "loss" else rounded(value)
