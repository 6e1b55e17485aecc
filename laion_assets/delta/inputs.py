"""What partitions are built from, as a lake at rest has it: content digests, and what is not up to date.

A judgement over all partitions of a lake asks the same again and again: every share of the rows is built from all
partitions of its period, and from its like in every earlier period. Here each answer is found once.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laion_assets.delta.commits import combined_digest
from laion_assets.delta.flow import partitions_read
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.delta.states import PartitionState, State
from laion_assets.delta.table import Read, Table

Judged = Mapping[tuple[str, str], PartitionState]
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
        self._order = lake.order
        self._reads: dict[int, tuple[Table, list[_Reads]]] = {}
        self._found: dict[tuple[object, ...], dict[tuple[str | int, ...], Input]] = {}
        self._earlier: dict[tuple[str | int, ...], _Earlier] = {}

    def of(self, declared: Table, partition: Partition) -> dict[str, Input]:
        """By table, what goes into one partition of the declared one, as far as it is judged."""
        known = self._reads.get(id(declared))
        if known is None:
            known = self._reads[id(declared)] = (declared, self._grouped(declared, tuple(partition)))
        return {reads.table: self._of_table(reads, partition) for reads in known[1]}

    def _grouped(self, declared: Table, columns: tuple[str, ...]) -> "list[_Reads]":
        by_table: dict[str, list[Read]] = defaultdict(list)
        for read in declared.reads:
            if read.judged:
                by_table[read.table].append(read)
        return [self._how(table, reads, columns) for table, reads in by_table.items()]

    def _how(self, table: str, reads: list[Read], columns: tuple[str, ...]) -> "_Reads":
        """How a table is read by partitions of these columns."""
        upstream = self._lake.tables[table].partition_by
        periods = {read.periods for read in reads}
        # Digests are taken in the order of names. Where one period's name begins another's, `A-B` stands before `A/`;
        # and a period that was entered may stand anywhere.
        known = self._order.sorted(self._lake.ledger(table).periods)
        plain = known == sorted(known, key=lambda period: f"{period}/")
        shared = () if periods == {"all"} else tuple(c for c in columns if c in upstream)
        return _Reads(
            table,
            reads,
            shared,
            is_history=periods == {"earlier"} and {*upstream} == {*shared} and plain,
            is_own=periods == {"same"} and upstream == columns,
            found=self._found.setdefault((table, *sorted(periods), shared, columns), {}),
        )

    def _of_table(self, reads: "_Reads", partition: Partition) -> Input:
        if reads.is_own:
            return self._input(reads.table, [partition_name(partition)])
        if reads.is_history:
            return self._of_earlier(reads, partition)
        key = tuple(partition[column] for column in reads.shared)
        found = reads.found.get(key)
        if found is None:
            names = [partition_name(up) for read in reads.reads for up in partitions_read(self._lake, read, partition)]
            found = reads.found[key] = self._input(reads.table, names)
        return found

    def _input(self, table: str, names: Sequence[str]) -> Input:
        commits = self._lake.ledger(table).commits
        digests = {name: commits[name].content_digest for name in names if name in commits}
        lacking = [lack for name in names if (lack := _lack(self._judged.get((table, name)))) is not None]
        return Input(combined_digest(digests.items()), tuple(lacking))

    def _of_earlier(self, reads: "_Reads", partition: Partition) -> Input:
        """Its like of every earlier period: what the period before this one was told, and that period itself."""
        period, table = str(self._lake.catalogue.period), reads.table
        own = str(partition[period])
        key = (table, *(partition[column] for column in reads.shared if column != period))
        before = self._earlier.get(key)
        if before is None or (
            before.passed and not self._order.is_before(before.passed[-1], own)
        ):  # at first, or asked out of order
            place = {column: partition[column] for column in self._lake.tables[table].partition_by}
            start, _, end = partition_name({**place, period: "\0"}).partition("\0")
            before = self._earlier[key] = _Earlier(self._order.sorted(self._lake.ledger(table).periods), start, end)
        commits = self._lake.ledger(table).commits
        while before.left and self._order.is_before(before.left[-1], own):
            earlier = before.left.pop()
            before.passed.append(earlier)
            name = f"{before.start}{earlier}{before.end}"
            if name in commits:
                before.add(name, commits[name].content_digest, _lack(self._judged.get((table, name))))
        return Input(before.digest(), tuple(before.lacking))


@dataclass
class _Reads:
    """How one table goes into the partitions of another."""

    table: str
    reads: list[Read]
    shared: tuple[str, ...]
    """The columns by which what goes into one partition differs from what goes into others."""
    is_history: bool
    """Whether it is the partitions of earlier periods that are called the same otherwise."""
    is_own: bool
    """Whether it is the partition of the same name."""
    found: dict[tuple[str | int, ...], Input]
    """What is known already, by the values of those columns; the same for all that read the table so."""


class _Earlier:
    """Earlier periods so far; the digest is that of ``combined_digest``, without starting anew.

    Args:
        periods: all there are, in order.
        start: what the names of partitions have before the period.
        end: what they have after it.
    """

    def __init__(self, periods: list[str], start: str, end: str) -> None:
        self.start, self.end = start, end
        self.left = periods[::-1]
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


def _lack(state: PartitionState | None) -> str | None:
    if state is None or state.state is State.DONE:
        return None
    return f"built on {state.state} {state.table} [{state.name}]"
