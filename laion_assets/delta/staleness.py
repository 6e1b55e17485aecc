"""Which partitions are done, stale or missing, from the Delta log alone.

A partition is stale when what it was built from has other content now, when code or settings changed, when an input
was written without validation, when it was found damaged, or when something it is built on is stale itself. An input
that was rebuilt with equal content changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias

from laion_assets.common.digests import json_digest
from laion_assets.delta.commits import combined_digest
from laion_assets.delta.inputs import Inputs, Judged
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.delta.table import Table
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.stages import PER_CRAWL, partitions_of


class State(StrEnum):
    """How a partition stands."""

    DONE = "done"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a partition built now would record: digests of settings and of inputs that are no tables."""

    settings_digest: str | None
    """None where it cannot be said: what was built is then taken to be built with the settings of now."""
    externals: Mapping[str, str] = field(default_factory=dict)
    missing: str | None = None
    """Why the digest cannot be said, and a partition cannot be built."""


@dataclass(frozen=True, kw_only=True)
class PartitionState:
    """How one partition stands, and why."""

    table: str
    partition: Partition
    state: State
    reasons: tuple[str, ...] = ()
    """What a new build of this partition would mend."""
    inherited: tuple[str, ...] = ()
    """What it is built on that is not up to date itself: that must be built first."""

    @cached_property
    def name(self) -> str:
        """The partition's canonical name."""
        return partition_name(self.partition)


def lake_states(
    lake: Lake, crawls: Sequence[str], expectations: Mapping[str, Expectation], *, until: str | None = None
) -> list[PartitionState]:
    """The state of every partition of these crawls, stage by stage.

    Args:
        lake: the lake.
        crawls: names of the crawls; they are judged in the order of their names.
        expectations: by table, what a build would record now.
        until: last table to judge; None for all.
    """
    groups = Judge().judge(lake.at_rest(), crawls, expectations, until=until)
    return [state for group in groups.values() for state in group.states.values()]


@dataclass(frozen=True, eq=False)
class CrawlStates:
    """How the partitions of one table stand that belong to one crawl."""

    states: Mapping[str, PartitionState]
    """By the partition's name."""
    open: tuple[PartitionState, ...]
    """Those that are not done."""
    basis: tuple[Any, ...] = field(repr=False)
    """All that the judgement depends on."""


Groups: TypeAlias = Mapping[tuple[str, str], CrawlStates]
"""What was judged, by (table, crawl): stage by stage, crawl by crawl in the order of their names."""


class Judge:
    """Judges whole lakes, again and again: only crawls of which something changed since are judged anew."""

    def __init__(self) -> None:
        self._last: Groups = {}
        self.judged = 0
        """Partitions that were judged anew, ever."""

    def judge(
        self, lake: Lake, crawls: Sequence[str], expectations: Mapping[str, Expectation], *, until: str | None = None
    ) -> Groups:
        """The states of all partitions of these crawls; see :func:`lake_states`.

        Args:
            lake: the lake, at rest.
            crawls: names of the crawls.
            expectations: by table, what a build would record now.
            until: last table to judge; None for all.
        """
        tables = PER_CRAWL if until is None else PER_CRAWL[: PER_CRAWL.index(until) + 1]
        groups: dict[tuple[str, str], CrawlStates] = {}
        states: dict[tuple[str, str], PartitionState] = {}
        inputs = Inputs(lake, states)
        for table in tables:
            for crawl in sorted(crawls):
                basis = self._basis(lake, table, crawl, expectations[table], groups)
                group = self._last.get((table, crawl))
                if group is None or not _same(group.basis, basis):
                    group = self._crawl_states(lake, table, crawl, expectations[table], inputs, basis)
                groups[table, crawl] = group
                states.update({(table, state.name): state for state in group.open})
        self._last = groups
        return groups

    def _crawl_states(
        self, lake: Lake, table: str, crawl: str, expected: Expectation, inputs: Inputs, basis: tuple[Any, ...]
    ) -> CrawlStates:
        states = {}
        for partition in partitions_of(lake, table, crawl):
            state = judge(lake, TABLES[table], partition, expected, {}, inputs)
            states[state.name] = state
        self.judged += len(states)
        return CrawlStates(states, tuple(s for s in states.values() if s.state is not State.DONE), basis)

    def _basis(
        self, lake: Lake, table: str, crawl: str, expected: Expectation, groups: Mapping[tuple[str, str], CrawlStates]
    ) -> tuple[Any, ...]:
        stage, own = TABLES[table], lake.ledger(table)
        basis: list[Any] = [expected, stage.code_version, own.touched.get(crawl), own.foreign_version]
        for read in stage.reads:
            if "crawl" not in lake.tables[read.table].partition_by or read.periods == "all":
                basis.append(lake.ledger(read.table).version)
            elif read.periods == "same":
                basis.append(groups[read.table, crawl])
            else:
                ledger = lake.ledger(read.table)
                earlier = sorted(c for c in {*ledger.crawls, *(c for t, c in groups if t == read.table)} if c < crawl)
                basis += [groups.get((read.table, c), ledger.touched.get(c)) for c in earlier]
        return tuple(basis)


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    # States of a crawl that were not judged anew are the same object; comparing them would be judging anew.
    return len(one) == len(other) and all(a is b or a == b for a, b in zip(one, other, strict=True))


def judge(
    lake: Lake, stage: Table, partition: Partition, expected: Expectation, judged: Judged, inputs: Inputs | None = None
) -> PartitionState:
    """The state of one partition.

    Args:
        lake: the lake, best at rest.
        stage: how its table comes about.
        partition: the partition.
        expected: what a build would record now.
        judged: states of partitions upstream, by (table, partition name); those that are not there count as done.
        inputs: what is known already of inputs, instead of ``judged``.
    """
    table, name = stage.name, partition_name(partition)
    ledger = lake.ledger(table)
    commit = ledger.commits.get(name)
    if commit is None:
        return PartitionState(table=table, partition=partition, state=State.MISSING)
    reasons = [] if ledger.is_validated(commit) else ["written without validation"]
    if name in ledger.damaged:
        reasons.append("damaged, as `laion verify` found")
    if commit.code_version != stage.code_version:
        reasons.append(f"code version {commit.code_version}, now {stage.code_version}")
    if expected.settings_digest not in (None, commit.settings_digest):
        reasons.append("settings changed")
    reasons += [
        f"{name} changed" for name, digest in expected.externals.items() if commit.externals.get(name) != digest
    ]
    inherited: list[str] = []
    for upstream, found in (inputs or Inputs(lake, judged)).of(stage, partition).items():
        recorded = commit.upstreams.get(upstream)
        if found.digest != (recorded.digest if recorded else _NOTHING):
            reasons.append(f"{upstream} changed")
        inherited += found.lacking
    return PartitionState(
        table=table,
        partition=partition,
        state=State.STALE if reasons or inherited else State.DONE,
        reasons=tuple(reasons),
        inherited=tuple(inherited),
    )


_NOTHING = combined_digest(())


def standing_digest(crawls: Iterable[str], states: Iterable[PartitionState]) -> str:
    """One digest of how the partitions of these crawls stand; of those that are done nothing need be told."""
    told = sorted((s.table, s.name, s.state, *s.reasons, *s.inherited) for s in states if s.state is not State.DONE)
    return json_digest([sorted(crawls), told], sort_keys=False, digits=16)
