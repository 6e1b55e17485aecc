"""Which tables are built, in the order in which data flows.

What each is built from, and with which version of the code, its declaration says.
"""

from laion_assets.tables.catalogue import CATALOGUE, TABLES

STAGES = tuple(name for name, table in TABLES.items() if table.code_version)
"""Every table that is built or filled by hand, upstream first."""

PER_CRAWL = CATALOGUE.by_period
"""The stages that are built crawl by crawl, in order."""

PER_RECIPE = tuple(name for name in STAGES if "recipe" in TABLES[name].partition_by)
"""Those that are built recipe by recipe, in order."""

FUNNEL = {name: table.funnel for name, table in TABLES.items() if table.funnel is not None}
"""Those in which pairs become fewer, in order, with what each does."""
