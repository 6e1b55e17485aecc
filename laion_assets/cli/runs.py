"""One partition, one Dagster run in this process: how the builders run them, what they report, what came of it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg

from laion_assets.cli.abandoned import BUILDER_TAG, builder_lock, end_abandoned_runs
from laion_assets.definitions import build_definitions
from laion_assets.lake.lake import Lake
from laion_assets.lake.partition import Partition, partition_name
from laion_assets.lake.stages import STAGES
from laion_assets.partitions import Partitions
from laion_assets.settings import Settings


class Reporter(Protocol):
    """Whoever shows how a build goes."""

    def begin(self, table: str, total: int) -> None:
        """A stage with ``total`` partitions to build begins."""

    def advance(self, table: str) -> None:
        """One of them is behind us, built or not."""

    def failed(self, table: str, partition: str, error: str) -> None:
        """One of them could not be built."""


@dataclass
class Outcome:
    """What a build did."""

    built: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    """(table, partition, error) of every partition that could not be built."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(table, partition) of every partition that was not tried, for one that it is built from could not be built."""

    def lacks(self, table: str, partition: str) -> bool:
        """Whether this partition should have been built, and was not."""
        return (table, partition) in [*self.left_out, *(failure[:2] for failure in self.failures)]


class Runner:
    """Runs partitions of one lake as runs of one Dagster instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, reporter: Reporter, lake: Lake) -> None:
        self._instance = instance
        self._reporter = reporter
        self._lake = lake
        self._lock = ""
        self._partitions = Partitions(shards=settings.shards, buckets=settings.buckets, recipes=settings.known_recipes)
        self._job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    @contextmanager
    def building(self) -> Iterator[None]:
        """Ends what dead builders left behind; runs inside the block are known as those of a living one."""
        end_abandoned_runs(self._instance)
        with builder_lock(self._lake.staging / "builders") as self._lock:
            yield

    def run(self, table: str, partition: Partition, outcome: Outcome, tags: Mapping[str, str] | None = None) -> None:
        """Build one partition, or a table that Dagster sees whole."""
        name = partition_name(partition) if partition else ""
        result = self._job.execute_in_process(
            instance=self._instance,
            asset_selection=[dg.AssetKey(table)],
            partition_key=self._partitions.key(partition) if partition else None,
            tags={**(tags or {}), BUILDER_TAG: self._lock},
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        if result.success:
            outcome.built += 1
            return
        error = error_of(result.all_events)
        outcome.failures.append((table, name, error))
        self._reporter.failed(table, name, error)

    def founded(self, table: str, partition: Partition, outcome: Outcome) -> bool:
        """Whether nothing that goes into the partition failed in this build; noted as left out otherwise."""
        lacking = any(
            outcome.lacks(read.table, partition_name(upstream))
            for read in STAGES[table].reads
            for upstream in read.partitions(self._lake, partition)
        )
        if lacking:
            outcome.left_out.append((table, partition_name(partition)))
        return not lacking


def error_of(events: Iterable[dg.DagsterEvent]) -> str:
    """What the first failed step among the events says."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error.cause or data.error if data.error is not None else None
            if error is None:
                return "the step failed"
            # What a step of ours raises explains itself; of others the kind of error is part of what they say.
            return re.sub(r"^laion_assets(\.\w+)*: ", "", error.message.strip())
    return "the run failed before its step began"
