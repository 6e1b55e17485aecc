"""``laion tables``: what is in the lake."""

from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, out, settings_of
from laion_assets.common.quantities import measured_bytes
from laion_assets.sql.project import open_project, tables_of


def tables(lake: LakeOption = None) -> None:
    """List the tables: rows, partitions, files, bytes, version."""
    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    opened.declare(tables_of(open_project(settings.models).models.values()))
    table = Table("table", title=Text(opened.uri))
    for heading in ("rows", "partitions", "files", "bytes", "version"):
        table.add_column(heading, justify="right")
    for name in opened.tables:
        sizes = opened.sizes(name)
        version = str(sizes["version"]) if sizes["version"] >= 0 else "–"
        counts = [f"{sizes[key]:,}" for key in ("rows", "partitions", "files")]
        table.add_row(name, *counts, measured_bytes(sizes["bytes"]), version)
    out.print(table)
