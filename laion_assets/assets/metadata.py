"""What a materialisation tells Dagster: from the commit, from the catalogue, and pictures."""

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from laion_assets.figures import plain_markdown
from laion_assets.lake.catalogue import Table
from laion_assets.lake.commits import Commit
from laion_assets.lake.lake import Lake
from laion_assets.lake.partition import Partition, parse_partition
from laion_assets.lake.stages import STAGES
from laion_assets.lake.tables import TABLES

_ANEW: Mapping[str, frozenset[str]] = {
    "training_sets": frozenset({"sha256", "shard_path", "split"}),
    "clip_checkpoints": frozenset({"sha256", "seed"}),
    "zero_shot_scores": frozenset({"precision"}),
    "retrieval_scores": frozenset({"precision"}),
}
"""Columns that are called like one of what they are made from, and speak of something else: a tar, not a picture."""


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


def column_lineage(table: str) -> dg.TableColumnLineage:
    """Which upstream columns each column comes from: a column that keeps its name keeps its meaning, but for a few."""
    declared, anew = TABLES[table], _ANEW.get(table, frozenset())
    upstream = [TABLES[r.table] for r in STAGES[table].reads if r.table not in (table, "takedowns", "calibrations")]
    return dg.TableColumnLineage(
        {
            column.name: [
                dg.TableColumnDep(dg.AssetKey(source.name), column.name)
                for source in upstream
                if column.name in source.schema.names and column.name not in anew
            ]
            for column in declared.columns
        }
    )


def commit_metadata(
    commit: Commit, table: Table, lineage: dg.TableColumnLineage, lake: Lake, seconds: float
) -> dict[str, Any]:
    """Rows, drops, bytes, version, schema and lineage of a published partition."""
    sizes = [size for _, size in lake.partition_sizes(commit.table, parse_partition(commit.partition))]
    return {
        "dagster/row_count": commit.rows,
        "dagster/partition_row_count": commit.rows,
        "rows in": commit.rows_in,
        "rows dropped": sum(commit.drops.values()),
        "drops": counts_table(commit.drops, "reason"),
        **({"counts": counts_table(commit.counts, "what")} if commit.counts else {}),
        "files": len(sizes),
        "dagster/total_byte_size": sum(sizes),
        "delta version": commit.version,
        "dagster/uri": lake.path(commit.table),
        "dagster/column_schema": column_schema(table),
        "dagster/column_lineage": lineage,
        "content digest": commit.content_digest,
        "read": dg.MetadataValue.json(
            {name: {"version": r.version, "partitions": r.partitions} for name, r in commit.upstreams.items()}
        ),
        "seconds": round(seconds, 2),
        **_cost(commit),
    }


def _cost(commit: Commit) -> dict[str, Any]:
    """What the step used, for Dagster's plots over time; ``step_metrics`` has it as a table."""
    names = {"cpu_seconds": "processor seconds", "peak_memory_bytes": "peak memory (bytes)", "device": "device"}
    cost = dict(commit.cost)
    return {shown: cost[name] for name, shown in names.items() if name in cost}


def counts_table(counts: dict[str, int], what: str) -> dg.MetadataValue:
    """Counts by name as a table, the largest first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"| {what} | rows |", "|---|---:|", *(f"| {name} | {count:,} |" for name, count in rows)]
    return dg.MetadataValue.md("\n".join(lines) if rows else "none")


def preview(lake: Lake, table: Table, partition: Partition, rows: int = 15) -> dg.MetadataValue:
    """The first rows of a partition as a table, without vectors and what the partition fixes."""
    columns = [c.name for c in table.columns if c.name not in partition and not pa.types.is_list(c.type)]
    frame = lake.rows(table.name, partition, columns, first=rows)
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in frame.iter_rows()]
    return dg.MetadataValue.md("\n".join(lines) if frame.height else "no rows")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else plain_markdown(str(value))


def picture(png: bytes, title: str) -> dg.MetadataValue:
    """A PNG shown in Dagster's pages."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")
