"""Charts and sheets of pictures on Dagster's pages."""

import base64

import dagster as dg

from laion_assets.charts import glance as charts
from laion_assets.charts.drawing import Chart
from laion_assets.charts.standalone import standalone
from laion_assets.images.thumbnail import at_a_glance

_SHOWN_AT_ONCE = 1_000
"""Characters of Markdown from which on Dagster's pages want a click."""


def chart(name: str, drawn: Chart, what: str, heading: str) -> dict[str, dg.MetadataValue]:
    """A chart for Dagster's pages, which show it at a click, and before it one so small that they show it at once.

    Args:
        name: of the entry.
        drawn: the chart.
        what: what it shows, for those who do not see it.
        heading: what stands above it.
    """
    before, after = f"![{what}](", ")"
    small = charts.at_a_glance(drawn, _SHOWN_AT_ONCE - len(before + after))
    whole = f"data:image/svg+xml;base64,{base64.b64encode(standalone(drawn, heading)).decode()}"
    shown = {f"{name}, at a glance": small, name: whole}
    return {key: dg.MetadataValue.md(f"{before}{address}{after}") for key, address in shown.items() if address}


def glance(name: str, image: bytes | None, title: str) -> dict[str, dg.MetadataValue]:
    """A picture that pages show without a click; nothing where there is none, or it cannot be made so small."""
    before, after = f"![{title}](data:image/webp;base64,", ")"
    small = None if image is None else at_a_glance(image, (_SHOWN_AT_ONCE - len(before + after)) * 3 // 4 - 3)
    if small is None:
        return {}
    return {f"{name}, at a glance": dg.MetadataValue.md(f"{before}{base64.b64encode(small).decode()}{after}")}
