"""A partition as a value, ``{"month": "2026-04", "part": 3}``: names, predicates and filters of it."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from laion_assets.delta.errors import LakeError
from laion_assets.delta.table import Table

WHOLE = "all"
"""The name of the one partition of a table without partition columns."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Partition: TypeAlias = Mapping[str, str | int]


def partition_name(partition: Partition) -> str:
    """The canonical name, ``month=2026-04/part=3``: the key of commits, staging folders and messages."""
    return "/".join(f"{column}={value}" for column, value in partition.items()) or WHOLE


def ordered(table: Table, partition: Partition) -> dict[str, str | int]:
    """The partition with its columns in the table's order.

    Raises:
        LakeError: if it does not name exactly the partition columns. Such a write would touch other partitions.
    """
    if set(partition) != set(table.partition_by):
        raise LakeError(
            f"{table.name} is partitioned by {table.partition_by}, but a write named {tuple(partition)}: "
            "only one whole partition can be written"
        )
    for column, value in partition.items():
        accepted = table.column(column).accepted
        if accepted and value not in accepted:
            raise LakeError(f"{column} of {table.name} must be one of {', '.join(accepted)}, not {value!r}")
        if isinstance(value, str) and _NAME.fullmatch(value) is None:
            raise LakeError(
                f"{value!r} cannot name a partition of {table.name}: letters, digits and . _ - can, up to 100 of them, "
                "a letter or digit first"
            )
    return {column: partition[column] for column in table.partition_by}


def literal(value: str | int) -> str:
    """The value as an SQL literal."""
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def predicate(partition: Partition) -> str:
    """The SQL predicate that selects exactly this partition; ``true`` where it is the whole table."""
    return " AND ".join(f"{column} = {literal(value)}" for column, value in partition.items()) or "true"


@lru_cache(maxsize=100_000)
def partition_values(name: str) -> Mapping[str, str]:
    """The values in a partition's name, as texts; none for a table without partition columns."""
    return dict(item.split("=", 1) for item in name.split("/") if "=" in item)
