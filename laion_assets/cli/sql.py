"""``laion sql``: queries over the lake."""

from typing import Annotated, cast, get_args

import duckdb
import typer

from laion_assets.cli.common import LakeOption, UsageError, existing_lake, out


def sql(
    query: Annotated[str, typer.Argument(help="SQL over views of every table and model, in DuckDB's dialect.")],
    lake: LakeOption = None,
    format: Annotated[str, typer.Option(help="`table`, `csv`, `json` (a line a row) or `parquet`.")] = "table",
) -> None:
    """Run one query over the lake and print its rows. It reads; it cannot write."""
    from laion_assets.cli.display import Format, print_rows
    from laion_assets.sql.session import NotAQueryError, connect
    from laion_assets.sql.session import query as run

    if format not in get_args(Format):
        raise UsageError(f"--format: expected {', '.join(get_args(Format))}, found {format!r}")
    opened = existing_lake(lake)
    try:
        rows = run(connect(opened), query)
        if rows is not None:
            print_rows(rows, cast("Format", format), out)
    except (duckdb.Error, NotAQueryError) as error:
        raise UsageError(str(error).partition("\n\nLINE ")[0]) from error
