"""``laion lineage`` and ``laion diff``: where rows came from, what was made from them, what a version changed.

Both read the tables and their logs, and nothing else: neither Dagster nor what it remembers of runs is needed.
"""

import sys
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, existing_lake, out, settings_of

if TYPE_CHECKING:
    from laion_assets.delta.lineage import Lineage
    from laion_assets.lake.pair_lineage import PairTrace

LineageFormat = Literal["text", "json", "dot", "openlineage"]
DiffFormat = Literal["text", "json", "csv"]


def lineage(
    table: Annotated[str, typer.Argument(help="A table of the lake, of SQL models too.")],
    pair_id: Annotated[
        int | None, typer.Option("--pair-id", help="Follow this pair, row by row, to its crawl record.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="One partition: `crawl=CC-MAIN-2026-04/bucket=3`.", metavar="NAME")
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            min=0, help="What the commit of this version wrote; with `--pair-id` or `--partition`: as of this version."
        ),
    ] = None,
    forward: Annotated[
        bool, typer.Option("--forward", help="What was made from it, not what it was made from.")
    ] = False,
    format: Annotated[
        str, typer.Option(help="`text`, `json` (one object), `dot` (Graphviz) or `openlineage` (an event a line).")
    ] = "text",
    full: Annotated[
        bool, typer.Option("--full", help="Every partition on its own, whole digests, and what was replaced since.")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Show what a table, partition, version or pair was made from, down to the crawl record, or what was made from it.

    Every commit says which versions it read; nothing else is asked. Without an option: the table as it is now. Exit
    code 1 if no table holds the pair.

    JSON has `roots`, `nodes` (one a partition and commit), `reads` (reader, table, version, sources), and for a pair
    `pair_rows` and `records`.

    OpenLineage has a START and a COMPLETE for each partition: `laion lineage filtered_pairs --format openlineage` is
    what a catalogue such as Marquez takes, line by line.
    """
    if format not in get_args(LineageFormat):
        raise UsageError(f"--format: expected {', '.join(get_args(LineageFormat))}, found {format!r}")
    if pair_id is not None and partition is not None:
        raise UsageError("--pair-id and --partition: give one of them")
    if pair_id is not None and format == "openlineage":
        raise UsageError("--pair-id: OpenLineage speaks of tables, not of rows; leave it out, or take --format json")
    opened = existing_lake(lake)
    from laion_assets.delta.lineage import Lineage

    known = Lineage(opened)
    if pair_id is not None:
        _print_trace(_trace(known, table, pair_id, version, forward=forward, full=full), format, full=full)
        return
    if forward:
        graph = known.forward(table, partition=partition, version=version, replaced=full)
    else:
        graph = known.back(table, partition=partition, version=version)
    from laion_assets.cli.lineage.export import lineage_dot, lineage_json
    from laion_assets.cli.lineage.tree import LineageTree

    if format == "json":
        sys.stdout.write(lineage_json(graph) + "\n")
    elif format == "dot":
        sys.stdout.write(lineage_dot(graph, full=full) + "\n")
    elif format == "openlineage":
        from laion_assets.cli.lineage.openlineage import write_events

        write_events(graph, known, lake, sys.stdout)
    else:
        for tree in LineageTree(graph, full=full).trees():
            out.print(tree)


def _trace(
    known: "Lineage", table: str, pair_id: int, version: int | None, *, forward: bool, full: bool
) -> "PairTrace":
    from laion_assets.delta.rows import RowFinder
    from laion_assets.lake.pair_lineage import PairLineage

    with RowFinder(known.history) as finder:
        pairs = PairLineage(known, finder)
        if forward:
            return pairs.forward(table, pair_id, version, replaced=full)
        return pairs.back(table, pair_id, version)


def _print_trace(trace: "PairTrace", format_: str, *, full: bool) -> None:
    from laion_assets.cli.lineage.export import lineage_dot, lineage_json
    from laion_assets.cli.lineage.tree import LineageTree, elsewhere_text, record_parts

    if not trace.graph.roots and not trace.elsewhere:
        complain("laion:", f"no table of the lake holds the pair {trace.pair_id}")
        raise typer.Exit(1)
    if format_ == "json":
        sys.stdout.write(lineage_json(trace.graph, trace) + "\n")
    elif format_ == "dot" and trace.graph.roots:
        sys.stdout.write(lineage_dot(trace.graph, full=full) + "\n")
    elif not trace.graph.roots:
        out.print(Text(elsewhere_text(trace)), soft_wrap=True)
    else:
        for tree in LineageTree(trace.graph, trace=trace, full=full).trees():
            out.print(tree)
        for part in record_parts(trace):
            out.print(part)


def diff(
    table: Annotated[str, typer.Argument(help="A table of the lake.")],
    before: Annotated[int, typer.Argument(metavar="V1", min=0, help="The version to compare with.")],
    after: Annotated[int, typer.Argument(metavar="V2", min=0, help="The version that is described.")],
    format: Annotated[str, typer.Option(help="`text`, `json` (one object) or `csv` (a line for each value).")] = "text",
    limit: Annotated[int, typer.Option(min=0, help="Rows of each kind to show.")] = 20,
    key: Annotated[
        str | None, typer.Option(help="Columns that name a row, where none are declared: `crawl,host`.")
    ] = None,
    all_columns: Annotated[
        bool, typer.Option("--all-columns", help="Compare times and places too, which differ by nature.")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Show which rows a table gained, lost and changed between two versions.

    Rows are told apart by the table's key. Vectors are compared, but not shown. `laion lineage TABLE --version V` says
    who wrote a version, and from what.
    """
    if format not in get_args(DiffFormat):
        raise UsageError(f"--format: expected {', '.join(get_args(DiffFormat))}, found {format!r}")
    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    from laion_assets.cli.lineage.diff import diff_json, print_diff, write_diff_csv
    from laion_assets.delta.diff import diff as compare

    names = [name.strip() for name in key.split(",")] if key is not None else None
    if names is None and table not in opened.tables:
        names = _model_key(settings.models, table)
    found = compare(opened, table, before, after, key=names, all_columns=all_columns, limit=limit)
    if format == "json":
        sys.stdout.write(diff_json(found) + "\n")
    elif format == "csv":
        write_diff_csv(found, sys.stdout)
    else:
        print_diff(found, out)


def _model_key(models: str, table: str) -> list[str] | None:
    """What names a row of a SQL model's table; None where there is no such model, or no longer."""
    from laion_assets.sql.project import open_project

    model = open_project(models).models.get(table)
    return list(model.key) or None if model is not None else None
