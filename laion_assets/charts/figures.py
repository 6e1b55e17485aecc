"""Pictures for people: histograms as PNG, contact sheets as Markdown tables with thumbnails.

Texts of a contact sheet stay text, so that the reader's own fonts show any script.
"""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from laion_assets.images.thumbnail import thumbnail

_SHOWN_CHARACTERS = 120
_MARKDOWN_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#+-.!|~"})


@dataclass(frozen=True)
class Sample:
    """One picture with its text and a line about it."""

    image: bytes | None
    text: str
    note: str


def histogram(
    groups: Mapping[str, npt.NDArray[np.float32]], thresholds: Mapping[str, float], *, title: str, label: str
) -> bytes:
    """A histogram per group with its threshold, as PNG.

    Args:
        groups: values by name; empty ones are left out.
        thresholds: where to draw a line, by the same names; may lack some.
        title: heading of the figure.
        label: meaning and unit of the values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    shown = {name: values for name, values in groups.items() if len(values)}
    edges = np.histogram_bin_edges(np.concatenate([*shown.values(), [0.0, 1e-3]]), bins=60)
    for number, (name, values) in enumerate(shown.items()):
        color = f"C{number}"
        axes.hist(values, bins=edges.tolist(), histtype="stepfilled", alpha=0.35, color=color)
        kept = f", kept from {thresholds[name]:.2f}" if name in thresholds else ""
        axes.hist(values, bins=edges.tolist(), histtype="step", color=color, label=f"{name} ({len(values):,}{kept})")
        if kept:
            axes.axvline(thresholds[name], color=color, linestyle="--", linewidth=1)
    axes.set(title=title, xlabel=label, ylabel="pairs")
    if shown:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def contact_sheet(samples: Sequence[Sample], *, columns: int = 4) -> str:
    """A Markdown table of thumbnails, the text and note of each below it."""
    if not samples:
        return "none"
    rows = []
    for first in range(0, len(samples), columns):
        row = samples[first : first + columns]
        words = [f"{plain_markdown(sample.text)} *{plain_markdown(sample.note)}*" for sample in row]
        rows += [_row(map(_picture, row), columns), _row(words, columns)]
    return "\n".join([_row([], columns), "|" + "---|" * columns, *rows])


def _row(cells: Iterable[str], columns: int) -> str:
    filled = list(cells)
    return "| " + " | ".join(filled + [""] * (columns - len(filled))) + " |"


def _picture(sample: Sample) -> str:
    small = thumbnail(sample.image) if sample.image else None
    return f"![picture](data:image/jpeg;base64,{base64.b64encode(small).decode()})" if small else "no picture"


def plain_markdown(text: str) -> str:
    """One line of Markdown that shows the beginning of the text, whatever is in it."""
    line = " ".join(text.split())[:_SHOWN_CHARACTERS]
    return html.escape(line, quote=False).translate(_MARKDOWN_SPECIAL)
