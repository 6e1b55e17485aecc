"""What staged rows must satisfy before they are published, and the digest of what they say."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import duckdb

from laion_assets.lake.catalogue import Table
from laion_assets.lake.errors import CheckOutcome

CHECKS = {
    "conservation": "rows in = rows out + every named drop, exactly",
    "not_null": "columns declared so hold no null",
    "unique_key": "the key names one row",
    "accepted_values": "columns with a fixed vocabulary hold nothing else",
}
"""Every check by name; all of them run on the staged rows of every partition of every table."""


def relation(table: Table, files: list[Path]) -> str:
    """SQL over the staged files: a relation with the columns the partition does not fix."""
    columns = table.staged_schema
    if not files:
        nulls = ", ".join(f"NULL::{_duckdb_type(str(f.type))} AS {f.name}" for f in columns)
        return f"(SELECT {nulls} WHERE false)"
    names = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
    return f"(SELECT {', '.join(columns.names)} FROM read_parquet([{names}], hive_partitioning = false))"


def validate(
    con: duckdb.DuckDBPyConnection, table: Table, files: list[Path], rows_in: int, drops: Mapping[str, int]
) -> tuple[int, tuple[CheckOutcome, ...]]:
    """Count the staged rows and check them, in bounded memory.

    Returns:
        The number of rows, and one outcome per name in ``CHECKS``.
    """
    rows = relation(table, files)
    free = [c for c in table.columns if c.name not in table.partition_by]
    required = [c.name for c in free if not c.nullable]
    vocabularies = [c for c in free if c.accepted]
    sums = [f"count(*) FILTER ({name} IS NULL)" for name in required]
    sums += [f"count(*) FILTER ({c.name} NOT IN {c.accepted!r})" for c in vocabularies]
    count, *faults = con.execute(f"SELECT {', '.join(['count(*)', *sums])} FROM {rows}").fetchone() or (0,)
    nulls = {name: n for name, n in zip(required, faults, strict=False) if n}
    strangers = {c.name: n for c, n in zip(vocabularies, faults[len(required) :], strict=True) if n}
    outcomes = (
        _conservation(count, rows_in, drops),
        CheckOutcome("not_null", not nulls, f"nulls by column: {nulls}" if nulls else "no nulls"),
        _unique_key(con, table, rows),
        CheckOutcome(
            "accepted_values",
            not strangers,
            f"rows with a value outside the vocabulary: {strangers}" if strangers else "all values accepted",
        ),
    )
    return count, outcomes


def _conservation(count: int, rows_in: int, drops: Mapping[str, int]) -> CheckOutcome:
    dropped = sum(drops.values())
    seen = f"{rows_in} in, {count} out, {dropped} dropped {dict(sorted(drops.items()))}"
    missing = rows_in - count - dropped
    if missing:
        seen += f": {abs(missing)} rows {'lost' if missing > 0 else 'too many'}"
    return CheckOutcome("conservation", missing == 0, seen)


def _unique_key(con: duckdb.DuckDBPyConnection, table: Table, rows: str) -> CheckOutcome:
    key = [name for name in table.key if name not in table.partition_by]
    if not key:  # the partition is the key
        count = con.execute(f"SELECT count(*) FROM {rows}").fetchone()
        return CheckOutcome(
            "unique_key", count is None or count[0] <= 1, f"{count[0] if count else 0} rows for one key"
        )
    names = ", ".join(key)
    repeated = con.execute(
        f"SELECT {names}, count(*) AS copies FROM {rows} GROUP BY {names} HAVING copies > 1 ORDER BY {names} LIMIT 5"
    ).fetchall()
    shown = f"({names}, copies), the first of them: {repeated}"
    return CheckOutcome("unique_key", not repeated, f"repeated {shown}" if repeated else f"({names}) is unique")


def content_digest(con: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> str:
    """A digest of the rows, whatever their order: 32 hex digits.

    The sum over rows of the lower half of MD5 over the digested columns, with the count. MD5 and the textual form of
    integers, strings and booleans do not change between engine versions as an engine's own hash function may.
    """
    values = [
        f"coalesce({c.name}::VARCHAR, chr(30))"
        for c in table.columns
        if c.digested and c.name not in table.partition_by
    ]
    row = f"concat_ws(chr(31), {', '.join(values)})" if values else "''"
    total = con.execute(
        f"SELECT count(*), sum(md5_number_lower({row})::HUGEINT) FROM {relation(table, files)}"
    ).fetchone()
    return hashlib.sha256(repr(total).encode()).hexdigest()[:32]


def _duckdb_type(arrow: str) -> str:
    names = {
        "string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
        "bool": "BOOLEAN", "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    }  # fmt: skip
    if arrow.startswith("list<"):
        return _duckdb_type(arrow.split(": ", 1)[1].rstrip(">").strip()) + "[]"
    if arrow.startswith("map<"):
        key, value = arrow.removeprefix("map<").rstrip(">").split(",")[:2]
        return f"MAP({_duckdb_type(key.strip())}, {_duckdb_type(value.strip())})"
    return names[arrow]
