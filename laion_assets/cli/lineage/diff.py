"""How ``laion diff`` shows what it found: for people, as JSON, as CSV."""

import csv
import json
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import json_value
from laion_assets.cli.lineage.tree import value_text
from laion_assets.delta.diff import KINDS, RowDiff, TableDiff

_MANY_PARTITIONS = 50
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def print_diff(found: TableDiff, console: Console) -> None:
    """Counts by partition, then the rows of the sample."""
    key = f"rows told apart by {', '.join(found.key)}" if found.key else "one row a partition"
    console.print(Text(f"{found.table}, version {found.before} → {found.after}; {key}"), soft_wrap=True)
    for what, names in (("new", found.columns_added), ("gone", found.columns_removed), ("ignored", found.ignored)):
        if names:
            console.print(Text(f"columns {what}: {', '.join(names)}", "dim"), soft_wrap=True)
    differing = [part for part in found.partitions if part.rows]
    equal = len(found.partitions) - len(differing)
    if differing:
        table = Table("partition")
        for kind in KINDS:
            table.add_column(kind, justify="right")
        table.add_column("columns changed")
        for part in differing[:_MANY_PARTITIONS]:
            columns = ", ".join(f"{name} {n:,}" for name, n in part.changed_columns.items())
            counts = [f"{part.rows.get(kind, 0):,}" for kind in KINDS]
            table.add_row(Text(part.partition, overflow="fold"), *counts, Text(columns))
        if len(differing) > 1:
            table.add_section()
            table.add_row("all", *(f"{n:,}" for n in found.rows.values()), "")
        console.print(table)
        if len(differing) > _MANY_PARTITIONS:
            console.print(
                f"… {len(differing) - _MANY_PARTITIONS:,} more partitions; --format json has all", style="dim"
            )
    if equal:
        console.print(f"{equal} partition{'s' if equal > 1 else ''} rewritten with the same rows")
    if not found.partitions:
        console.print("no partition was written between them")
    for kind in KINDS:
        rows = [row for row in found.sample if row.kind == kind]
        for row in rows:
            _print_row(row, console)
        if rows and len(rows) < found.rows[kind]:
            console.print(f"… {found.rows[kind] - len(rows):,} more {kind}; --limit shows more", style="dim")


def _print_row(row: RowDiff, console: Console) -> None:
    sign, style = _SIGNS[row.kind]
    key = " ".join(f"{name}={value_text(value)}" for name, value in row.key.items())
    console.print(Text.assemble((f"{sign} ", style), (f"{key} " if key else "", "bold"), row.partition), soft_wrap=True)
    if row.kind == "changed":
        for name in row.new:
            old, new = _change(row.old[name], row.new[name])
            console.print(Text.assemble(f"    {name}  ", (old, "red"), " → ", (new, "green")))
        for name in row.vectors:
            console.print(Text(f"    {name}  another vector"))
        return
    values = {name: value for name, value in (row.new or row.old).items() if value is not None}
    line = Text("    " + "  ".join(f"{name}={_shown(value)}" for name, value in values.items()), "dim")
    console.print(line, no_wrap=True, overflow="ellipsis")


def _change(old: Any, new: Any) -> tuple[str, str]:
    """Both values for people, with as many digits as it takes to tell them apart."""
    short = _shown(old), _shown(new)
    return short if short[0] != short[1] else (repr(old), repr(new))


def _shown(value: Any) -> str:
    return "nothing" if value is None else value_text(value)


def diff_json(found: TableDiff) -> str:
    """All of it as one JSON object.

    Keys: ``table``, ``before``, ``after`` (versions), ``key``, ``compared``, ``ignored``, ``columns_added``,
    ``columns_removed`` (column names), ``rows`` (``added``, ``removed``, ``changed``: how many), ``partitions`` (those
    whose files differ: ``partition``, ``added``, ``removed``, ``changed``, ``changed_columns``: rows by column), and
    ``sample`` (``kind``, ``partition``, ``key``, ``old``, ``new``: values by column, of changed rows those that
    differ; ``vectors``: names of the vectors that differ).
    """
    answer = {
        **asdict(found),
        "rows": found.rows,
        "partitions": [
            {
                "partition": part.partition,
                **{kind: part.rows.get(kind, 0) for kind in KINDS},
                "changed_columns": part.changed_columns,
            }
            for part in found.partitions
        ],
    }
    return json.dumps(answer, ensure_ascii=False, indent=1, default=json_value)


def write_diff_csv(found: TableDiff, out: TextIO) -> None:
    """The sample, a line for each value: kind, partition, key columns, column, old, new."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", "partition", *found.key, "column", "old", "new"])
    for row in found.sample:
        start = [row.kind, row.partition, *(_field(value) for value in row.key.values())]
        for name in row.new or row.old:
            writer.writerow([*start, name, _field(row.old.get(name)), _field(row.new.get(name))])
        for name in row.vectors:
            writer.writerow([*start, name, "", ""])
        if not (row.new or row.old or row.vectors):  # the key is all there is to such a row
            writer.writerow([*start, "", "", ""])


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=json_value)
    return str(json_value(value))
