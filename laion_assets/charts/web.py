"""Charts of the web that pictures come from."""

import math
from collections.abc import Mapping, Sequence

from laion_assets.charts.axes import Axis
from laion_assets.charts.drawing import Chart, tones
from laion_assets.charts.series import Mark, Series, marks_and_lines
from laion_assets.common.quantities import figure


def concentration(crawls: Mapping[str, Sequence[tuple[int, float]]]) -> Chart:
    """How much of a crawl lies on few hosts.

    Args:
        crawls: by crawl, for some numbers of largest hosts, the share of unique pairs that lies on them, 0 to 1.
    """
    colours = tones(list(crawls))
    series = []
    for crawl, points in crawls.items():
        hosts, share = points[-1]
        end = Mark(x=hosts, y=share, said=f"{crawl}: {share:.0%} on {figure(hosts)} hosts")
        series.append(Series(tone=colours[crawl], line=points, marks=[end]))
    last = max((points[-1][0] for points in crawls.values()), default=1)
    plot = marks_and_lines(
        "Share of pairs on the largest hosts",
        ", ".join(crawls),
        series,
        x=Axis(label="largest hosts", low=0, high=max(math.log10(last), 0.5), kind="log"),
        y=Axis(label="", low=0, high=1, kind="share"),
        height=190,
        caption="Share of a crawl's unique pairs that lie on its largest hosts.",
    )
    return Chart(plots=[plot], legend=tuple((tone, crawl) for crawl, tone in colours.items()))
