"""How a table is declared: columns with types and meanings, key, partitions, what it is built from.

One declaration gives the Delta schema, the validation before every commit, the content digest, Dagster's column
metadata, its edges, staleness and the table reference. The declarations themselves are given to a lake when it is
opened.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """That a column holds numbers from 0 on, as many as the lake was made with: rows are spread over them."""

    count: str
    """What the lake calls how many there are; fixed when it is made."""
    of: str
    """The column whose remainder it is, where a table has that."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its Arrow type, meaning, and what every row of it must satisfy."""

    name: str
    type: pa.DataType
    description: str
    nullable: bool = False
    accepted: tuple[str, ...] = ()
    digested: bool = True
    """Whether the column counts as content. Where bytes lie and when they came does not: nothing built on the
    partition changes with it. Vectors do not either: the similarity beside them speaks for them."""
    names_file: bool = False
    """Whether it names a file beside the tables, below the lake's folder, which stays while a row names it."""
    file_sha256: str | None = None
    """The column that has the SHA-256 of the file that this one names, where there is one."""
    is_period: bool = False
    """Whether its values are periods, one after the other in the order of their names: tables that are partitioned by
    it grow period by period, and may be built on what earlier periods left."""
    numbered: Numbered | None = None
    """How its numbers come about, if it spreads rows over a fixed number of partitions."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """One table that goes into another, and of which periods. See ``flow`` for the partitions this comes to."""

    table: str
    periods: Literal["same", "earlier", "all"] = "same"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One Delta table of the lake."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    """Sort order of the rows inside a partition's files; empty: the order in which they were staged."""

    model: bool = False
    """Whether a SQL model's query fills it: then its own tests take the place of the checks of staged rows."""
    pins_sources: bool = False
    """Whether what it was made from stays readable at the versions that were read, so that it can be made again."""

    code_version: str = ""
    """Raise it when the rows would come out differently: every partition built before becomes stale."""
    reads: tuple[Read, ...] = ()
    """What it is built from."""
    group: str = ""
    """Where the graph shows it."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with every column's meaning as the ``comment`` Delta readers show."""
        return pa.schema(
            [pa.field(c.name, c.type, c.nullable, metadata={"comment": c.description.encode()}) for c in self.columns]
        )

    @property
    def staged_schema(self) -> pa.Schema:
        """The schema of staged rows: all columns but those that the partition fixes."""
        return pa.schema([pa.field(c.name, c.type) for c in self.columns if c.name not in self.partition_by])

    def column(self, name: str) -> Column:
        """The declaration of the column called ``name``."""
        return next(c for c in self.columns if c.name == name)

    def read(self, table: str, periods: str | None = None) -> Read:
        """The declared read of ``table``: of ``periods`` where it is read in several ways, the first otherwise."""
        return next(r for r in self.reads if r.table == table and periods in (None, r.periods))
