"""Building SQL models as Dagster runs: what is missing or stale of those selected, upstream first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from laion_assets.delta.partition import WHOLE, Partition, partition_name
from laion_assets.delta.staleness import State
from laion_assets.orchestration.runs.registration import register
from laion_assets.orchestration.runs.runner import Outcome, Reporter, Runner, error_of
from laion_assets.settings import Settings
from laion_assets.sql.build import declared, model_states, partitions_of_model, stage_of
from laion_assets.sql.project import Project
from laion_assets.tables.stages import PER_CRAWL, partitions_read

_BAR = "SQL models"


@dataclass
class ModelOutcome(Outcome):
    """What a build of models did."""

    waiting: int = 0
    """Partitions that cannot be built yet: a table that goes into them is not there for all of their crawl."""

    def lacks(self, model: str, place: str) -> bool:
        """Whether a model should have been built for a place, and was not. A whole table is for every place."""
        lacking = [*self.left_out, *(failure[:2] for failure in self.failures)]
        return any(name == model and (other == place or WHOLE in (other, place)) for name, other in lacking)


@dataclass(frozen=True)
class Batch:
    """Models that one run builds together: of one crawl, or of all."""

    partition: Partition
    models: tuple[str, ...]


class ModelBuilder:
    """Builds models of one lake as runs of one Dagster instance."""

    def __init__(self, settings: Settings, project: Project, instance: dg.DagsterInstance, reporter: Reporter) -> None:
        self._project = project
        self._instance = instance
        self._reporter = reporter
        self._lake = declared(settings.open_lake(create=False), project)
        self._runner = Runner(settings, instance, reporter, self._lake)

    def build(self, names: Sequence[str], *, force: bool = False) -> ModelOutcome:
        """Build what is missing or stale of these models; with ``force`` all of them."""
        outcome = ModelOutcome()
        due = self._due(names, force, outcome)
        crawls = sorted({str(p["crawl"]) for partitions in due.values() for p in partitions if "crawl" in p})
        register(self._instance, "crawl", crawls)
        self._reporter.begin(_BAR, sum(map(len, due.values())))
        with self._runner.building():
            for batch in self._batches(names, due):
                self._run(batch, outcome)
        return outcome

    def _due(self, names: Sequence[str], force: bool, outcome: ModelOutcome) -> dict[str, list[Partition]]:
        states = model_states(self._project, self._lake)
        due: dict[str, list[Partition]] = {name: [] for name in names}
        for (name, _), state in states.items():
            if name not in due or (state.state is State.DONE and not force):
                continue
            if self._is_ready(name, state.partition):
                due[name].append(state.partition)
            else:
                outcome.waiting += 1
        # What is built on a model that is built now will be stale then.
        for name in names:
            if not due[name] and any(due.get(upstream) for upstream in self._project.upstream(name)):
                places = partitions_of_model(self._lake, self._project.models[name])
                due[name] = [place for place in places if self._is_ready(name, place)]
        return due

    def _is_ready(self, name: str, partition: Partition) -> bool:
        """Whether all tables are built that go into a crawl of a model: a crawl in the making has to wait."""
        if not partition:
            return True
        built = all(
            partition_name(upstream) in self._lake.ledger(read.table).commits
            for read in stage_of(self._project, name).reads
            if read.table in PER_CRAWL
            for upstream in partitions_read(self._lake, read, partition)
        )
        models = self._project.models
        return built and all(
            self._is_ready(n, partition) for n in self._project.upstream(name) if models[n].is_incremental
        )

    def _batches(self, names: Sequence[str], due: Mapping[str, Sequence[Partition]]) -> list[Batch]:
        """Runs in order, as few as the models' dependencies allow."""
        batches: list[Batch] = []
        left = [name for name in names if due[name]]
        while left:
            kind = self._project.models[left[0]].is_incremental
            chosen: list[str] = []
            for name in left:
                waits = [n for n in self._project.upstream(name) if n in left and n not in chosen]
                if self._project.models[name].is_incremental == kind and not waits:
                    chosen.append(name)
            left = [name for name in left if name not in chosen]
            places = {partition_name(p): p for name in chosen for p in due[name]}
            for place in sorted(places):
                models = tuple(n for n in chosen if place in [partition_name(p) for p in due[n]])
                batches.append(Batch(places[place], models))
        return batches

    def _run(self, batch: Batch, outcome: ModelOutcome) -> None:
        place = partition_name(batch.partition)
        left_out: list[str] = []
        for name in batch.models:
            if any(outcome.lacks(n, place) or n in left_out for n in self._project.upstream(name)):
                left_out.append(name)
        chosen = [n for n in batch.models if n not in left_out]
        key = str(batch.partition["crawl"]) if batch.partition else None
        events = self._runner.execute(chosen, key, {}).all_events if chosen else []
        failed = {e.step_key: error_of([e]) for e in events if e.is_step_failure}
        built = {e.asset_key.path[-1] for e in events if e.is_step_materialization and e.asset_key is not None}
        for name in batch.models:
            if name in built:
                outcome.built += 1
            elif name in failed or (name in chosen and not failed):
                error = failed.get(name, "the run failed before its step began")
                outcome.failures.append((name, place, error))
                self._reporter.failed(name, place, error)
            else:
                outcome.left_out.append((name, place))
            self._reporter.advance(_BAR)
