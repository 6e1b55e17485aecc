"""What a command asks for, as waves of partitions: one after another, each known once the one before it was built."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from laion_assets.delta.flow import partitions_read
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.orchestration.planning.parts import Place
from laion_assets.settings import Settings
from laion_assets.sql.project import Project
from laion_assets.tables.catalogue import TABLES


class RequestError(Exception):
    """What was asked for cannot be built; the message says what to do first."""


@dataclass(frozen=True)
class Site:
    """What a request is about."""

    settings: Settings
    lake: Lake
    """With the tables of its SQL models."""
    project: Project


@dataclass(frozen=True)
class Task:
    """What one run builds."""

    assets: tuple[str, ...]
    """A table, or SQL models of one key, upstream first."""
    partition: Partition

    @property
    def name(self) -> str:
        """The partition's name."""
        return partition_name(self.partition)


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Partitions of which none is built from another."""

    part: str
    """What they are counted under: a table, or all SQL models."""
    tasks: Sequence[Task]
    total: int | None = None
    """With the first wave of a part: how many partitions all of them have."""
    waiting: int = 0
    """Partitions that are due, and that nothing here can make ready."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the runs."""
    is_due: Callable[[Partition], bool] | None = None
    """Whether a partition still is, once another build may have made it; None: no other build is looked for."""
    needs: Callable[[str, Partition], Iterable[Place]]
    """What a partition of an asset is built from: where that could not be built, it is left out."""


class Request(Protocol):
    """What somebody asked for."""

    def names(self, site: Site) -> Mapping[str, Sequence[str]]:
        """By column whose values come and go, those that are to be partitions before anything is built."""

    def waves(self, site: Site) -> Iterator[Wave]:
        """What is due of it, wave after wave; the next is asked for when the one before it was built.

        Raises:
            RequestError: it cannot be built.
            SettingsError, LakeError, RemovalError, RecipeError, BenchmarkError: what it needs is not as it must be.
        """


def stage_wave(
    site: Site,
    table: str,
    partitions: Sequence[Partition],
    is_due: Callable[[Partition], bool],
    *,
    total: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> Wave:
    """A wave of one stage's partitions, a run each; see :class:`Wave`."""

    def needs(_: str, partition: Partition) -> Iterator[Place]:
        for read in TABLES[table].reads:
            found = partitions_read(site.lake, read, partition)
            yield from ((read.table, partition_name(upstream)) for upstream in found)

    tasks = [Task((table,), partition) for partition in partitions]
    return Wave(part=table, tasks=tasks, total=total, tags=tags or {}, is_due=is_due, needs=needs)
