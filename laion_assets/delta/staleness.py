"""Which partitions are done, stale or missing, from the Delta log alone.

A partition is stale when what it was built from has other content now, when code or settings changed, when an input
was written without validation, when it was found damaged, or when something it is built on is stale itself. An input
that was rebuilt with equal content changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from laion_assets.common.digests import json_digest
from laion_assets.delta.commits import combined_digest
from laion_assets.delta.flow import partitions_of
from laion_assets.delta.inputs import Inputs, Judged
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.delta.periods import PeriodOrder
from laion_assets.delta.states import Expectation, PartitionState, State
from laion_assets.delta.table import Table


def lake_states(
    lake: Lake, periods: Sequence[str], expectations: Mapping[str, Expectation], *, until: str | None = None
) -> list[PartitionState]:
    """The state of every partition of these periods, table by table.

    Args:
        lake: the lake.
        periods: names of the periods; they are judged in their order.
        expectations: by table, what a build would record now.
        until: last table to judge; None for all.
    """
    groups = Judge().judge(lake.at_rest(), periods, expectations, until=until)
    return [state for group in groups.values() for state in group.states.values()]


@dataclass(frozen=True, eq=False)
class PeriodStates:
    """How the partitions of one table stand that belong to one period."""

    states: Mapping[str, PartitionState]
    """By the partition's name."""
    open: tuple[PartitionState, ...]
    """Those that are not done."""
    basis: tuple[Any, ...] = field(repr=False)
    """All that the judgement depends on."""


Groups: TypeAlias = Mapping[tuple[str, str], PeriodStates]
"""What was judged, by (table, period): table by table, period by period in their order."""


class Judge:
    """Judges whole lakes, again and again: only periods of which something changed since are judged anew."""

    def __init__(self) -> None:
        self._last: Groups = {}
        self.judged = 0
        """Partitions that were judged anew, ever."""

    def judge(
        self, lake: Lake, periods: Sequence[str], expectations: Mapping[str, Expectation], *, until: str | None = None
    ) -> Groups:
        """The states of all partitions of these periods; see :func:`lake_states`.

        Args:
            lake: the lake, at rest.
            periods: names of the periods.
            expectations: by table, what a build would record now.
            until: last table to judge; None for all.
        """
        tables = lake.catalogue.by_period
        groups: dict[tuple[str, str], PeriodStates] = {}
        states: dict[tuple[str, str], PartitionState] = {}
        inputs, order = Inputs(lake, states), lake.order
        for table in tables if until is None else tables[: tables.index(until) + 1]:
            for period in order.sorted(periods):
                basis = self._basis(lake, table, period, expectations[table], groups, order)
                group = self._last.get((table, period))
                if group is None or not _same(group.basis, basis):
                    group = self._period_states(lake, table, period, expectations[table], inputs, basis)
                groups[table, period] = group
                states.update({(table, state.name): state for state in group.open})
        self._last = groups
        return groups

    def _period_states(
        self, lake: Lake, table: str, period: str, expected: Expectation, inputs: Inputs, basis: tuple[Any, ...]
    ) -> PeriodStates:
        states, declared = {}, lake.catalogue.tables[table]
        for partition in partitions_of(lake, table, period):
            if declared.optional and not expected.wanted and lake.commit(table, partition) is None:
                continue
            state = judge(lake, declared, partition, expected, {}, inputs)
            states[state.name] = state
        self.judged += len(states)
        return PeriodStates(states, tuple(s for s in states.values() if s.state is not State.DONE), basis)

    def _basis(
        self, lake: Lake, table: str, period: str, expected: Expectation, groups: Groups, order: PeriodOrder
    ) -> tuple[Any, ...]:
        declared, own = lake.catalogue.tables[table], lake.ledger(table)
        basis: list[Any] = [expected, declared.code_version, own.touched.get(period), own.foreign_version]
        for read in declared.reads:
            if read.table not in lake.catalogue.by_period or read.periods == "all":
                basis.append(lake.ledger(read.table).version)
            elif read.periods == "same":
                basis.append(groups[read.table, period])
            else:
                ledger = lake.ledger(read.table)
                known = {*ledger.periods, *(other for judged, other in groups if judged == read.table)}
                earlier = order.sorted(other for other in known if order.is_before(other, period))
                basis += [groups.get((read.table, other), ledger.touched.get(other)) for other in earlier]
        return tuple(basis)


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    # States of a period that were not judged anew are the same object; comparing them would be judging anew.
    return len(one) == len(other) and all(a is b or a == b for a, b in zip(one, other, strict=True))


def judge(
    lake: Lake,
    declared: Table,
    partition: Partition,
    expected: Expectation,
    judged: Judged,
    inputs: Inputs | None = None,
) -> PartitionState:
    """The state of one partition.

    Args:
        lake: the lake, best at rest.
        declared: its table, with what it is built from.
        partition: the partition.
        expected: what a build would record now.
        judged: states of partitions upstream, by (table, partition name); those that are not there count as done.
        inputs: what is known already of inputs, instead of ``judged``.
    """
    table, name = declared.name, partition_name(partition)
    ledger = lake.ledger(table)
    commit = ledger.commits.get(name)
    if commit is None:
        return PartitionState(table=table, partition=partition, state=State.MISSING)
    reasons = [] if ledger.is_validated(commit) else ["written without validation"]
    if name in ledger.damaged:
        reasons.append("damaged, as `laion verify` found")
    if commit.code_version != declared.code_version:
        reasons.append(f"code version {commit.code_version}, now {declared.code_version}")
    if expected.settings_digest not in (None, commit.settings_digest):
        reasons.append("settings changed")
    reasons += [
        f"{name} changed"
        for name, digest in expected.externals.items()
        if commit.externals.get(name) != digest and expected.concerns(name, commit)
    ]
    inherited: list[str] = []
    for upstream, found in (inputs or Inputs(lake, judged)).of(declared, partition).items():
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


def standing_digest(periods: Iterable[str], states: Iterable[PartitionState]) -> str:
    """One digest of how the partitions of these periods stand; of those that are done nothing need be told."""
    told = sorted((s.table, s.name, s.state, *s.reasons, *s.inherited) for s in states if s.state is not State.DONE)
    return json_digest([sorted(periods), told], sort_keys=False, digits=16)
