"""What every published partition cost, rebuilds too, as a table that SQL can ask: rows, bytes, seconds, memory."""

from collections.abc import Iterable, Mapping

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.delta.table import Table
from laion_assets.sql.commits import PLACE, TOLD, log_files
from laion_assets.tables.columns import BOOL, COUNTS, DOUBLE, LONG, STRING, TIME, column

STEP_METRICS = Table(
    name="step_metrics",
    description="Every partition that was ever published, rebuilds too: rows, bytes, and what the step cost.",
    key=("table_name", "version"),
    columns=(
        column("table_name", STRING, "The table."),
        column("crawl", STRING, "The crawl of the partition, if it is of one.", nullable=True),
        column("partition", STRING, "The partition, crawl=CC-MAIN-2024-10/bucket=3."),
        column("version", LONG, "Version of the table that the commit made."),
        column("latest", BOOL, "Whether no later commit wrote the partition."),
        column("committed_at", TIME, "When it was published."),
        column("run_id", STRING, "The Dagster run."),
        column("code_version", STRING, "Version of the stage's code."),
        column("rows_in", LONG, "Rows that went into the step."),
        column("rows", LONG, "Rows that came out."),
        column("dropped", LONG, "Rows that went no further."),
        column("failures", LONG, "Downloads that failed, records that could not be read."),
        column("files", LONG, "Parquet files that were written."),
        column("bytes", LONG, "Bytes of these files."),
        column("seconds", DOUBLE, "Wall clock of the step; null before it was measured.", nullable=True),
        column("cpu_seconds", DOUBLE, "Processor time of the step and its children.", nullable=True),
        column("rows_per_second", DOUBLE, "Rows in a second that went into the step.", nullable=True),
        column("peak_memory_bytes", LONG, "Largest resident memory of one of its processes.", nullable=True),
        column("host", STRING, "Name of the machine.", nullable=True),
        column("cpus", LONG, "Processors the step could use.", nullable=True),
        column("device", STRING, "Name of the accelerator it used, or `cpu`.", nullable=True),
        column("drops", COUNTS, "Rows that went no further, by reason."),
        column("counts", COUNTS, "What else the step counted."),
    ),
)
"""What ``source('step_metrics')`` is. No table of the lake: it is read out of the logs of all of them."""

FAILURE_COUNTS = ("failure: ", "bad record: ")
"""How the names of counts begin that count failures."""


def metrics_in_logs(
    lake: Lake, tables: Iterable[str], *, up_to: Mapping[str, int] | None = None, crawl: str | None = None
) -> str:
    """SQL that reads ``step_metrics`` out of the Delta logs of a lake's tables, as they are when it is run.

    Args:
        lake: the lake.
        tables: those that are there.
        up_to: by table, the last version to look at, and no other tables; None: everything.
        crawl: look at the partitions of this crawl alone.
    """
    failed = " OR ".join(f"starts_with(name, {literal(prefix)})" for prefix in FAILURE_COUNTS)
    pinned = " OR ".join(f"(table_name = {literal(t)} AND version <= {v})" for t, v in (up_to or {}).items())
    conditions = ["record IS NOT NULL"]
    conditions += [f"({pinned or 'false'})"] if up_to is not None else []
    conditions += [f"crawl = {literal(crawl)}"] if crawl is not None else []
    return f"""
        WITH entries AS (
            SELECT
                parse_path(filename)[-3] AS table_name,
                parse_filename(filename, true)::BIGINT AS version,
                make_timestamp_ms((any_value(commitInfo) ->> 'timestamp')::BIGINT)::TIMESTAMPTZ AS committed_at,
                (any_value(commitInfo) ->> 'laion')::JSON AS record,
                count("add") AS files,
                coalesce(sum("add".size), 0)::BIGINT AS bytes
            FROM read_json(
                {log_files(lake, tables)}, format = 'newline_delimited', filename = true,
                columns = {{commitInfo: 'JSON', "add": 'STRUCT(size BIGINT)'}}, maximum_object_size = 33554432
            )
            GROUP BY filename
        ),
        records AS (
            SELECT
                table_name,
                {PLACE},
                version,
                committed_at,
                {TOLD},
                files,
                bytes,
                record -> 'cost' AS cost
            FROM entries WHERE {conditions[0]}
        )
        SELECT
            table_name, crawl, "partition", version,
            version = max(version) OVER (PARTITION BY table_name, "partition") AS latest,
            committed_at, run_id, code_version, rows_in, "rows",
            coalesce(list_sum(map_values(drops)), 0)::BIGINT AS dropped,
            coalesce(list_sum([counts[name] FOR name IN map_keys(counts) IF {failed}]), 0)::BIGINT AS failures,
            files,
            bytes,
            (cost ->> 'seconds')::DOUBLE AS seconds,
            (cost ->> 'cpu_seconds')::DOUBLE AS cpu_seconds,
            rows_in / nullif((cost ->> 'seconds')::DOUBLE, 0) AS rows_per_second,
            (cost ->> 'peak_memory_bytes')::BIGINT AS peak_memory_bytes,
            cost ->> 'host' AS host,
            (cost ->> 'cpus')::BIGINT AS cpus,
            cost ->> 'device' AS device,
            drops,
            counts
        FROM records
        WHERE {" AND ".join(conditions[1:]) or "true"}
    """
