"""Which partitions are done, stale or missing, from the Delta log alone.

A partition is stale when what it was built from has other content now, when code or settings changed, when an input
was written without validation, or when something it is built on is stale itself. An input that was rebuilt with equal
content changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from laion_assets.lake.commits import Commit, combined_digest
from laion_assets.lake.lake import Lake
from laion_assets.lake.partition import Partition, partition_name
from laion_assets.lake.stages import PER_CRAWL, STAGES, Stage, partitions_of


class State(StrEnum):
    """How a partition stands."""

    DONE = "done"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a partition built now would record: digests of settings and of inputs that are no tables."""

    settings_digest: str
    externals: Mapping[str, str] = field(default_factory=dict)


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
    lake = lake.at_rest()
    states: dict[tuple[str, str], PartitionState] = {}
    tables = PER_CRAWL if until is None else PER_CRAWL[: PER_CRAWL.index(until) + 1]
    for table in tables:
        for crawl in sorted(crawls):
            for partition in partitions_of(lake, table, crawl):
                state = judge(lake, STAGES[table], partition, expectations[table], states)
                states[table, partition_name(partition)] = state
    return list(states.values())


def judge(
    lake: Lake,
    stage: Stage,
    partition: Partition,
    expected: Expectation,
    judged: Mapping[tuple[str, str], PartitionState],
) -> PartitionState:
    """The state of one partition.

    Args:
        lake: the lake, best at rest.
        stage: how its table comes about.
        partition: the partition.
        expected: what a build would record now.
        judged: states of partitions upstream, by (table, partition name); those that are not there count as done.
    """
    table = stage.table
    ledger = lake.ledger(table)
    commit = ledger.commits.get(partition_name(partition))
    if commit is None:
        return PartitionState(table=table, partition=partition, state=State.MISSING)
    reasons = [] if ledger.is_trusted(commit) else ["written without validation"]
    if commit.code_version != stage.code_version:
        reasons.append(f"code version {commit.code_version}, now {stage.code_version}")
    if commit.settings_digest != expected.settings_digest:
        reasons.append("settings changed")
    reasons += [
        f"{name} changed" for name, digest in expected.externals.items() if commit.externals.get(name) != digest
    ]
    changed, inherited = _upstream_reasons(lake, stage, partition, commit, judged)
    reasons += changed
    return PartitionState(
        table=table,
        partition=partition,
        state=State.STALE if reasons or inherited else State.DONE,
        reasons=tuple(reasons),
        inherited=tuple(inherited),
    )


def _upstream_reasons(
    lake: Lake,
    stage: Stage,
    partition: Partition,
    commit: Commit,
    judged: Mapping[tuple[str, str], PartitionState],
) -> tuple[list[str], list[str]]:
    changed, inherited = [], []
    current: dict[str, dict[str, str]] = {}
    for read in stage.reads:
        commits = lake.ledger(read.table).commits
        digests = current.setdefault(read.table, {})
        for upstream in read.partitions(lake, partition):
            name = partition_name(upstream)
            state = judged.get((read.table, name))
            if state is not None and state.state is not State.DONE:
                inherited.append(f"built on {state.state} {read.table} [{name}]")
            if name in commits:
                digests[name] = commits[name].content_digest
    for name, digests in current.items():
        recorded = commit.upstreams.get(name)
        if (recorded.digest if recorded else combined_digest(())) != combined_digest(digests.items()):
            changed.append(f"{name} changed")
    return changed, inherited
