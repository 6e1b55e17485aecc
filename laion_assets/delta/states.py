"""How partitions stand: done, stale or missing, and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from laion_assets.delta.commits import Commit
from laion_assets.delta.partition import Partition, partition_name


class State(StrEnum):
    """How a partition stands."""

    DONE = "done"
    STALE = "stale"
    MISSING = "missing"


def _every_change(_name: str, _commit: Commit) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a partition built now would record: digests of settings and of inputs that are no tables."""

    settings_digest: str | None
    """None where it cannot be said: what was built is then taken to be built with the settings of now."""
    externals: Mapping[str, str] = field(default_factory=dict)
    wanted: bool = True
    """Whether partitions of an optional table are missed where they were never built."""
    missing: str | None = None
    """Why the digest cannot be said, and a partition cannot be built."""
    concerns: Callable[[str, Commit], bool] = field(default=_every_change, compare=False, repr=False)
    """Whether what changed of an input that is no table, since a commit was made with it, is of any concern to what the
    commit was made from. Every change is, where nobody knows better. Follows from the digests and the lake alone."""


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
