"""Charts on Dagster's pages, and where pairs and rows of the lake are to be seen."""

import base64

import dagster as dg

from laion_assets.charts import glance as charts
from laion_assets.charts.drawing import Chart
from laion_assets.charts.standalone import standalone
from laion_assets.delta.partition import Partition
from laion_assets.web.addresses import KINDS, pairs_address, rows_address, strip_address

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


def pairs_to_see(partition: Partition) -> dict[str, dg.MetadataValue]:
    """Where the pairs of a partition of filtered_pairs are to be seen, and those that were dropped of it.

    Dagster keeps what it is told, so it is told where to look: the lake's web server makes the pictures from what is
    in the lake when somebody does.
    """
    otherwise = "pairs: open this page with laion ui"
    strips = {kind: f"![{kind} {otherwise}]({strip_address(kind, partition)})" for kind in KINDS}
    return {kind: dg.MetadataValue.md(f"[{strips[kind]}]({pairs_address(kind, partition)})") for kind in KINDS}


def rows_to_see(table: str, partition: Partition) -> dg.MetadataValue:
    """Where the first rows of a partition are to be seen."""
    return dg.MetadataValue.md(f"[as the lake has them now]({rows_address(table, partition)}) (needs `laion ui`)")
