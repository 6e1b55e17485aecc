"""Building crawls as Dagster runs, partition by partition: what is missing or stale, and nothing else."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg

from laion_assets.assets.images import REFETCH_TAG
from laion_assets.assets.step import current_removals
from laion_assets.cli.abandoned import BUILDER_TAG, builder_lock, end_abandoned_runs
from laion_assets.definitions import build_definitions
from laion_assets.download.failures import is_transient
from laion_assets.lake.lake import Lake
from laion_assets.lake.partition import Partition, partition_name
from laion_assets.lake.stages import PER_CRAWL, STAGES, partitions_of
from laion_assets.lake.staleness import PartitionState, State, lake_states
from laion_assets.partitions import CRAWLS, Partitions
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be built."""

    crawls: Sequence[str]
    until: str = PER_CRAWL[-1]
    retry_failed: bool = False
    refetch: bool = False

    @property
    def tables(self) -> Sequence[str]:
        """The stages to go through."""
        return PER_CRAWL[: PER_CRAWL.index(self.until) + 1]


class Builder:
    """Builds partitions of one lake as runs of one Dagster instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, reporter: Reporter) -> None:
        self._settings = settings
        self._instance = instance
        self._reporter = reporter
        self._lake = settings.open_lake()
        self._lock = ""
        self._partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
        self._job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    def build(self, request: Request) -> Outcome:
        """Build what is missing or stale of the crawls, stage by stage, the earliest crawl first.

        A partition whose inputs could not be built is left out, and every other one is built.
        """
        self._instance.add_dynamic_partitions(str(CRAWLS.name), list(request.crawls))
        end_abandoned_runs(self._instance)
        outcome = Outcome()
        with builder_lock(self._lake.root / ".builders") as self._lock:
            if "filtered_pairs" in request.tables and self._calibration_is_due():
                self._run("calibrations", None, {}, outcome)
            for table in request.tables:
                self._build_stage(table, request, outcome)
        return outcome

    def _build_stage(self, table: str, request: Request, outcome: Outcome) -> None:
        crawls = sorted(request.crawls)
        # Each crawl's unique pairs depend on those of the crawls before it, which must be up to date by then.
        batches = [[crawl] for crawl in crawls] if table == "unique_pairs" else [crawls]
        due = [self._due(table, crawls, request) for crawls in batches]
        self._reporter.begin(table, sum(map(len, due)))
        tags = {REFETCH_TAG: "true"} if request.refetch and table == "images" else {}
        for number, crawls in enumerate(batches):
            partitions = due[number] if number == 0 else self._due(table, crawls, request)
            for partition in partitions:
                if self._is_founded(table, partition, outcome):
                    self._run(table, partition, tags, outcome)
                else:
                    outcome.left_out.append((table, partition_name(partition)))
                self._reporter.advance(table)

    def _is_founded(self, table: str, partition: Partition, outcome: Outcome) -> bool:
        """Whether nothing that goes into the partition failed in this build."""
        return not any(
            outcome.lacks(read.table, partition_name(upstream))
            for read in STAGES[table].reads
            for upstream in read.partitions(self._lake, partition)
        )

    def _due(self, table: str, crawls: Sequence[str], request: Request) -> list[Partition]:
        states = current_states(self._lake, self._settings, crawls, until=table)
        own = [state for state in states if state.table == table and state.partition["crawl"] in crawls]
        due = [s.partition for s in own if s.state is State.MISSING or s.reasons or self._is_asked_for(s, request)]
        if table == "images" and request.retry_failed:
            due += [s.partition for s in own if s.partition not in due and self._has_transient(s.partition)]
        return [partition for partition in due if partition["crawl"] in request.crawls]

    def _is_asked_for(self, state: PartitionState, request: Request) -> bool:
        """Whether a flag asks for a partition that is done."""
        if state.table == "images":
            return request.refetch
        commit = self._lake.commit(state.table, state.partition)
        if state.table != "wat_files" or commit is None:
            return False
        limit, format_ = self._settings.wat_files, self._settings.format
        other_limit = limit is not None and limit != commit.counts.get("limit", commit.rows)
        other_format = format_ is not None and (format_ == "warc") != bool(commit.counts.get("warc"))
        return other_limit or other_format

    def _has_transient(self, partition: Partition) -> bool:
        rows = self._lake.rows("images", partition, ["failure", "http_status"]).unique().iter_rows()
        return any(is_transient(failure, status) for failure, status in rows)

    def _calibration_is_due(self) -> bool:
        if self._settings.calibration.pairs is None:
            return False
        expected = self._settings.expectations("")["calibrations"].settings_digest
        ledger = self._lake.ledger("calibrations")
        return not any(c.settings_digest == expected and ledger.is_trusted(c) for c in ledger.commits.values())

    def _run(self, table: str, partition: Partition | None, tags: Mapping[str, str], outcome: Outcome) -> None:
        result = self._job.execute_in_process(
            instance=self._instance,
            asset_selection=[dg.AssetKey(table)],
            partition_key=self._partitions.key(partition) if partition else None,
            tags={**tags, BUILDER_TAG: self._lock},
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        if result.success:
            outcome.built += 1
            return
        error = error_of(result.all_events)
        name = partition_name(partition) if partition else ""
        outcome.failures.append((table, name, error))
        self._reporter.failed(table, name, error)


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


def current_states(
    lake: Lake, settings: Settings, crawls: Sequence[str], *, until: str | None = None
) -> list[PartitionState]:
    """The state of the partitions of these crawls and of all built ones before them, whose state they inherit."""
    built = {crawl for table in PER_CRAWL for crawl in lake.ledger(table).crawls}
    known = sorted(built | set(crawls))
    expectations = settings.expectations(current_removals(lake, settings).digest)
    return lake_states(lake, known, expectations, until=until)


def failed_partitions(instance: dg.DagsterInstance, settings: Settings, table: str, crawls: Sequence[str]) -> set[str]:
    """Names of the partitions whose last run failed, as Dagster remembers."""
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    definition = partitions.definition(table)
    if definition is None:
        return set()
    keys = {
        partitions.key(p): partition_name(p)
        for crawl in crawls
        for p in partitions_of(settings.open_lake(create=False), table, crawl)
    }
    status = instance.get_status_by_partition(dg.AssetKey(table), list(keys), definition) or {}
    return {keys[key] for key, state in status.items() if state is not None and state.value == "FAILED"}
