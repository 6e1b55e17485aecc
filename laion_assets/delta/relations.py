"""SQL over Parquet files of a table, staged or published."""

from pathlib import Path

import pyarrow as pa

from laion_assets.delta.partition import literal
from laion_assets.delta.table import Table


def relation(table: Table, files: list[Path]) -> str:
    """SQL over the staged files: a relation with the columns the partition does not fix."""
    columns = table.staged_schema
    if not files:
        nulls = ", ".join(f"NULL::{duckdb_type(str(f.type))} AS {f.name}" for f in columns)
        return f"(SELECT {nulls} WHERE false)"
    names = ", ".join(literal(str(file)) for file in files)
    return f"(SELECT {', '.join(columns.names)} FROM read_parquet([{names}], hive_partitioning = false))"


def hive_relation(declared: Table, files: list[str]) -> str:
    """SQL over data files of a table, its partition columns read from their paths; no rows where there are no files."""
    types = {c: "INTEGER" if declared.column(c).type == pa.int32() else "VARCHAR" for c in declared.partition_by}
    if not files:
        fixed = [f"NULL::{type_} AS {column}" for column, type_ in types.items()]
        return f"(SELECT {', '.join([*fixed, '*'])} FROM {relation(declared, [])})"
    names = ", ".join(literal(file) for file in files)
    if not types:
        return f"read_parquet([{names}], hive_partitioning = false)"
    told = ", ".join(f"{literal(column)}: {type_}" for column, type_ in types.items())
    return f"read_parquet([{names}], hive_partitioning = true, hive_types = {{{told}}})"


def duckdb_type(arrow: str) -> str:
    """DuckDB's name of an Arrow type, given as Arrow writes it."""
    names = {
        "string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
        "bool": "BOOLEAN", "timestamp[us, tz=UTC]": "TIMESTAMPTZ", "date32[day]": "DATE", "binary": "BLOB",
    }  # fmt: skip
    if arrow.startswith("list<"):
        return duckdb_type(arrow.split(": ", 1)[1].rstrip(">").strip()) + "[]"
    if arrow.startswith("map<"):
        key, value = arrow.removeprefix("map<").rstrip(">").split(",")[:2]
        return f"MAP({duckdb_type(key.strip())}, {duckdb_type(value.strip())})"
    return names[arrow]
