"""SQL over Parquet files of a table, staged or published."""

from pathlib import Path

import pyarrow as pa

from laion_assets.delta.partition import literal
from laion_assets.delta.table import Table


def relation(table: Table, files: list[Path]) -> str:
    """SQL over the staged files: a relation with the columns the partition does not fix."""
    columns = table.staged_schema
    if not files:
        nulls = ", ".join(f"NULL::{duckdb_type(f.type)} AS {f.name}" for f in columns)
        return f"(SELECT {nulls} WHERE false)"
    rows = with_added(table, _parquet([str(file) for file in files], "hive_partitioning = false", table))
    return f"(SELECT {', '.join(columns.names)} FROM {rows})"


def hive_relation(declared: Table, files: list[str], *, asked: str = "*") -> str:
    """SQL over data files of a table, its partition columns read from their paths; no rows where there are no files.

    Args:
        declared: the table.
        files: the files, also of versions that lacked columns.
        asked: the SQL that will name columns of it: where it names none that came later, none has to be looked for.
    """
    types = {c: "INTEGER" if declared.column(c).type == pa.int32() else "VARCHAR" for c in declared.partition_by}
    if not files:
        fixed = [f"NULL::{type_} AS {column}" for column, type_ in types.items()]
        return f"(SELECT {', '.join([*fixed, '*'])} FROM {relation(declared, [])})"
    told = ", ".join(f"{literal(column)}: {type_}" for column, type_ in types.items())
    how = f"hive_partitioning = true, hive_types = {{{told}}}" if types else "hive_partitioning = false"
    names_added = asked == "*" or any(column.name in asked for column in declared.columns if column.added)
    rows = _parquet(files, how, declared if names_added else None)
    return with_added(declared, rows) if names_added else rows


def with_added(declared: Table, rows: str) -> str:
    """SQL over rows of a table, with nulls for columns that came later than these rows, in an order of its own."""
    nulls = ", ".join(f"NULL::{duckdb_type(c.type)} AS {c.name}" for c in declared.columns if c.added)
    return f"(SELECT {nulls} WHERE false UNION ALL BY NAME FROM {rows})" if nulls else rows


def _parquet(files: list[str], how: str, declared: Table | None) -> str:
    """SQL over Parquet files; by name where some may lack columns that came later."""
    by_name = ", union_by_name = true" if declared is not None and any(c.added for c in declared.columns) else ""
    return f"read_parquet([{', '.join(map(literal, files))}], {how}{by_name})"


def duckdb_type(type_: pa.DataType) -> str:
    """DuckDB's name of an Arrow type."""
    if pa.types.is_list(type_):
        return f"{duckdb_type(type_.value_type)}[]"
    if pa.types.is_map(type_):
        return f"MAP({duckdb_type(type_.key_type)}, {duckdb_type(type_.item_type)})"
    if pa.types.is_struct(type_):
        fields = [f'"{field.name}" {duckdb_type(field.type)}' for field in type_]
        return f"STRUCT({', '.join(fields)})"
    return _NAMES[str(type_)]


_NAMES = {
    "string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
    "bool": "BOOLEAN", "timestamp[us, tz=UTC]": "TIMESTAMPTZ", "date32[day]": "DATE", "binary": "BLOB",
}  # fmt: skip
