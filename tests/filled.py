"""Tables of a lake filled with plausible rows, for tests that read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from laion_assets.delta.lake import Lake
from laion_assets.delta.table import Table
from laion_assets.tables.catalogue import TABLES


def rows_of(table: Table, count: int, **columns: Sequence[Any]) -> pa.Table:
    """``count`` rows in the table's schema: the given columns, and in the others something of their type."""
    found = {}
    for column in table.columns:
        values = columns.get(column.name, [_some(column.type, column.accepted, n) for n in range(count)])
        found[column.name] = pa.array(values, column.type)
    return pa.table(found, schema=table.schema)


def fill(lake: Lake, name: str, count: int, **columns: Sequence[Any]) -> None:
    """Commit ``count`` rows to a table of the lake, past the checks that a build makes."""
    write_deltalake(lake.table(name), rows_of(TABLES[name], count, **columns), mode="append")


def _some(type_: pa.DataType, accepted: tuple[str, ...], n: int) -> Any:
    if accepted:
        return accepted[n % len(accepted)]
    if pa.types.is_string(type_):
        return f"text {n}"
    if pa.types.is_boolean(type_):
        return n % 2 == 0
    if pa.types.is_integer(type_):
        return n
    if pa.types.is_floating(type_):
        return n / 4
    if pa.types.is_timestamp(type_):
        return datetime(2026, 1, 1, tzinfo=UTC)
    if pa.types.is_binary(type_):
        return b"%d" % n
    if pa.types.is_map(type_):
        return [("rows", n)]
    if pa.types.is_struct(type_):
        return {field.name: _some(field.type, (), n) for field in type_}
    assert pa.types.is_list(type_), type_
    return [_some(type_.value_type, (), n + m) for m in range(4)]
