"""What staged rows must satisfy before they are published, and the digest of what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from laion_assets.common.digests import text_digest
from laion_assets.common.duck import records
from laion_assets.delta.errors import CheckOutcome
from laion_assets.delta.relations import relation
from laion_assets.delta.table import Table

_SAMPLE_ROWS = 5

CHECKS = {
    "conservation": "rows in = rows out + every named drop, exactly",
    "not_null": "columns declared so hold no null",
    "unique_key": "the key names one row",
    "accepted_values": "columns with a fixed vocabulary hold nothing else",
}
"""Every check by name; all of them run on the staged rows of every partition of every table."""


@dataclass(frozen=True)
class RowCheck:
    """A check that finds the rows that break it."""

    name: str
    failing: str
    """SQL that selects the rows that break it; those columns are shown as a sample."""
    subject: str
    """What it speaks of, for messages: "nulls in url"."""


def run_check(con: duckdb.DuckDBPyConnection, check: RowCheck) -> CheckOutcome:
    """How many rows break the check, and a sample of them, whatever their number."""
    count = (con.execute(f"SELECT count(*) FROM ({check.failing})").fetchone() or (0,))[0]
    if not count:
        return CheckOutcome(check.name, True, f"no {check.subject}")
    found = con.execute(f"SELECT * FROM ({check.failing}) ORDER BY ALL LIMIT {_SAMPLE_ROWS}")
    return CheckOutcome(check.name, False, f"{check.subject}: {count:,} rows", count, tuple(records(found)))


def validate(
    con: duckdb.DuckDBPyConnection, table: Table, files: list[Path], rows_in: int, drops: Mapping[str, int]
) -> tuple[int, tuple[CheckOutcome, ...]]:
    """Count the staged rows and check them, in bounded memory.

    Returns:
        The number of rows, and one outcome per name in ``CHECKS``.
    """
    rows = relation(table, files)
    count = count_rows(con, table, files)
    free = [c for c in table.columns if c.name not in table.partition_by]
    key = [name for name in table.key if name not in table.partition_by]
    required = [c.name for c in free if not c.nullable]
    vocabularies = [c for c in free if c.accepted]
    outcomes = (
        _conservation(count, rows_in, drops),
        _check(con, rows, "not_null", [f"{name} IS NULL" for name in required], key, required, "nulls"),
        _unique_key(con, key, [name for name in key if name in required], rows),
        _check(
            con,
            rows,
            "accepted_values",
            [f"{c.name} NOT IN {c.accepted!r}" for c in vocabularies],
            key,
            [c.name for c in vocabularies],
            "values outside the vocabulary",
        ),
    )
    return count, outcomes


def count_rows(con: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> int:
    """The number of staged rows."""
    row = con.execute(f"SELECT count(*) FROM {relation(table, files)}").fetchone()
    return int(row[0]) if row else 0


def _conservation(count: int, rows_in: int, drops: Mapping[str, int]) -> CheckOutcome:
    dropped = sum(drops.values())
    seen = f"{rows_in} in, {count} out, {dropped} dropped {dict(sorted(drops.items()))}"
    missing = rows_in - count - dropped
    if missing:
        seen += f": {abs(missing)} rows {'lost' if missing > 0 else 'too many'}"
    return CheckOutcome("conservation", missing == 0, seen, abs(missing))


def _check(
    con: duckdb.DuckDBPyConnection,
    rows: str,
    name: str,
    conditions: list[str],
    key: list[str],
    columns: list[str],
    subject: str,
) -> CheckOutcome:
    """One check over several columns: which of them, how many rows, and a sample of those rows."""
    if not conditions:
        return CheckOutcome(name, True, f"no {subject}")
    sums = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
    found = con.execute(f"SELECT {sums} FROM {rows}").fetchone() or ()
    faults = {column: n for column, n in zip(columns, found, strict=True) if n}
    if not faults:
        return CheckOutcome(name, True, f"no {subject}")
    broken = " OR ".join(c for c, column in zip(conditions, columns, strict=True) if column in faults)
    shown = ", ".join(dict.fromkeys([*key, *faults]))
    outcome = run_check(con, RowCheck(name, f"SELECT {shown} FROM {rows} WHERE {broken}", subject))
    return CheckOutcome(name, False, f"{subject} by column: {faults}", outcome.failing, outcome.sample)


def _unique_key(con: duckdb.DuckDBPyConnection, key: list[str], known: list[str], rows: str) -> CheckOutcome:
    if not key:  # the partition is the key
        count = (con.execute(f"SELECT count(*) FROM {rows}").fetchone() or (0,))[0]
        return CheckOutcome("unique_key", count <= 1, f"{count} rows for one key", max(count - 1, 0))
    names = ", ".join(key)
    return run_check(con, RowCheck("unique_key", repeated_rows(rows, key, known), f"repeated ({names})"))


def repeated_rows(rows: str, key: Sequence[str], known: Sequence[str] | None = None) -> str:
    """SQL that selects each key that names several rows of ``rows``, with their number; nulls are no key.

    Args:
        rows: a relation.
        key: the columns of the key.
        known: those of them in which nulls are no key; None: all. In the others a null is a value like others.
    """
    names = ", ".join(key)
    there = " AND ".join(f"{name} IS NOT NULL" for name in (key if known is None else known)) or "true"
    return f"SELECT {names}, count(*) AS copies FROM {rows} WHERE {there} GROUP BY {names} HAVING count(*) > 1"


def content_digest(con: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> str:
    """A digest of the rows, whatever their order: 32 hex digits.

    The sum over rows of the lower half of MD5 over the digested columns, with the count. MD5 and the textual form of
    integers, strings and booleans do not change between engine versions as an engine's own hash function may. Columns
    that came later count, with their names, where some row has a value.
    """
    rows = relation(table, files)
    counted = [c for c in table.columns if c.digested and c.name not in table.partition_by]
    added = _with_values(con, rows, [c.name for c in counted if c.added])
    values = [f"coalesce({c.name}::VARCHAR, chr(30))" for c in counted if not c.added or c.name in added]
    row = f"concat_ws(chr(31), {', '.join(values)})" if values else "''"
    total = con.execute(f"SELECT count(*), sum(md5_number_lower({row})::HUGEINT) FROM {rows}").fetchone()
    return text_digest(repr((total, added) if added else total), digits=32)


def _with_values(con: duckdb.DuckDBPyConnection, rows: str, columns: list[str]) -> list[str]:
    """Those of the columns in which some row has a value."""
    if not columns:
        return []
    counts = con.execute(f"SELECT {', '.join(f'count({name})' for name in columns)} FROM {rows}").fetchone() or ()
    return [name for name, count in zip(columns, counts, strict=True) if count]
