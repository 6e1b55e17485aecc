"""What every published partition cost, rebuilds too, as a table that SQL can ask: rows, bytes, seconds, memory."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.delta.table import Column, Table
from laion_assets.sql.commits import log_files

_COUNTS = pa.map_(pa.string(), pa.int64())


def _c(name: str, type_: pa.DataType, description: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type=type_, description=description, nullable=nullable)


STEP_METRICS = Table(
    name="step_metrics",
    description="Every partition that was ever published, rebuilds too: rows, bytes, and what the step cost.",
    key=("table_name", "version"),
    columns=(
        _c("table_name", pa.string(), "The table."),
        _c("crawl", pa.string(), "The crawl of the partition, if it is of one.", nullable=True),
        _c("partition", pa.string(), "The partition, crawl=CC-MAIN-2024-10/bucket=3."),
        _c("version", pa.int64(), "Version of the table that the commit made."),
        _c("latest", pa.bool_(), "Whether no later commit wrote the partition."),
        _c("committed_at", pa.timestamp("us", tz="UTC"), "When it was published."),
        _c("run_id", pa.string(), "The Dagster run."),
        _c("code_version", pa.string(), "Version of the stage's code."),
        _c("rows_in", pa.int64(), "Rows that went into the step."),
        _c("rows", pa.int64(), "Rows that came out."),
        _c("dropped", pa.int64(), "Rows that went no further."),
        _c("failures", pa.int64(), "Downloads that failed, records that could not be read."),
        _c("files", pa.int64(), "Parquet files that were written."),
        _c("bytes", pa.int64(), "Bytes of these files."),
        _c("seconds", pa.float64(), "Wall clock of the step; null before it was measured.", nullable=True),
        _c("cpu_seconds", pa.float64(), "Processor time of the step and its children.", nullable=True),
        _c("rows_per_second", pa.float64(), "Rows in a second that went into the step.", nullable=True),
        _c("peak_memory_bytes", pa.int64(), "Largest resident memory of one of its processes.", nullable=True),
        _c("host", pa.string(), "Name of the machine.", nullable=True),
        _c("cpus", pa.int64(), "Processors the step could use.", nullable=True),
        _c("device", pa.string(), "Name of the accelerator it used, or `cpu`.", nullable=True),
        _c("drops", _COUNTS, "Rows that went no further, by reason."),
        _c("counts", _COUNTS, "What else the step counted."),
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
                nullif(regexp_extract(record ->> 'partition', '(?:^|/)crawl=([^/]+)', 1), '') AS crawl,
                record ->> 'partition' AS "partition",
                version,
                committed_at,
                record ->> 'run_id' AS run_id,
                record ->> 'code_version' AS code_version,
                (record ->> 'rows_in')::BIGINT AS rows_in,
                (record ->> 'rows')::BIGINT AS "rows",
                (record -> 'drops')::MAP(VARCHAR, BIGINT) AS drops,
                (record -> 'counts')::MAP(VARCHAR, BIGINT) AS counts,
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
