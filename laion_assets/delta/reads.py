"""What goes into a partition: tables at pinned versions, partition by partition, each as its last commit left it."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from laion_assets.delta.commits import Commit, Ledger, UpstreamRead, combined_digest
from laion_assets.delta.engine import memory_limit_bytes, open_engine
from laion_assets.delta.errors import LakeError, UpstreamMissing, UpstreamNotValidated, UpstreamTestsFailed
from laion_assets.delta.history import LakeHistory, lost
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, ordered, partition_name
from laion_assets.delta.relations import hive_relation


class PinnedReads:
    """The reads of whoever builds one partition; no table moves while it goes on.

    Args:
        lake: the lake.
        table: the table that is built.
        partition: its partition.
        spill: a folder for what does not fit in memory.
    """

    def __init__(self, lake: Lake, table: str, partition: Partition, spill: Path) -> None:
        self.lake = lake
        self.table = lake.tables[table]
        self.partition = ordered(self.table, partition)
        self._spill = spill
        self._pinned: dict[str, Ledger] = {}
        self._earlier: set[str] = set()
        self._digests: dict[str, dict[str, str]] = {}
        self.read: dict[str, set[str]] = {}
        """By table, the names of the partitions that were read."""
        self.engine_bytes = memory_limit_bytes()
        """What DuckDB may hold before it spills; settled once :attr:`con` is first used."""
        self._con: duckdb.DuckDBPyConnection | None = None

    @property
    def name(self) -> str:
        """The partition's canonical name."""
        return partition_name(self.partition)

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection that everything is read in."""
        if self._con is None:
            self._con = open_engine(self._spill, self.lake.storage, memory_bytes=self.engine_bytes)
        return self._con

    def close(self) -> None:
        """Give the connection's memory back."""
        if self._con is not None:
            self._con.close()
            self._con = None

    @property
    def upstreams(self) -> dict[str, UpstreamRead]:
        """By table, what went into the partition so far, as its commit records it."""
        return {
            table: UpstreamRead(self._pinned[table].version, combined_digest(read.items()), len(read))
            for table, read in self._digests.items()
        }

    def commits(self, table: str, partitions: Sequence[Partition], *, lineage: bool = True) -> list[Commit]:
        """The last commit of each of these partitions of ``table``, at the version this build pinned.

        Args:
            table: what to read.
            partitions: which partitions; each must have been built, and its last write validated.
            lineage: record the read as an upstream of this partition. False only for what is no input in the sense
                of staleness: the partition's own earlier rows.

        Raises:
            UpstreamMissing: a partition was never built.
            UpstreamNotValidated: its last write did not come from here, or was not validated.
            UpstreamTestsFailed: its declaration has a reason against it: a test failed when it was run last.
        """
        ledger = self.pinned(table)
        read = self._digests.setdefault(table, {}) if lineage else {}
        found: list[Commit] = []
        for partition in partitions:
            name = partition_name(ordered(self.lake.tables[table], partition))
            commit = ledger.commits.get(name)
            if commit is None:
                raise UpstreamMissing(f"{table} [{name}] has not been built, and {self.table.name} needs it")
            if name in ledger.damaged and (lineage or not ledger.has_sound_rows(commit)):
                raise UpstreamNotValidated(
                    f"{table} [{name}] is damaged, as `laion verify` found: "
                    f"{self.lake.catalogue.remake(table, name)}, then this one"
                )
            if not ledger.is_validated(commit):
                raise UpstreamNotValidated(
                    f"{table} [{name}] was last written without validation (foreign write in version "
                    f"{ledger.foreign_version}): build that partition again, then this one"
                )
            refusal = self.lake.tables[table].refusal
            if lineage and refusal is not None and not self._is_replaced(table, commit):
                self.refuse(table, partition, refusal(self.lake.commit, partition, commit.content_digest))
            read[name] = commit.content_digest
            self.read.setdefault(table, set()).add(name)
            found.append(commit)
        return found

    def pinned(self, table: str) -> Ledger:
        """The commits of ``table`` at the version that this build reads it at."""
        return self._pinned.setdefault(table, self.lake.ledger(table).snapshot())

    def pin(self, table: str, version: int, *, instead: str) -> None:
        """Read ``table`` as it was at an earlier version.

        Args:
            table: what to read.
            version: of it.
            instead: what to do where it cannot be read any more.

        Raises:
            LakeError: there is no such version, or its files were removed.
        """
        self._pinned[table] = self.lake.ledger_at(table, version)
        gone = lost(self.lake, LakeHistory(self.lake).snapshot(table, version).files) if version >= 0 else []
        if gone:
            raise LakeError(
                f"version {version} of {table} cannot be read any more: {len(gone)} of its files were removed, as "
                f"`laion gc` removes what nothing pins; {instead}"
            )
        self._earlier.add(table)

    def _is_replaced(self, table: str, commit: Commit) -> bool:
        """Whether a commit is of a version that was asked for and has given way since.

        Verdicts speak of the rows that are there now; these had passed their tests when they were published.
        """
        return table in self._earlier and self.lake.ledger(table).commits.get(commit.partition) != commit

    @property
    def read_versions(self) -> dict[str, int]:
        """The version of every table that went into the partition so far."""
        return {table: self._pinned[table].version for table in self._digests}

    def files(self, table: str, partitions: Sequence[Partition], *, lineage: bool = True) -> list[str]:
        """Parquet files of exactly these partitions of ``table``, at the version this build pinned: see `commits`."""
        self.commits(table, partitions, lineage=lineage)
        return self.lake.partition_files(table, partitions, self._pinned[table].version) if partitions else []

    def refuse(self, source: str, partition: Partition, why: str | None) -> None:
        """Go no further on what must not be built on.

        Args:
            source: what is read.
            partition: which partition of it.
            why: what speaks against it, as the end of a sentence that begins with it; None where nothing does.

        Raises:
            UpstreamTestsFailed: something does.
        """
        if why is not None:
            raise UpstreamTestsFailed(f"{self.table.name} is built on {source} [{partition_name(partition)}], {why}")

    def view(
        self,
        view: str,
        table: str,
        partitions: Sequence[Partition],
        *,
        columns: Sequence[str] = ("*",),
        where: str = "true",
        lineage: bool = True,
    ) -> None:
        """Make ``view`` in :attr:`con` over exactly these partitions of ``table``; see :meth:`files`."""
        files = self.files(table, partitions, lineage=lineage)
        declared = self.lake.tables[table]
        # Named, for the partition's columns stand last in files and first where there are none.
        every = tuple(f'"{column.name}"' for column in declared.columns)
        selected = ", ".join(every if tuple(columns) == ("*",) else columns)
        rows = hive_relation(declared, files, asked=f"{selected} {where}")
        self.con.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT {selected} FROM {rows} WHERE {where}")

    def own_earlier_rows(self, view: str, *, columns: Sequence[str] = ("*",)) -> None:
        """Make ``view`` over what this very partition holds now: empty where it was never built, or is damaged."""
        ledger = self.pinned(self.table.name)
        rows = [self.partition] if self.name in ledger.commits and self.name not in ledger.damaged else []
        self.view(view, self.table.name, rows, columns=columns, lineage=False)
