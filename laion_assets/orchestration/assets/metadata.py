"""What Dagster's pages say: of a table, from its declarations; of a materialisation, from its commit; and pictures."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

from laion_assets.common.quantities import measured_bytes
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.table import Table
from laion_assets.orchestration.assets.pictures import rows_to_see
from laion_assets.sql.model import Model
from laion_assets.tables.catalogue import CATALOGUE
from laion_assets.tables.declaration import Declaration
from laion_assets.tables.origins import column_origins

_SHOWN_CHARACTERS = 120
_MARKDOWN_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#+-.!|~"})


def description(table: Declaration) -> str:
    """What the page of a table's asset says of it, as Markdown."""
    reads = dict.fromkeys(read.table for read in table.reads)
    changed = [f"`{name}`" for name in (*table.settings, *reads)]
    lines = {
        "Partitions": " × ".join(table.partition_by) or "none, it is built whole",
        "Key": _codes(table.key),
        "Made from": _codes(reads),
        "Stale when": f"{_any_of(changed)} changes, or its code version is raised" if changed else "",
        "Ask it": f'`laion sql "FROM {table.name} LIMIT 10"`',
        "Write it": f"`{table.command}`",
    }
    return _described(table.description, lines)


def model_description(model: Model) -> str:
    """What the page of a SQL model's asset says of it, as Markdown."""
    lines = {
        "Partitions": "crawl" if model.is_incremental else "none, it is built whole",
        "Stale when": "a table it reads, or its SQL, changes" if not model.is_view else "",
        "Ask it": f'`laion sql "FROM {model.name} LIMIT 10"`',
        "Write it": f"`laion models run --select {model.name}`",
    }
    return _described(model.description, lines)


def _described(first: str, lines: Mapping[str, str]) -> str:
    # Lists show the beginning as it is written here, marks of Markdown and all: few of them, and late.
    return f"{first}\n\n" + "  \n".join(f"{what}: {text}" for what, text in lines.items() if text)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def tags(table: Declaration, pool: str | None) -> dict[str, str]:
    """By what assets are found in lists: what a rerun gives, and which scarce thing a step needs."""
    return {"rerun": table.rerun, **({"needs": pool} if pool else {})}


def definition_metadata(table: Table, uri: str | None) -> dict[str, Any]:
    """What is known of a table before anything is built.

    Args:
        table: the table.
        uri: where the lake lies; None for a view, which lies nowhere.
    """
    place = {} if uri is None else {"dagster/uri": f"{uri.rstrip('/')}/{table.name}"}
    return {"dagster/table_name": table.name, **place, "dagster/column_schema": column_schema(table)}


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.type),
                c.description,
                constraints=dg.TableColumnConstraints(nullable=c.nullable, unique=table.key == (c.name,)),
            )
            for c in table.columns
        ]
    )


def column_lineage(table: Declaration) -> dg.TableColumnLineage:
    """Which upstream columns each column comes from: a column that keeps its name keeps its meaning, but for a few."""
    origins = column_origins(table).items()
    return dg.TableColumnLineage(
        {column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in of] for column, of in origins}
    )


def commit_metadata(
    commit: Commit, table: Table, lineage: dg.TableColumnLineage, lake: Lake, seconds: float
) -> dict[str, Any]:
    """Rows, drops, bytes, version, schema and lineage of a published partition."""
    files = [size for _, size in lake.partition_sizes(commit.table, CATALOGUE.partition(commit.partition))]
    whole = lake.sizes(commit.table)
    return {
        "rows in": commit.rows_in,
        "rows dropped": sum(commit.drops.values()),
        "dagster/partition_row_count": commit.rows,
        **({"drops": counts_table(commit.drops, "reason")} if any(commit.drops.values()) else {}),
        **({"counts": counts_table(commit.counts, "what")} if commit.counts else {}),
        "size": measured_bytes(sum(files)),
        **_cost(commit),
        # Numbers that Dagster plots over partitions.
        "seconds": round(seconds, 2),
        "bytes": sum(files),
        "files": len(files),
        **({"read": _reads(commit)} if commit.upstreams else {}),
        "content digest": commit.content_digest,
        "delta version": commit.version,
        "dagster/row_count": whole["rows"],  # of all partitions, as the page of the asset takes them
        "dagster/size_bytes": whole["bytes"],
        "dagster/column_schema": column_schema(table),
        "dagster/column_lineage": lineage,
    }


