"""Deduplication of one bucket of one crawl, inside the crawl and against earlier ones, after removals.

Equality is (url, text). Where a pair lies and who commits it is not decided here: rows come from views of the DuckDB
connection handed in, and go to one Parquet file.
"""

# Names of columns, views and files, never values, are put into SQL here.

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from laion_assets.common.duck import number, quoted, temporary_tables
from laion_assets.consent.policy import OF_PAGES, ConsentOptions, passed_over_sql, refusing_sql
from laion_assets.consent.removals import Removals

REMOVAL_DROPS = {
    "url": "removed_url",
    "domain": "removed_domain",
    "hash": "removed_hash",
    "pair_id": "removed_pair",
    "sha256": "removed_sha256",
}
"""By what a row is to be removed → the reason under which it is counted."""

CONSENT_DROPS = {signal: f"opted_out_{signal}" for signal in OF_PAGES}
"""By which signal a page said no → the reason under which a row is counted."""

# The place of a row in its crawl as one number: three non-negative numbers of 31, 63 and 31 bits. DuckDB takes the
# minimum of a number many times faster than that of a struct. A row of an import has a number in place of the last two.
_PLACE = (
    "((file_number::HUGEINT * 9223372036854775808 + coalesce(record_offset, row_number)::HUGEINT) * 2147483648"
    " + coalesce(link_position, 0)::HUGEINT)"
)

_COLLIDED = "SELECT pair_id FROM _dedup_winners WHERE collided UNION SELECT pair_id FROM _dedup_seen WHERE NOT same"


@dataclass(frozen=True, kw_only=True, slots=True)
class DedupCounts:
    """What became of the candidates of one bucket."""

    rows_in: int
    """Candidate pairs."""
    rows_out: int
    """Unique pairs, as written."""
    drops: dict[str, int] = field(default_factory=dict)
    """Candidates by the reason they were dropped for; only reasons that occurred."""


def deduplicate(
    connection: duckdb.DuckDBPyConnection,
    *,
    candidates: str,
    output: Path,
    history: str | None = None,
    removals: Removals | None = None,
    consent: ConsentOptions | None = None,
    told_sha256: str | tuple[str, ...] | None = None,
    row_group_rows: int = 122_880,
) -> DedupCounts:
    """Write the unique pairs of one bucket of one crawl, ordered by pair_id.

    A pair is dropped under the first reason that holds: ``removed_url, removed_domain, removed_hash, removed_pair,
    removed_sha256``;
    ``opted_out_x_robots_page`` and its like, for a url of which any page of the crawl said no, by this signal (the
    first by name, of several);
    ``hash_collision``, if a different (url, text) has its pair_id, in an earlier crawl or at a lower place in this one;
    ``duplicate``, for all copies in this crawl but the one with the lowest (file_number, record_offset,
    link_position), of an import (file_number, row_number); ``seen_in_earlier_crawl``, for the copy that is left. The
    result is a pure function of the rows: neither their order nor the number of threads matters.

    Only ids and places are held (about 50 bytes a distinct pair, spilled where the connection may spill); texts and
    urls are streamed. The candidates are scanned twice and the history once, each once more if pair ids collide.

    Args:
        connection: A DuckDB connection that knows the views; temporary tables named ``_dedup_…`` are made and dropped.
        candidates: Name of a view with the columns of candidate_pairs, of one crawl and bucket.
        output: The Parquet file to write: the columns of the candidates and ``duplicate_count`` (int32: the copies of
            the pair in this crawl, itself included); where consent is asked for, ``let_in_despite`` (the signals by
            which a page said no, and which the policy passes over; null where there are none).
        history: Name of a view with ``pair_id, url, text`` of the unique pairs of all earlier crawls in this bucket.
        removals: What must not come out, whenever it came in.
        consent: What is obeyed of ``page_signals``, a further column of the candidates; None: nobody asks.
        told_sha256: An expression over the candidates, or several: SHA-256 (hex) that a list or a tar tells of the
            picture, so that one whose removal was asked for by it goes, whatever was made of its bytes;
            None where nothing tells it.
        row_group_rows: Rows of a row group of the output.

    Raises:
        duckdb.Error: If a view or a column is missing, or the file cannot be written.
    """
    annotated = (
        (removals or Removals.none()).register(connection).annotate(candidates, pair_id="pair_id", sha256=told_sha256)
    )
    with temporary_tables(connection, "_dedup_said", "_dedup_winners", "_dedup_seen", "_dedup_settled"):
        rows_in = number(connection, f"SELECT count(*) FROM {candidates}")
        if consent is not None:
            annotated = _with_refusals(connection, candidates, annotated, consent)
        drops = _find_winners(connection, annotated)
        drops["hash_collision"] = 0
        if history is not None:
            _find_seen(connection, history)
        if _collisions_exist(connection):
            drops["hash_collision"] = _settle_collisions(connection, annotated, history)
        drops["duplicate"] = number(connection, "SELECT sum(copies - 1) FROM _dedup_winners")
        drops["seen_in_earlier_crawl"] = number(connection, "SELECT count(*) FROM _dedup_seen")
        rows_out = _write_winners(connection, candidates, output, row_group_rows, asked=consent is not None)
    return DedupCounts(rows_in=rows_in, rows_out=rows_out, drops={reason: n for reason, n in drops.items() if n})


