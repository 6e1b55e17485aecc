"""Which columns a table's columns come from, by its declaration."""

from collections.abc import Mapping

from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.declaration import Declaration


def column_origins(table: Declaration) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """By column, the (table, column) pairs it comes from: what keeps its name keeps its meaning, but for a few."""
    upstream = [TABLES[read.table] for read in table.reads if read.table != table.name]
    return {
        column.name: tuple(
            (source.name, column.name)
            for source in upstream
            if not source.is_looked_up and column.name in source.schema.names and column.name not in table.anew
        )
        for column in table.columns
    }