def _cost(commit: Commit) -> dict[str, Any]:
    """What the step used, for Dagster's plots over time; ``step_metrics`` has it as a table."""
    names = {"cpu_seconds": "processor seconds", "peak_memory_bytes": "peak memory (bytes)", "device": "device"}
    cost = dict(commit.cost)
    peak = commit.cost.get("peak_memory_bytes")
    readable = {} if peak is None else {"peak memory": measured_bytes(peak)}
    return {**readable, **{shown: cost[name] for name, shown in names.items() if name in cost}}


def arranged(shown: Mapping[str, Any], books: Mapping[str, Any]) -> dict[str, Any]:
    """What a person looks for stands above the books, and what takes a screen of its own below them."""
    long = {name: value for name, value in shown.items() if isinstance(value, dg.JsonMetadataValue)}
    return {**{name: value for name, value in shown.items() if name not in long}, **books, **long}


def _reads(commit: Commit) -> dg.MetadataValue:
    lines = [f"| {name} | {r.version} | {r.partitions:,} |" for name, r in commit.upstreams.items()]
    return dg.MetadataValue.md("\n".join(["| table | version | partitions |", "|---|---:|---:|", *lines]))


def counts_table(counts: dict[str, int], what: str) -> dg.MetadataValue:
    """Counts by name as a table, the largest first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"| {what} | rows |", "|---|---:|", *(f"| {name} | {count:,} |" for name, count in rows)]
    return dg.MetadataValue.md("\n".join(lines) if rows else "none")


def preview(lake: Lake, table: Table, partition: Partition) -> dict[str, dg.MetadataValue]:
    """The first rows of a partition; of a table that speaks of single pairs, where they are to be seen.

    What Dagster was told it keeps: a pair that is removed later must not stand in its history.
    """
    if table.entered:
        return {}
    shown = rows_to_see(table.name, partition) if speaks_of_pairs(table) else first_rows(lake, table, partition)
    return {"first rows": shown}


def speaks_of_pairs(table: Table) -> bool:
    """Whether rows of a table are about single pairs, pictures or requests."""
    return not {"pair_id", "url_id", "perceptual_hash", "value"}.isdisjoint(table.schema.names)


def first_rows(lake: Lake, table: Table, partition: Partition, rows: int = 15) -> dg.MetadataValue:
    """The first rows of a partition as a table: no vectors, bytes, what it fixes, or empty columns that came later."""
    columns = [c.name for c in table.columns if c.name not in partition and not _is_hard_to_read(c.type)]
    found = lake.rows(table.name, partition, columns, first=rows)
    later = [c.name for c in table.columns if c.added and c.name in found.columns]
    return rows_table(found.drop(name for name in later if found[name].is_null().all()))


def rows_table(frame: pl.DataFrame) -> dg.MetadataValue:
    """A frame as a table."""
    lines = [f"| {' | '.join(frame.columns)} |", "|" + "---|" * frame.width]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in frame.iter_rows()]
    return dg.MetadataValue.md("\n".join(lines) if frame.height else "no rows")


def _is_hard_to_read(type_: pa.DataType) -> bool:
    return any(is_such(type_) for is_such in (pa.types.is_list, pa.types.is_binary, pa.types.is_map))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else plain_markdown(str(value))


def plain_markdown(text: str) -> str:
    """One line of Markdown that shows the beginning of the text, whatever is in it."""
    line = " ".join(text.split())[:_SHOWN_CHARACTERS]
    return html.escape(line, quote=False).translate(_MARKDOWN_SPECIAL)
