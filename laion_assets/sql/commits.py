"""The records of commits as a table that SQL can ask: what was dropped where, by which run, with which code."""

from collections.abc import Iterable

import pyarrow as pa

from laion_assets.delta.commits import REPLACED, Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.delta.table import Table
from laion_assets.tables.catalogue import CATALOGUE
from laion_assets.tables.columns import COUNTS, LONG, STRING, TIME, column

COMMITS = Table(
    name="commits",
    description="The last commit of every partition of every table, as its record in the Delta log says.",
    key=("table_name", "partition"),
    columns=(
        column("table_name", STRING, "The table."),
        column("crawl", STRING, "The crawl of the partition, if it is of one.", nullable=True),
        column("partition", STRING, "The partition, crawl=CC-MAIN-2024-10/bucket=3."),
        column("version", LONG, "Version of the table that the commit made."),
        column("committed_at", TIME, "When it was made."),
        column("rows_in", LONG, "Rows that went into the step."),
        column("rows", LONG, "Rows that came out."),
        column("drops", COUNTS, "Rows that went no further, by reason."),
        column("counts", COUNTS, "What else the step counted."),
        column("run_id", STRING, "The Dagster run."),
        column("code_version", STRING, "Version of the stage's code."),
        column("settings_digest", STRING, "Digest of the settings that shape the table."),
        column("content_digest", STRING, "Digest of the rows."),
    ),
)
"""What ``source('commits')`` is. No table of the lake: it is read out of the logs of all of them."""


PLACE = """
    nullif(regexp_extract(record ->> 'partition', '(?:^|/)crawl=([^/]+)', 1), '') AS crawl,
    record ->> 'partition' AS "partition\""""
TOLD = """
    (record ->> 'rows_in')::BIGINT AS rows_in,
    (record ->> 'rows')::BIGINT AS "rows",
    (record -> 'drops')::MAP(VARCHAR, BIGINT) AS drops,
    (record -> 'counts')::MAP(VARCHAR, BIGINT) AS counts,
    record ->> 'run_id' AS run_id,
    record ->> 'code_version' AS code_version"""
"""What SQL makes of a record: which partition it is of, and what it says of it."""


def commit_rows(commits: Iterable[Commit]) -> pa.Table:
    """The records as rows of ``commits``, ordered by table and partition."""
    rows = [
        {
            "table_name": commit.table,
            "crawl": CATALOGUE.partition(commit.partition).get("crawl"),
            "partition": commit.partition,
            "version": commit.version,
            "committed_at": commit.timestamp_ms * 1000,
            "rows_in": commit.rows_in,
            "rows": commit.rows,
            "drops": sorted(commit.drops.items()),
            "counts": sorted(commit.counts.items()),
            "run_id": commit.run_id,
            "code_version": commit.code_version,
            "settings_digest": commit.settings_digest,
            "content_digest": commit.content_digest,
        }
        for commit in sorted(commits, key=lambda commit: (commit.table, commit.partition))
    ]
    schema = pa.schema([(column.name, column.type) for column in COMMITS.columns])
    return pa.Table.from_pylist(rows, schema=schema)


def log_files(lake: Lake, tables: Iterable[str]) -> str:
    """The entries of the Delta logs of these tables, as an SQL list of patterns.

    In a folder tables that are made later are found too; a bucket would be listed whole for it.
    """
    folders = ["*"] if lake.storage.is_local else list(tables)
    return "[" + ", ".join(literal(f"{lake.uri}/{folder}/_delta_log/*.json") for folder in folders) + "]"


def commits_in_logs(lake: Lake, tables: Iterable[str]) -> str:
    """SQL that reads ``commits`` out of the Delta logs of a lake's tables, as they are when it is run.

    Args:
        lake: the lake.
        tables: those that are there.
    """
    return f"""
        WITH entries AS (
            SELECT
                parse_path(filename)[-3] AS table_name,
                parse_filename(filename, true)::BIGINT AS version,
                make_timestamp_ms((commitInfo ->> 'timestamp')::BIGINT)::TIMESTAMPTZ AS committed_at,
                commitInfo ->> {literal(REPLACED)} AS replaced,
                (commitInfo ->> 'laion')::JSON AS record
            FROM read_json(
                {log_files(lake, tables)}, format = 'newline_delimited', filename = true,
                columns = {{commitInfo: 'JSON'}},
                maximum_object_size = 1000000000
            )
            WHERE commitInfo IS NOT NULL
        ),
        replaced AS (
            SELECT table_name, max(version) AS version FROM entries
            WHERE replaced IS NOT NULL GROUP BY table_name
        )
        SELECT
            table_name,
            {PLACE},
            entries.version,
            committed_at,
            {TOLD},
            record ->> 'settings_digest' AS settings_digest,
            record ->> 'content_digest' AS content_digest
        FROM entries
        LEFT JOIN replaced USING (table_name)
        WHERE record IS NOT NULL AND entries.version > coalesce(replaced.version, -1)
        QUALIFY row_number() OVER (PARTITION BY table_name, "partition" ORDER BY entries.version DESC) = 1
    """
