"""Building crawls as Dagster runs, partition by partition: what is missing or stale, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.staleness import PartitionState, State, lake_states
from laion_assets.download.failures import is_transient
from laion_assets.orchestration.assets.images import REFETCH_TAG
from laion_assets.orchestration.assets.step import current_removals, removals_digest
from laion_assets.orchestration.automation.overview import calibration_is_due
from laion_assets.orchestration.runs.registration import register
from laion_assets.orchestration.runs.runner import Outcome, Reporter, Runner
from laion_assets.settings import Settings, SettingsError
from laion_assets.tables.stages import PER_CRAWL


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

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, reporter: Reporter, *, jobs: int = 1) -> None:
        self._settings = settings
        self._instance = instance
        self._reporter = reporter
        self._lake = settings.open_lake()
        self._runner = Runner(settings, instance, reporter, self._lake, jobs=jobs)

    def build(self, request: Request) -> Outcome:
        """Build what is missing or stale of the crawls, stage by stage, the earliest crawl first.

        A partition whose inputs could not be built is left out, and every other one is built.
        """
        register(self._instance, "crawl", list(request.crawls))
        current_removals(self._lake, self._settings)  # nothing is fetched or kept by lists that cannot be read
        self._refuse_what_cannot_end(request)
        outcome = Outcome()
        with self._runner.building():
            if "filtered_pairs" in request.tables and calibration_is_due(self._lake, self._settings):
                self._reporter.begin("calibrations", 1)
                self._runner.run_each("calibrations", [{}], outcome)
            for table in request.tables:
                self._build_stage(table, request, outcome)
        return outcome

    def _refuse_what_cannot_end(self, request: Request) -> None:
        """Name a file that some stage will need and that is not there, before hours go into the stages before it."""
        expectations = self._settings.expectations(removals_digest(self._lake, self._settings))
        for table in request.tables:
            missing = expectations[table].missing
            if missing is not None and self._due(table, sorted(request.crawls), request):
                raise SettingsError(missing)

    def _build_stage(self, table: str, request: Request, outcome: Outcome) -> None:
        crawls = sorted(request.crawls)
        # Each crawl's unique pairs depend on those of the crawls before it, which must be up to date by then.
        batches = [[crawl] for crawl in crawls] if table == "unique_pairs" else [crawls]
        due = [self._due(table, crawls, request) for crawls in batches]
        self._reporter.begin(table, sum(map(len, due)))
        tags = {REFETCH_TAG: "true"} if request.refetch and table == "images" else {}
        for number, crawls in enumerate(batches):
            partitions = due[number] if number == 0 else self._due(table, crawls, request)
            self._runner.run_each(
                table,
                partitions,
                outcome,
                tags,
                is_due=lambda partition, crawls=crawls: partition in self._due(table, crawls, request),  # type: ignore[misc]
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


def current_states(
    lake: Lake, settings: Settings, crawls: Sequence[str], *, until: str | None = None
) -> list[PartitionState]:
    """The state of the partitions of these crawls and of all built ones before them, whose state they inherit."""
    built = {crawl for table in PER_CRAWL for crawl in lake.ledger(table).crawls}
    known = sorted(built | set(crawls))
    expectations = settings.expectations(removals_digest(lake, settings))
    return lake_states(lake, known, expectations, until=until)
