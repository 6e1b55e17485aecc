"""What changed between two versions of a table: rows added, removed and changed, by the table's key.

Only partitions whose files differ are compared, one at a time, in an engine that spills. Rows of different partitions
are different rows: what moved from one to another is removed and added.
"""

import os
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import duckdb

from laion_assets.common.duck import identifier
from laion_assets.delta.engine import open_engine
from laion_assets.delta.errors import LakeError
from laion_assets.delta.history import DataFile, LakeHistory, Snapshot, lost
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.delta.staging import StagingFolder

Kind = Literal["added", "removed", "changed"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class PartitionDiff:
    """How many rows of one partition differ."""

    partition: str
    rows: dict[Kind, int]
    changed_columns: dict[str, int]
    """In how many of the changed rows each column differs."""


@dataclass(frozen=True)
class RowDiff:
    """One row that differs."""

    kind: Kind
    partition: str
    key: dict[str, Any]
    old: dict[str, Any]
    """Values before, without the key: of a changed row those that differ. Vectors are left out."""
    new: dict[str, Any]
    """Values after, likewise."""
    vectors: tuple[str, ...] = ()
    """Vectors that differ."""


@dataclass
class TableDiff:
    """What differs between two versions of a table."""

    table: str
    before: int
    after: int
    key: tuple[str, ...]
    """The key that was compared by, without partition columns."""
    compared: tuple[str, ...]
    ignored: tuple[str, ...]
    """Columns that differ by nature, such as times, and were not looked at."""
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    partitions: list[PartitionDiff] = field(default_factory=list)
    """Every partition whose files differ; one whose rows are the same all the same has no rows here."""
    sample: list[RowDiff] = field(default_factory=list)
    """Of each kind the first rows, in the order of partitions and keys."""

    @property
    def rows(self) -> dict[Kind, int]:
        """How many rows differ, by kind."""
        return {kind: sum(part.rows.get(kind, 0) for part in self.partitions) for kind in KINDS}


def diff(
    lake: Lake,
    table: str,
    before: int,
    after: int,
    *,
    key: Sequence[str] | None = None,
    all_columns: bool = False,
    limit: int = 20,
) -> TableDiff:
    """Compare two versions of a table.

    Args:
        lake: the lake.
        table: the table.
        before: the version compared with.
        after: the version that is described.
        key: columns that name a row within its partition; None: the declared key.
        all_columns: also compare the columns that differ by nature.
        limit: rows of each kind to give values of.

    Raises:
        LakeError: there is no such table, version or column; a version was vacuumed away; the key is not known, or
            names several rows.
    """
    history = LakeHistory(lake)
    old, new = history.snapshot(table, before), history.snapshot(table, after)
    if old.partition_by != new.partition_by:
        raise LakeError(
            f"{table} is partitioned by {', '.join(old.partition_by) or 'nothing'} in version {before} and by "
            f"{', '.join(new.partition_by) or 'nothing'} in version {after}: their rows cannot be compared"
        )
    result = _columns(lake, old, new, key, all_columns=all_columns)
    differing = _differing(lake, old, new)
    with StagingFolder(lake.staging / "diff", f"{os.getpid()}-{uuid.uuid4().hex[:12]}") as folder:
        con = open_engine(folder.path / "spill", lake.storage)
        try:
            for partition, files in differing.items():
                _Comparison(con, result, partition, old, new, files).run(limit)
        finally:
            con.close()
            folder.clear()
    return result


def _columns(lake: Lake, old: Snapshot, new: Snapshot, key: Sequence[str] | None, *, all_columns: bool) -> TableDiff:
    """Which columns name a row, which are compared, and which are not."""
    table = old.table
    declared = lake.tables.get(table)
    if key is None and declared is None:
        raise LakeError(f"what names a row of {table} is not declared: say it with --key column,column")
    named = tuple(key if key is not None else declared.key if declared else ())
    common = [f.name for f in new.schema if f.name in old.schema.names]
    unknown = [name for name in named if name not in common]
    if unknown:
        raise LakeError(
            f"the key of {table} names {', '.join(unknown)}, but both versions have only {', '.join(common)}"
        )
    natural = {c.name for c in declared.columns if not c.digested} if declared else set()
    ignored = set() if all_columns else natural - old.vectors - new.vectors
    free = [name for name in common if name not in new.partition_by and name not in named]
    return TableDiff(
        table,
        old.version,
        new.version,
        key=tuple(name for name in named if name not in new.partition_by),
        compared=tuple(name for name in free if name not in ignored),
        ignored=tuple(name for name in free if name in ignored),
        columns_added=tuple(f.name for f in new.schema if f.name not in old.schema.names),
        columns_removed=tuple(f.name for f in old.schema if f.name not in new.schema.names),
    )


def _differing(lake: Lake, old: Snapshot, new: Snapshot) -> dict[str, tuple[list[DataFile], list[DataFile]]]:
    """By partition, the files of both versions, where they are not the same."""
    found: dict[str, tuple[list[DataFile], list[DataFile]]] = {}
    for side, snapshot in enumerate((old, new)):
        for file in snapshot.files:
            found.setdefault(file.partition, ([], []))[side].append(file)
    found = {name: (a, b) for name, (a, b) in sorted(found.items()) if {f.path for f in a} != {f.path for f in b}}
    for side, snapshot in enumerate((old, new)):
        missing = lost(lake, (file for files in found.values() for file in files[side]))
        if missing:
            raise LakeError(
                f"version {snapshot.version} of {snapshot.table} cannot be read any more: {len(missing)} of its files "
                f"were vacuumed away, in {missing[0].partition} for instance"
            )
    return found


class _Comparison:
    """One partition in both versions."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        result: TableDiff,
        partition: str,
        old: Snapshot,
        new: Snapshot,
        files: tuple[list[DataFile], list[DataFile]],
    ) -> None:
        self._con = con
        self._result = result
        self._partition = partition
        self._vectors = old.vectors | new.vectors
        # Where a column has another type now its values are compared as texts.
        self._retyped = {
            f.name for f in new.schema if f.name in old.schema.names and old.schema.field(f.name).type != f.type
        }
        self._old, self._new = self._relations(*files)

    def run(self, limit: int) -> None:
        """Count what differs, and take rows into the sample up to ``limit`` of each kind."""
        for relation, version in ((self._old, self._result.before), (self._new, self._result.after)):
            self._check_key(relation, version)
        self._find()
        counted = self._con.execute("SELECT __kind, count(*) FROM differing GROUP BY ALL").fetchall()
        rows: dict[Kind, int] = dict(counted)
        flags = ", ".join(f"count(*) FILTER (__differs_{n})" for n in range(len(self._result.compared))) or "0"
        changes = self._con.execute(f"SELECT {flags} FROM differing WHERE __kind = 'changed'").fetchone() or ()
        columns = {name: n for name, n in zip(self._result.compared, changes, strict=False) if n}
        self._result.partitions.append(PartitionDiff(self._partition, rows, columns))
        taken = Counter(row.kind for row in self._result.sample)
        for kind in KINDS:
            if rows.get(kind) and taken[kind] < limit:
                self._sample(kind, limit - taken[kind])

    def _relations(self, before: list[DataFile], after: list[DataFile]) -> tuple[str, str]:
        # A side without files has no rows, and the columns of the other.
        first, second = (self._relation(files) if files else None for files in (before, after))
        return first or f"(SELECT * FROM {second} WHERE false)", second or f"(SELECT * FROM {first} WHERE false)"

    def _relation(self, files: list[DataFile]) -> str:
        names = ", ".join(literal(file.path) for file in files)
        source = f"read_parquet([{names}], hive_partitioning = false, union_by_name = true)"
        present = {row[0] for row in self._con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        columns = [self._expression(name, present) for name in (*self._result.key, *self._result.compared)]
        return f"(SELECT {', '.join([*columns, 'true AS __there'])} FROM {source})"

    def _expression(self, name: str, present: set[str]) -> str:
        if name not in present:
            return f"NULL AS {identifier(name)}"
        if name in self._vectors:  # one number in its place: vectors would fill the join
            return f"hash({identifier(name)}) AS {identifier(name)}"
        return f"{identifier(name)}{'::VARCHAR' if name in self._retyped else ''} AS {identifier(name)}"

    def _same_row(self, one: str, other: str) -> str:
        """SQL: whether two aliases stand for the same row. Where the partition is the key, there is but one."""
        columns = [*map(identifier, self._result.key)] or ["__there"]
        return " AND ".join(f"{one}.{c} IS NOT DISTINCT FROM {other}.{c}" for c in columns)

    def _check_key(self, relation: str, version: int) -> None:
        key = ", ".join(map(identifier, self._result.key))
        grouped = f"GROUP BY {key}" if key else ""
        row = self._con.execute(
            f"SELECT {key or 'NULL'}, count(*) FROM {relation} {grouped} HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
        ).fetchone()
        if row is not None:
            shown = ", ".join(f"{c}={v}" for c, v in zip(self._result.key, row, strict=False)) or "its partition"
            raise LakeError(
                f"{shown} names {row[-1]} rows of {self._result.table} [{self._partition}] in version {version}: "
                "rows can only be compared by what names one; say it with --key column,column"
            )

    def _find(self) -> None:
        key = [f"coalesce(a.{c}, b.{c}) AS {c}" for c in map(identifier, self._result.key)]
        flags = [
            f"a.{c} IS DISTINCT FROM b.{c} AS __differs_{n}"
            for n, c in enumerate(map(identifier, self._result.compared))
        ]
        kind = "CASE WHEN a.__there IS NULL THEN 'added' WHEN b.__there IS NULL THEN 'removed' ELSE 'changed' END"
        differs = " OR ".join(["__kind <> 'changed'", *(f"__differs_{n}" for n in range(len(flags)))])
        self._con.execute(f"""
            CREATE OR REPLACE TEMP TABLE differing AS
            SELECT * FROM (
                SELECT {", ".join([*key, f"{kind} AS __kind", *flags])}
                FROM {self._old} AS a FULL JOIN {self._new} AS b ON {self._same_row("a", "b")}
            ) WHERE {differs}""")

    def _sample(self, kind: Kind, most: int) -> None:
        result = self._result
        key = list(map(identifier, result.key))
        order = ", ".join(key) or "1"
        self._con.execute(f"""
            CREATE OR REPLACE TEMP TABLE picked AS
            SELECT *, true AS __there FROM differing WHERE __kind = '{kind}' ORDER BY {order} LIMIT {most}""")
        flags = [f"picked.__differs_{n}" for n in range(len(result.compared))]
        values = [f"{side}.{identifier(c)}" for side in ("a", "b") for c in result.compared]
        found = self._con.execute(f"""
            SELECT {", ".join([*(f"picked.{c}" for c in key), *flags, *values, "true"])} FROM picked
            LEFT JOIN {self._old} AS a ON {self._same_row("picked", "a")}
            LEFT JOIN {self._new} AS b ON {self._same_row("picked", "b")}
            ORDER BY {", ".join(f"picked.{c}" for c in key) or "1"}""").fetchall()
        result.sample += [self._row(kind, row) for row in found]

    def _row(self, kind: Kind, row: tuple[Any, ...]) -> RowDiff:
        """A row of the sample, from its key, a flag for each column, and the columns before and after."""
        compared, width = self._result.compared, len(self._result.compared)
        named, rest = row[: len(self._result.key)], row[len(self._result.key) :]
        differs, before, after = (dict(zip(compared, rest[n * width : (n + 1) * width], strict=True)) for n in range(3))
        shown = [c for c in compared if c not in self._vectors and (kind != "changed" or differs[c])]
        return RowDiff(
            kind,
            self._partition,
            dict(zip(self._result.key, named, strict=True)),
            {c: before[c] for c in shown} if kind != "added" else {},
            {c: after[c] for c in shown} if kind != "removed" else {},
            tuple(c for c in compared if c in self._vectors and differs[c]) if kind == "changed" else (),
        )
