"""What partitions are built from, as a lake at rest has it: content digests, and what is not up to date.

A judgement over all partitions of a lake asks the same again and again: every bucket is built from all shards of its
crawl, and from its bucket in every earlier crawl. Here each answer is found once.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laion_assets.lake.commits import combined_digest
from laion_assets.lake.lake import Lake
from laion_assets.lake.partition import Partition, partition_name
from laion_assets.lake.stages import Read, Stage

if TYPE_CHECKING:
    from laion_assets.lake.staleness import PartitionState

Judged = Mapping[tuple[str, str], "PartitionState"]
"""States of partitions by (table, partition name); those that are not there count as done."""


@dataclass(frozen=True)
class Input:
    """What one table gives to a partition."""

    digest: str
    """One digest over the partitions that are there."""
    lacking: tuple[str, ...]
    """Of those that are not up to date, why what is built on them is not either."""


class Inputs:
    """The inputs of partitions of one lake at rest.

    Args:
        lake: the lake, which must not move.
        judged: states of what is upstream. May grow; but what was asked for once must be complete by then.
    """

    def __init__(self, lake: Lake, judged: Judged) -> None:
        self._lake = lake
        self._judged = judged
        self._found: dict[tuple[Any, ...], Input] = {}
        self._earlier: dict[tuple[str, str], _Earlier] = {}

    def of(self, stage: Stage, partition: Partition) -> dict[str, Input]:
        """By table, what goes into one partition of a stage's table."""
        reads: dict[str, list[Read]] = defaultdict(list)
        for read in stage.reads:
            reads[read.table].append(read)
        return {table: self._of_table(several, partition) for table, several in reads.items()}

    def _of_table(self, reads: Sequence[Read], partition: Partition) -> Input:
        read = reads[0]
        if len(reads) == 1 and read.crawls == "earlier" and "bucket" in partition and self._in_plain_order(read.table):
            return self._of_earlier(read.table, partition)
        key = (*reads, *self._that_matters(reads, partition))
        if key not in self._found:
            names = [partition_name(upstream) for r in reads for upstream in r.partitions(self._lake, partition)]
            self._found[key] = self._input(read.table, names)
        return self._found[key]

    def _that_matters(self, reads: Sequence[Read], partition: Partition) -> tuple[Any, ...]:
        """The values of a partition by which what goes into it differs from what goes into others."""
        columns = self._lake.tables[reads[0].table].partition_by
        narrow = any(read.crawls != "all" for read in reads)
        return tuple(v for c, v in partition.items() if c in columns and narrow)

    def _input(self, table: str, names: Sequence[str]) -> Input:
        commits = self._lake.ledger(table).commits
        digests = {name: commits[name].content_digest for name in names if name in commits}
        lacking = (_lack(self._judged.get((table, name))) for name in names)
        return Input(combined_digest(digests.items()), tuple(lack for lack in lacking if lack is not None))

    def _in_plain_order(self, table: str) -> bool:
        """Whether the names of a table's partitions stand in the order of their crawls. `A-B` stands before `A/`."""
        crawls = sorted(self._lake.ledger(table).crawls)
        return crawls == sorted(crawls, key=lambda crawl: f"{crawl}/")

    def _of_earlier(self, table: str, partition: Partition) -> Input:
        """The same bucket of every earlier crawl: what the crawl before this one was told, and that crawl itself."""
        bucket, own = str(partition["bucket"]), str(partition["crawl"])
        if (table, bucket) not in self._earlier:
            self._earlier[table, bucket] = _Earlier(sorted(self._lake.ledger(table).crawls))
        before = self._earlier[table, bucket]
        if before.passed and before.passed[-1] >= own:  # asked out of order: begin again
            before = self._earlier[table, bucket] = _Earlier(sorted(self._lake.ledger(table).crawls))
        commits = self._lake.ledger(table).commits
        while before.left and before.left[-1] < own:
            crawl = before.left.pop()
            before.passed.append(crawl)
            name = f"crawl={crawl}/bucket={bucket}"
            if name in commits:
                before.add(name, commits[name].content_digest, _lack(self._judged.get((table, name))))
        return Input(before.digest(), tuple(before.lacking))


class _Earlier:
    """One bucket's earlier crawls so far; the digest is that of ``combined_digest``, without starting anew."""

    def __init__(self, crawls: list[str]) -> None:
        self.left = crawls[::-1]
        self.passed: list[str] = []
        self.lacking: list[str] = []
        self._sha = hashlib.sha256(b"[")
        self._any = False

    def add(self, name: str, digest: str, lack: str | None) -> None:
        self._sha.update(f"{', ' if self._any else ''}{json.dumps([name, digest])}".encode())
        self._any = True
        if lack is not None:
            self.lacking.append(lack)

    def digest(self) -> str:
        whole = self._sha.copy()
        whole.update(b"]")
        return whole.hexdigest()[:32]


def _lack(state: "PartitionState | None") -> str | None:
    if state is None or state.state == "done":
        return None
    return f"built on {state.state} {state.table} [{state.name}]"
