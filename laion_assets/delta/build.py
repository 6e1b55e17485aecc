"""One partition being built: pinned reads, staged rows, counted drops, one validated commit.

This is the only way rows get into a table::

    with lake_build(lake, "orders", {"month": month, "part": 3}, provenance) as build:
        build.view("lines", "order_lines", partitions, where="part = 3")
        ...
        build.rows_in += ...
        build.drop("duplicate", n)
        build.add(frame)
        commit = build.publish()
"""

import logging
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa

from laion_assets.common.digests import file_sha256
from laion_assets.delta.commits import Commit, Provenance
from laion_assets.delta.cost import CPU, Meter
from laion_assets.delta.damage import damage_in
from laion_assets.delta.errors import CheckOutcome, LakeError, ValidationFailed
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, ordered, partition_name
from laion_assets.delta.publishing import publishing
from laion_assets.delta.reads import PinnedReads
from laion_assets.delta.relations import relation
from laion_assets.delta.seals import Bytes, write_seal
from laion_assets.delta.staging import Part, StagingFolder, staging_of
from laion_assets.delta.validation import content_digest, count_rows, validate
from laion_assets.delta.writing import in_order, write_partition

_log = logging.getLogger(__name__)


class PartitionBuild(PinnedReads):
    """Reads, rows and counts of one partition on its way to a commit. Made by :func:`lake_build`."""

    def __init__(self, lake: Lake, table: str, partition: Partition, provenance: Provenance, folder: StagingFolder):
        super().__init__(lake, table, partition, folder.path / "spill")
        self.provenance = provenance
        self.folder = folder
        self.rows_in = 0
        self.drops: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.checks: tuple[CheckOutcome, ...] = ()
        self.device = CPU
        """Name of the accelerator that does the work; whoever knows it says so."""
        self._meter = Meter()
        self._adopted: list[Path] = []
        self._part: Part | None = None
        self._digest: str | None = None
        self._beside: dict[str, Bytes] = {}
        self._resumable = ExitStack()
        self._resumables: list[StagingFolder] = []

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows to stage: the table's, without its partition columns."""
        return self.table.staged_schema

    # -- staging -------------------------------------------------------------------------------------------------

    def resumable(self, work: str) -> StagingFolder:
        """A folder whose finished parts outlive this process until the partition is published.

        Args:
            work: digest of everything the parts depend on. The same ``work`` after a kill finds them again.

        Raises:
            PartitionBusy: another process is at this partition, with the same inputs or with others: what is worth
                resuming is not worth paying for twice.
        """
        if not self._resumables:
            self._resumable.enter_context(StagingFolder(self.folder.path.parent, "resuming"))
        folder = self._resumable.enter_context(StagingFolder(self.folder.path.parent, work))
        self._resumables.append(folder)
        return folder

    def add(self, frame: pl.DataFrame) -> None:
        """Stage rows, columns by name. The partition columns may be absent: the partition fixes them."""
        if self._part is None:
            self._part = self.folder.part("rows", self.schema)
        self._part.append(self.completed(frame))

    def completed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows with nulls for the columns that came later, where they have none of them."""
        lacking = [c.name for c in self.table.columns if c.added and c.name not in frame.columns]
        return frame.with_columns(pl.lit(None).alias(name) for name in lacking)

    def adopt(self, files: Iterable[Path]) -> None:
        """Count Parquet files that a library wrote as staged rows. They must have the staged columns."""
        self._adopted += list(files)

    def staged(self) -> str:
        """SQL over all rows staged so far, for :attr:`con`. No more rows can be added after."""
        self._finish_part()
        return relation(self.table, self._adopted)

    def staged_digest(self) -> str:
        """The content digest of all rows staged so far. No more rows can be added after."""
        self._finish_part()
        if self._digest is None:
            self._digest = content_digest(self.con, self.table, self._adopted)
        return self._digest

    def publish_file(self, local: Path, name: str) -> None:
        """Let a finished file of this machine appear in the lake, for rows to name; see :meth:`Storage.publish`."""
        found = Bytes(local.stat().st_size, file_sha256(local))
        self.lake.storage.publish(local, name)
        self._beside[name] = found

    def drop(self, reason: str, rows: int = 1) -> None:
        """Count rows that went no further, by reason."""
        if rows:
            self.drops[reason] += rows

    def drop_all(self, drops: Mapping[str, int]) -> None:
        """Count what a library dropped, by its reasons."""
        for reason, rows in drops.items():
            self.drop(reason, rows)

    # -- publishing ----------------------------------------------------------------------------------------------

    @publishing()
    def publish(self, *, row_groups: int | None = None, only_over_read: bool = False) -> Commit:
        """Validate what was staged and publish it as the partition, in one commit.

        Args:
            row_groups: aim for this many row groups (of at least ``MIN_ROW_GROUP_ROWS`` rows), so that a reader of a
                slice of the sort order skips the others.
            only_over_read: the rows are made of those that the partition held when it was read, and must not replace
                what anybody wrote since, be it on another machine.

        Raises:
            PartitionChanged: somebody did; nothing was written.
            ValidationFailed: a check failed; nothing was written.
        """
        self._finish_part()
        if self.table.model:
            rows = self.rows_in = count_rows(self.con, self.table, self._adopted)
        else:
            rows, self.checks = validate(self.con, self.table, self._adopted, self.rows_in, self.drops)
        if not all(check.passed for check in self.checks):
            raise ValidationFailed(self.table.name, self.name, self.checks)
        commit = Commit(
            table=self.table.name,
            partition=self.name,
            rows=rows,
            rows_in=self.rows_in,
            drops=dict(self.drops),
            content_digest=self.staged_digest(),
            run_id=self.provenance.run_id,
            code_version=self.provenance.code_version,
            settings_digest=self.provenance.settings_digest,
            externals=dict(self.provenance.externals),
            upstreams=self.upstreams,
            counts=dict(self.counts),
        )
        files = in_order(self.con, self.table, self._adopted, self.folder.path)
        commit = replace(commit, cost=self._meter.read(self.device))
        only_over = (self.pinned(self.table.name).commits.get(self.name),) if only_over_read else None
        write_partition(self.lake, self.partition, commit, files, row_groups, only_over=only_over)
        published = self.lake.commit(self.table.name, self.partition)
        if published is None:
            raise LakeError(f"{self.table.name} [{self.name}] was written, but its commit cannot be found")
        if (published.run_id, published.content_digest) == (commit.run_id, commit.content_digest):
            keep = bool(self.table.entered)
            write_seal(self.lake.storage, self.table.name, published.version, self._beside, keep=keep)
        told = {"table": self.table.name, "partition": self.name, "rows": published.rows, "rows_in": published.rows_in}
        _log.info("published", extra={**told, "version": published.version, **published.cost})
        return published

    def _finish_part(self) -> None:
        if self._part is not None:
            self._part.finish()
            self._adopted.append(self.folder.path / "rows.parquet")
            self._part = None

    def forget(self) -> None:
        """Remove the parts that would outlive this process: they broke a check, and would break it again."""
        for folder in self._resumables:
            folder.remove()

    def close(self) -> None:
        """Give back memory and locks."""
        self._resumable.close()
        super().close()


@contextmanager
def lake_build(lake: Lake, table: str, partition: Partition, provenance: Provenance) -> Iterator[PartitionBuild]:
    """Build one partition.

    On success everything staged for the partition is removed, on failure only what nobody can go on from.

    Args:
        lake: the lake.
        table: name of the table.
        partition: value of every partition column.
        provenance: who builds, with what code and settings.
    """
    name = partition_name(ordered(lake.tables[table], partition))
    parent = staging_of(lake.staging, table, name)
    with StagingFolder(parent, f"{os.getpid()}-{uuid.uuid4().hex[:12]}") as folder:
        build = PartitionBuild(lake, table, partition, provenance, folder)
        try:
            yield build
        except BaseException as error:
            if isinstance(error, ValidationFailed):
                build.forget()
            build.close()
            folder.remove()
            damage = damage_in(lake, error, build.read)
            if damage is not None:
                raise damage from error
            raise
        build.close()
        folder.clear()
