"""Charts of pairs: how many come through, how alike picture and text are, how long texts and how large pictures are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from laion_assets.charts.bars import Bin, columns, histogram, stacked_bars
from laion_assets.charts.drawing import Chart, Plot
from laion_assets.common.quantities import figure, percent
from laion_assets.text.language import LANGUAGE_GROUPS

_BINS = 50
"""Of similarities from 0 to 1, and as many below."""


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Pairs of one language group by their similarity, as one encoder finds it."""

    group: str
    bins: Sequence[Bin]
    thresholds: Sequence[float] = ()
    encoder: str = ""


def funnel(crawls: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Chart:
    """How many pairs each stage let through.

    Args:
        crawls: by crawl, stage in their order, and language group, how many pairs there are after it.
    """
    plots = []
    for crawl, stages in crawls.items():
        said = "; ".join(f"{stage}: {figure(sum(counts.values()))}" for stage, counts in stages.items())
        plots.append(stacked_bars(f"Funnel of {crawl}", said, list(stages.items()), crawl))
    return Chart(plots=plots, legend=tuple(LANGUAGE_GROUPS.items()))


def similarity(groups: Sequence[Similarities], *, part: str = "released", rest: str = "not released") -> Chart:
    """How alike picture and text are, on one scale for all groups; those without pairs are left out.

    Args:
        groups: pairs by similarity.
        part: what the part of a bin is.
        rest: what is not in the part.
    """
    shown = [group for group in groups if group.bins]
    ends = [end for group in shown for b in group.bins for end in (b.low, b.high)]
    several = len({group.encoder for group in shown}) > 1
    plots = [
        _similarity_plot(group, (min(ends), max(ends)), part, f", {group.encoder}" if several else "")
        for group in shown
    ]
    parted = any(b.part is not None for group in shown for b in group.bins)
    return Chart(plots=plots, legend=(("pale", rest),) if parted else ())


def _similarity_plot(of: Similarities, span: tuple[float, float], part: str, encoder: str) -> Plot:
    pairs, parts = sum(b.total for b in of.bins), [b.part for b in of.bins if b.part is not None]
    said = f"{figure(pairs)} pairs"
    if parts and pairs:
        said += f", {figure(sum(parts))} of them {part} ({percent(sum(parts) / pairs)})"
    marks = [(value, f"threshold {value:.3f}") for value in of.thresholds]
    return histogram(
        f"Similarity, {LANGUAGE_GROUPS[of.group]}",
        f"{said}; {', '.join(text for _, text in marks)}",
        of.bins,
        tone=of.group,
        label="similarity (cosine)",
        span=span,
        part=part,
        marks=marks,
        caption=f"{of.group}{encoder}: {said}.",
    )


def binned(similarities: npt.NDArray[np.float32], threshold: float | None) -> list[Bin]:
    """Similarities in bins of a fiftieth, as the SQL model ``similarity_distribution`` has them.

    Args:
        similarities: of one language group; what is no number is left out.
        threshold: the part of a bin is what reaches it; None where there is none.
    """
    known = similarities[~np.isnan(similarities)]
    # By way of whole millionths: the float nearest to 0.26 is a little less than 0.26.
    place = np.clip(np.floor(np.round(known * 1e6) * _BINS / 1e6).astype(int), -_BINS, _BINS - 1)
    reached = place[known >= threshold] if threshold is not None else place[:0]
    return [
        Bin(
            low=number / _BINS,
            high=(number + 1) / _BINS,
            total=int((place == number).sum()),
            part=None if threshold is None else int((reached == number).sum()),
        )
        for number in np.unique(place).tolist()
    ]


def text_lengths(groups: Mapping[str, Mapping[int, int]]) -> Chart:
    """How long texts are; groups without any are left out.

    Args:
        groups: by language group, how many pairs have a text of so many characters and more, up to the next class.
    """
    classes = sorted({low for counts in groups.values() for low in counts})
    plots = []
    for group, counts in groups.items():
        total = sum(counts.values())
        bins = [(figure(low), {group: counts.get(low, 0)}) for low in classes]
        if counts:
            title, said = f"Length of texts, {LANGUAGE_GROUPS[group]}", f"{figure(total)} unique pairs"
            caption = f"{group}: {said}."
            plots.append(columns(title, said, bins, label="characters, from", caption=caption))
    return Chart(plots=plots)


def picture_sizes(counts: Mapping[int, int]) -> Chart:
    """How large pictures are.

    Args:
        counts: how many have a shorter side of so many pixels and more, up to the next class.
    """
    said = f"{figure(sum(counts.values()))} downloaded pictures by the length of their shorter side."
    bins = [(figure(low), {"all": count}) for low, count in counts.items()]
    return Chart(plots=[columns("Shorter side of pictures", said, bins, label="pixels, from", caption=said)])
