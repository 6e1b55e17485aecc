"""What a table, a partition or a version was made from, and what was made from it: from the commits alone.

A commit records of every table it read the version, one digest over the partitions taken, and their number. Which
partitions these were is found by trying those that a step could have meant, as they were at that version: the set
whose digest is the recorded one is it. Where none is, nothing is claimed.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from laion_assets.delta.commits import Commit, UpstreamRead, combined_digest
from laion_assets.delta.errors import LakeError
from laion_assets.delta.history import LakeHistory, LogEntry, TableHistory
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import WHOLE, partition_values
from laion_assets.delta.periods import PeriodOrder

_MANY_PARTITIONS = 2_000
"""Above so many partitions of a table, sets that no step of ours would read are not tried."""

UNRECORDED = -1
"""The version of a partition that holds rows and was never written with a record."""


@dataclass(frozen=True, order=True)
class CommitKey:
    """One partition as one commit wrote it."""

    table: str
    partition: str
    version: int

    def __str__(self) -> str:
        """``table@version[partition]``."""
        version = "unrecorded" if self.version == UNRECORDED else self.version
        return f"{self.table}@{version}[{self.partition}]"


@dataclass(frozen=True)
class Node:
    """One partition as one commit wrote it, with its record."""

    key: CommitKey
    commit: Commit | None
    """None where no commit with a record ever wrote the partition."""
    foreign: tuple[LogEntry, ...] = ()
    """Later writes without a record, up to the version it was read at: they may have changed it."""
    replaced_in: int | None = None
    """The version that has written the partition anew since; None where this is what is there now."""


@dataclass(frozen=True)
class Read:
    """That one commit read some partitions of one table."""

    reader: CommitKey
    table: str
    version: int
    """The version that was read."""
    digest: str
    """The recorded digest over the partitions read."""
    partitions: int
    """How many there were."""
    sources: tuple[CommitKey, ...] | None
    """What was read; None where no set of partitions has the recorded digest."""


@dataclass
class Graph:
    """Commits and their reads, from what was asked for up or down the stream."""

    table: str
    version: int
    """The version of the table at which was asked."""
    direction: Literal["back", "forward"]
    roots: list[CommitKey] = field(default_factory=list)
    nodes: dict[CommitKey, Node] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    unsure: list[Read] = field(default_factory=list)
    """Forward: reads of live commits that could not be identified, so that they may have taken what was asked for."""
    left_out: int = 0
    """Forward: commits that were made from it, have been replaced since, and led to nothing that is there now."""
    entry: LogEntry | None = None
    """What made the version, where a version was asked for."""
    touched: tuple[str, ...] = ()
    """The partitions whose files a version without a record changed, where such a version was asked for."""


class Lineage:
    """Answers over one lake. Every log is read once, and later commits are not seen."""

    def __init__(self, lake: Lake) -> None:
        self.history = LakeHistory(lake)
        self._catalogue = lake.catalogue
        self._order = lake.order
        self._readers: dict[str, tuple[dict[CommitKey, list[Read]], list[Read]]] = {}

    def back(self, table: str, *, partition: str | None = None, version: int | None = None) -> Graph:
        """What was asked for and everything that went into it, commit by commit.

        Args:
            table: a table of the lake.
            partition: one partition by name, ``month=2026-04/part=3`` (the columns in any order).
            version: what the commit that made this version wrote. Without either: the table as it is now.

        Raises:
            LakeError: there is no such table, partition or version.
        """
        graph = self._begin(table, "back", partition, version)
        queue = deque(graph.roots)
        while queue:
            for read in self.reads_of(graph.nodes[queue.popleft()]):
                graph.reads.append(read)
                for source in read.sources or ():
                    if source not in graph.nodes:
                        graph.nodes[source] = self.node(source, read.version)
                        queue.append(source)
        return graph

    def forward(
        self, table: str, *, partition: str | None = None, version: int | None = None, replaced: bool = False
    ) -> Graph:
        """What was asked for and everything that was made from exactly that, commit by commit.

        Args:
            table: as for :meth:`back`.
            partition: as for :meth:`back`.
            version: as for :meth:`back`.
            replaced: keep what has been replaced since even if nothing that is there now was made from it.
        """
        graph = self._begin(table, "forward", partition, version)
        queue = deque(graph.roots)
        while queue:
            key = queue.popleft()
            for read in self.readers_of(key):
                graph.reads.append(read)
                if read.reader not in graph.nodes:
                    graph.nodes[read.reader] = self.node(read.reader, read.reader.version)
                    queue.append(read.reader)
        oldest: dict[str, int] = {}
        for key in graph.nodes:
            oldest[key.table] = min(key.version, oldest.get(key.table, key.version))
        for upstream, first in oldest.items():
            for read in self._index(upstream)[1]:
                if read.version >= first and self.node(read.reader, read.reader.version).replaced_in is None:
                    graph.unsure.append(read)
        if not replaced:
            _prune(graph)
        return graph

    def node(self, key: CommitKey, version: int) -> Node:
        """The commit of ``key``, as seen at ``version`` of its table."""
        history = self.history.of(key.table)
        commit = history.commit_at(key.partition, key.version) if key.version != UNRECORDED else None
        replaced = history.replaced_in(commit) if commit is not None else None
        return Node(key, commit, history.foreign_between(key.version, version), replaced)

    def reads_of(self, node: Node) -> list[Read]:
        """Everything the commit read, in the order in which data flows."""
        commit = node.commit
        if commit is None:
            return []
        return [
            Read(node.key, table, read.version, read.digest, read.partitions, self._sources(commit, table, read))
            for table, read in sorted(commit.upstreams.items(), key=lambda item: self._catalogue.place(item[0]))
        ]

    def readers_of(self, key: CommitKey) -> list[Read]:
        """The reads that took exactly this commit."""
        return self._index(key.table)[0].get(key, [])

    # -- from a question to commits ------------------------------------------------------------------------------

    def _begin(
        self, table: str, direction: Literal["back", "forward"], partition: str | None, version: int | None
    ) -> Graph:
        history = self.history.of(table)
        graph = Graph(table, history.version if version is None else version, direction)
        if version is not None and partition is None:
            graph.entry = history.entry(version)
            if graph.entry.commit is not None:
                graph.roots.append(_key(graph.entry.commit))
            elif graph.entry.foreign:
                graph.touched = self._touched(table, version)
        else:
            graph.roots = self.present(table, graph.version)
            if partition is not None:
                graph.roots = [self._named(table, partition, graph.roots)]
        graph.nodes = {key: self.node(key, graph.version) for key in graph.roots}
        return graph

    def present(self, table: str, version: int) -> list[CommitKey]:
        """The partitions of ``table`` at ``version``, those that were never written with a record included."""
        history = self.history.of(table)
        history.entry(version)
        keys = [_key(commit) for commit in history.partitions_at(version)]
        if history.foreign_between(-1, version):
            known = {key.partition for key in keys}
            found = {file.partition for file in self.history.snapshot(table, version).files}
            keys += [CommitKey(table, name, UNRECORDED) for name in sorted(found - known)]
        return keys

    def _named(self, table: str, partition: str, present: list[CommitKey]) -> CommitKey:
        wanted = partition_values(partition)
        for key in present:
            if key.partition == partition or (wanted and partition_values(key.partition) == wanted):
                return key
        columns = self.history.snapshot(table, self.history.of(table).version).partition_by
        form = "/".join(f"{column}=…" for column in columns) or WHOLE
        example = f", for instance {present[0].partition}" if present else "; it has no partition"
        raise LakeError(f"{table} has no partition {partition}: expected {form}{example}")

    def _touched(self, table: str, version: int) -> tuple[str, ...]:
        def files(at: int) -> set[tuple[str, str]]:
            return {(f.partition, f.path) for f in self.history.snapshot(table, at).files} if at >= 0 else set()

        return tuple(sorted({name for name, _ in files(version) ^ files(version - 1)}))

    # -- which partitions a commit read --------------------------------------------------------------------------

    def _sources(self, reader: Commit, table: str, read: UpstreamRead) -> tuple[CommitKey, ...] | None:
        if table not in self.history.tables:
            declared = self._catalogue.tables.get(table)
            return () if declared is not None and declared.optional and not read.partitions else None
        upstream = self.history.of(table)
        values, period = partition_values(reader.partition), self._catalogue.period
        for names in _candidates(upstream, values, read.partitions, period, self._order):
            commits = [c for c in (upstream.commit_at(name, read.version) for name in names) if c is not None]
            if len(commits) != read.partitions:
                continue
            if combined_digest((c.partition, c.content_digest) for c in commits) == read.digest:
                return tuple(sorted(map(_key, commits)))
        return None

    def _index(self, table: str) -> tuple[dict[CommitKey, list[Read]], list[Read]]:
        """All reads of ``table`` that any commit of any table made: by what they took, and the unidentified ones."""
        if table not in self._readers:
            by_source: dict[CommitKey, list[Read]] = {}
            unsure: list[Read] = []
            for name in self.history.tables:
                for commit in (c for made in self.history.of(name).commits.values() for c in made):
                    if table not in commit.upstreams:
                        continue
                    read = commit.upstreams[table]
                    sources = self._sources(commit, table, read)
                    found = Read(_key(commit), table, read.version, read.digest, read.partitions, sources)
                    if sources is None:
                        unsure.append(found)
                    for source in sources or ():
                        by_source.setdefault(source, []).append(found)
            self._readers[table] = by_source, unsure
        return self._readers[table]


def _key(commit: Commit) -> CommitKey:
    return CommitKey(commit.table, commit.partition, commit.version)


def _candidates(
    upstream: TableHistory, reader: Mapping[str, str], partitions: int, period: str | None, order: PeriodOrder
) -> Iterator[list[str]]:
    """Sets of partitions that a reader could have meant, the likeliest first.

    Those that share its values of all columns both have, of fewer of them, and of none; each with the periods before
    its own alone and with its own, where the period is left open. Last, for tables of few partitions, every set that
    has some values in common.
    """
    if partitions == 0:
        yield []
        return
    columns = upstream.columns
    common = [column for column in columns if column in reader]
    for fixed in _subsets(common):
        names = upstream.groups(fixed).get(tuple(reader[column] for column in fixed), [])
        if period in common and period not in fixed:
            known = {name: partition_values(name)[period] for name in names}
            yield [name for name in names if order.is_before(known[name], reader[period])]
            yield [name for name in names if not order.is_before(reader[period], known[name])]
        yield names
    if len(upstream.commits) <= _MANY_PARTITIONS:
        for fixed in _subsets(columns):
            yield from upstream.groups(fixed).values()


def _subsets(columns: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Every subset of the columns, the largest first."""
    every = tuple(columns)
    for size in range(len(every), -1, -1):
        yield from combinations(every, size)


def _prune(graph: Graph) -> None:
    """Leave out what has been replaced since, unless something that is there now was made from it."""
    made_from: dict[CommitKey, list[CommitKey]] = {}
    for read in graph.reads:
        for source in read.sources or ():
            made_from.setdefault(read.reader, []).append(source)
    kept: set[CommitKey] = set()
    queue = [key for key, node in graph.nodes.items() if node.replaced_in is None]
    while queue:
        key = queue.pop()
        if key not in kept and key in graph.nodes:
            kept.add(key)
            queue += made_from.get(key, [])
    kept |= set(graph.roots)
    graph.left_out = len(graph.nodes) - len(kept)
    graph.nodes = {key: node for key, node in graph.nodes.items() if key in kept}
    graph.reads = [read for read in graph.reads if read.reader in kept]