def _with_refusals(
    connection: duckdb.DuckDBPyConnection, candidates: str, annotated: str, consent: ConsentOptions
) -> str:
    """Find what pages said of urls; gives SQL of the rows with the reason that this is, where no other holds before."""
    connection.execute(f"""
        CREATE TEMP TABLE _dedup_said AS
        SELECT url, min(list_min(refusing)) AS refused_by,
               nullif(list_sort(list_distinct(flatten(list(passed_over)))), []) AS let_in_despite
        FROM (
            SELECT url, {refusing_sql("page_signals", consent)} AS refusing,
                   {passed_over_sql("page_signals", consent)} AS passed_over
            FROM {candidates} WHERE page_signals IS NOT NULL
        ) GROUP BY url HAVING refused_by IS NOT NULL OR let_in_despite IS NOT NULL""")
    if not number(connection, "SELECT count(refused_by) FROM _dedup_said"):
        return annotated
    return f"""
        SELECT row.* EXCLUDE (removal), coalesce(row.removal, said.refused_by) AS removal
        FROM ({annotated}) AS row LEFT JOIN _dedup_said AS said ON said.url = row.url"""


def _find_winners(connection: duckdb.DuckDBPyConnection, annotated: str) -> dict[str, int]:
    """Find the lowest place and the copies of every pair_id; returns how many rows were removed, by reason."""
    connection.execute(f"""
        CREATE TEMP TABLE _dedup_winners AS
        SELECT pair_id, removal, min({_PLACE}) AS place, count(*)::INTEGER AS copies,
               min(hash(url, text)) AS content, min(hash(url, text)) <> max(hash(url, text)) AS collided
        FROM ({annotated}) GROUP BY pair_id, removal""")
    connection.execute("CREATE TEMP TABLE _dedup_seen (pair_id BIGINT, same BOOLEAN)")
    counted = "SELECT removal, sum(copies) FROM _dedup_winners WHERE removal IS NOT NULL GROUP BY removal"
    reasons = {**REMOVAL_DROPS, **CONSENT_DROPS}
    removed = {reasons[kind]: int(rows) for kind, rows in connection.execute(counted).fetchall()}
    connection.execute("DELETE FROM _dedup_winners WHERE removal IS NOT NULL")
    return removed


def _find_seen(connection: duckdb.DuckDBPyConnection, history: str) -> None:
    """Find the pair ids that earlier crawls have, and whether it is the same pair there."""
    connection.execute(f"""
        INSERT INTO _dedup_seen
        SELECT pair_id, bool_or(content = hash(earlier.url, earlier.text))
        FROM {history} AS earlier JOIN _dedup_winners USING (pair_id) GROUP BY pair_id""")


def _collisions_exist(connection: duckdb.DuckDBPyConnection) -> bool:
    return number(connection, f"SELECT count(*) FROM ({_COLLIDED})") > 0


def _settle_collisions(connection: duckdb.DuckDBPyConnection, annotated: str, history: str | None) -> int:
    """Compare, by (url, text) itself, the rows whose pair_id stands for different pairs; returns how many lose.

    A pair_id is held by the pair that an earlier crawl has under it, otherwise by the pair at the lowest place.
    """
    earlier = "(SELECT NULL::BIGINT AS pair_id, NULL AS url, NULL AS text WHERE false)" if history is None else history
    connection.execute(f"""
        CREATE TEMP TABLE _dedup_settled AS
        WITH pairs AS (
            SELECT pair_id, url, text, min({_PLACE}) AS place, count(*)::INTEGER AS copies
            FROM ({annotated}) WHERE removal IS NULL AND pair_id IN ({_COLLIDED}) GROUP BY pair_id, url, text
        ), held AS (
            SELECT DISTINCT pair_id, url, text, true AS known FROM {earlier} WHERE pair_id IN ({_COLLIDED})
        )
        SELECT pair_id, place, copies, known,
               pair_id IN (SELECT pair_id FROM held) AS seen,
               place = min(place) OVER (PARTITION BY pair_id) AS lowest
        FROM pairs LEFT JOIN held USING (pair_id, url, text)""")
    for table in ("_dedup_winners", "_dedup_seen"):
        connection.execute(f"DELETE FROM {table} WHERE pair_id IN (SELECT pair_id FROM _dedup_settled)")
    holds = "CASE WHEN seen THEN coalesce(known, false) ELSE lowest END"
    connection.execute(f"""
        INSERT INTO _dedup_winners
        SELECT pair_id, NULL, place, copies, 0, false FROM _dedup_settled WHERE {holds}""")
    connection.execute("INSERT INTO _dedup_seen SELECT pair_id, true FROM _dedup_settled WHERE seen AND known")
    return number(connection, f"SELECT sum(copies) FROM _dedup_settled WHERE NOT ({holds})")


def _write_winners(
    connection: duckdb.DuckDBPyConnection, candidates: str, output: Path, row_group_rows: int, *, asked: bool
) -> int:
    despite = ", said.let_in_despite" if asked else ""
    said = "LEFT JOIN _dedup_said AS said ON said.url = candidate.url" if asked else ""
    return number(
        connection,
        f"""
        COPY (
            SELECT candidate.*, winner.copies AS duplicate_count{despite}
            FROM {candidates} AS candidate
            JOIN (FROM _dedup_winners ANTI JOIN _dedup_seen USING (pair_id)) AS winner
              ON candidate.pair_id = winner.pair_id AND {_PLACE} = winner.place
            {said}
            ORDER BY candidate.pair_id
        ) TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {int(row_group_rows)})""",
    )
