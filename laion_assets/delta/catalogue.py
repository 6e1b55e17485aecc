"""The tables that lakes are made of, given when a lake is opened, and what follows from all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from laion_assets.delta.partition import partition_values
from laion_assets.delta.table import Column, Table


@dataclass(frozen=True)
class Catalogue:
    """The declared tables, in the order in which data flows."""

    tables: Mapping[str, Table]
    others: str = "build it again"
    """What makes a partition of any other ``{table}`` again, for people."""
    periods_entered: str | None = None
    """The table by which people enter periods; its commits say where they stand among the others: see ``periods``."""

    @cached_property
    def period(self) -> str | None:
        """The column of periods; None where there is none."""
        return next((column.name for column in self._columns if column.is_period), None)

    @cached_property
    def counts(self) -> Mapping[str, str]:
        """By column that spreads rows over numbers, what a lake calls how many there are."""
        return {column.name: column.numbered.count for column in self._columns if column.numbered is not None}

    @cached_property
    def shape(self) -> tuple[str, ...]:
        """The numbers that are fixed when a lake is made."""
        return tuple(dict.fromkeys(self.counts.values()))

    @cached_property
    def by_period(self) -> tuple[str, ...]:
        """The tables that are built period by period."""
        return tuple(
            name for name, table in self.tables.items() if self.period in table.partition_by and not table.entered
        )

    @cached_property
    def key_numbers(self) -> frozenset[str]:
        """The whole numbers among the keys of tables: rows are looked for by them."""
        keys = {name for table in self.tables.values() for name in table.key}
        return frozenset(c.name for c in self._columns if c.name in keys and pa.types.is_integer(c.type))

    def place(self, table: str) -> tuple[int, str]:
        """Sorts tables in the order in which data flows; those that are not declared come last, by name."""
        return (self._order.get(table, len(self._order)), table)

    def partition(self, name: str) -> dict[str, str | int]:
        """The partition that ``partition_name`` named."""
        return {key: int(value) if key in self.counts else value for key, value in partition_values(name).items()}

    def period_of(self, partition: str) -> str | None:
        """The period that a partition of this name belongs to; None where it is of no period."""
        return partition_values(partition).get(self.period) if self.period is not None else None

    def numbers_of(self, partition: str) -> tuple[str, ...]:
        """The numbers of a partition of this name: its share of the rows, which is the same in every period."""
        return tuple(value for key, value in partition_values(partition).items() if key in self.counts)

    def is_entered(self, table: str) -> bool:
        """Whether people enter the rows of a table, so that no build makes them again."""
        return table in self.tables and bool(self.tables[table].entered)

    def remake(self, table: str, partition: str = "") -> str:
        """What makes a partition again, or all of a table, for people."""
        if table not in self.tables:
            return self.others.format(table=table)
        declared, values = self.tables[table], partition_values(partition)
        told = declared.remake if values or not declared.remake_whole else declared.remake_whole
        return told.format(**{column: column.upper() for column in declared.partition_by} | dict(values))

    @cached_property
    def _order(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.tables)}

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        return tuple(column for table in self.tables.values() for column in table.columns)
