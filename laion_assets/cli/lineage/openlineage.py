"""Lineage for catalogues: OpenLineage events, one a line."""

import json
from importlib.metadata import version
from typing import TextIO

from laion_assets.cli.common import complain, settings_of
from laion_assets.delta.lineage import Graph, Lineage
from laion_assets.delta.openlineage import Origins, Teller, events
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.origins import column_origins


def write_events(graph: Graph, known: Lineage, lake: str | None, out: TextIO) -> None:
    """Write the events; a line on standard error says how many partitions no event can be made of.

    Args:
        graph: what was asked for.
        known: the lineage that it was asked of.
        lake: as the command line names it: SQL models say where their columns come from.
        out: where to.
    """
    for event in events(graph, known, _teller(lake)):
        out.write(json.dumps(event, ensure_ascii=False) + "\n")
    unrecorded = sum(node.commit is None for node in graph.nodes.values())
    if unrecorded:
        complain("laion:", f"partitions that were written without a record, by nobody that is known: {unrecorded:,}")


def _teller(lake: str | None) -> Teller:
    def origins(table: str) -> Origins:
        return column_origins(TABLES[table]) if table in TABLES else _of_model(table, lake)

    return Teller(producer=f"urn:laion-lakehouse:{version('laion-lakehouse')}", origins=origins)


def _of_model(name: str, lake: str | None) -> Origins:
    """Where a SQL model's columns come from; from nowhere that is known where it is no model that can run."""
    from laion_assets.sql.column_lineage import column_lineage
    from laion_assets.sql.project import open_project

    project = open_project(settings_of(lake).models)
    return column_lineage(project, name) if name in project.enabled else {}
