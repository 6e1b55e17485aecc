"""Which DuckDB types a model's columns may have, and as what they are stored."""

import re

import pyarrow as pa

_SCALARS: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}
_WIDENED = {
    "TINYINT": "INTEGER", "SMALLINT": "INTEGER", "UTINYINT": "INTEGER", "USMALLINT": "INTEGER", "UINTEGER": "BIGINT",
    "UBIGINT": "BIGINT", "HUGEINT": "BIGINT", "UHUGEINT": "BIGINT", "UUID": "VARCHAR",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S": "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP_MS": "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip
_ITEM = re.compile(r"(.*)\[\d*\]")


def stored_type(name: str) -> str | None:
    """The DuckDB type as which a column is kept in a Delta table; None where it cannot be kept.

    Whole numbers too large for Delta become BIGINT and decimals DOUBLE, times are UTC, arrays lose their fixed length.
    """
    item = _ITEM.fullmatch(name)
    if item is not None:
        inner = stored_type(item[1])
        return f"{inner}[]" if inner else None
    if name.startswith(("ENUM(", "VARCHAR")):
        return "VARCHAR"
    if name.startswith("DECIMAL("):
        return "DOUBLE"
    name = _WIDENED.get(name, name)
    return name if name in _SCALARS else None


def arrow_type(stored: str) -> pa.DataType:
    """The Arrow type of a stored type."""
    return pa.list_(arrow_type(stored.removesuffix("[]"))) if stored.endswith("[]") else _SCALARS[stored]
