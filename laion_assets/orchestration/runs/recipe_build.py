"""Training and evaluating recipes as Dagster runs: what is missing or stale, and nothing else."""

from collections.abc import Sequence

import dagster as dg

from laion_assets.cli.common import UsageError
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.staleness import PartitionState, State, judge
from laion_assets.evaluation.benchmark import Benchmark
from laion_assets.evaluation.registry import benchmark_names, registered
from laion_assets.orchestration.assets.step import removals_digest
from laion_assets.orchestration.assets.training import REFRESH_TAG
from laion_assets.orchestration.runs.registration import register
from laion_assets.orchestration.runs.runner import Outcome, Reporter, Runner
from laion_assets.settings import Settings
from laion_assets.sql.build import declared
from laion_assets.sql.project import open_project
from laion_assets.sql.selection import training_stage
from laion_assets.tables.catalogue import TABLES

PINNED = (
    "settings changed",
    "code version",
    "written without validation",
    "damaged",
    "benchmark_images",
    "takedowns",
    "removals",
)
"""Beginnings of the reasons for which a training set is made again. That the tables below it went on is none: a
training set stays what it was selected to be until somebody asks for it anew."""

SCORE_TABLES = ("zero_shot_scores", "retrieval_scores")
"""Tables of scores. Each has a partition for every benchmark, empty where the benchmark's task is not the table's."""


def training_set_state(lake: Lake, settings: Settings, recipe: str) -> PartitionState:
    """How the training set of a recipe stands.

    Raises:
        LakeError: the recipe selects from what is no list of pairs.
    """
    return _state(lake, settings, "training_sets", {"recipe": recipe})


def checkpoint_state(lake: Lake, settings: Settings, recipe: str) -> PartitionState:
    """How the checkpoints of a recipe stand."""
    return _state(lake, settings, "clip_checkpoints", {"recipe": recipe})


def _state(lake: Lake, settings: Settings, table: str, partition: Partition) -> PartitionState:
    stage = TABLES[table]
    if table == "training_sets":
        source = settings.recipe(str(partition["recipe"])).selection.source
        stage = training_stage(open_project(settings.models), source)
    expected = settings.expectation(table, partition, removals_digest(lake, settings))
    return judge(lake, stage, partition, expected, {})


class RecipeBuilder:
    """Trains and evaluates recipes of one lake as runs of one Dagster instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, reporter: Reporter) -> None:
        self._settings = settings
        self._instance = instance
        self._reporter = reporter
        self._lake = declared(settings.open_lake(create=False), open_project(settings.models))
        self._runner = Runner(settings, instance, reporter, self._lake)

    def train(self, recipes: Sequence[str], *, refresh: bool = False) -> Outcome:
        """Register the evaluation sets, make the training sets, train.

        Args:
            recipes: their names.
            refresh: select anew from the tables as they are now, also where a training set is there.
        """
        for name in recipes:
            self._settings.recipe(name)
        outcome = Outcome()
        register(self._instance, "recipe", list(recipes))
        with self._runner.building():
            self._register(benchmark_names(self._settings.benchmark_folder), outcome)
            self._build("training_sets", [{"recipe": name} for name in recipes], outcome, refresh=refresh)
            self._build("clip_checkpoints", [{"recipe": name} for name in recipes], outcome)
        return outcome

    def evaluate(self, recipes: Sequence[str], benchmarks: Sequence[str] = ()) -> Outcome:
        """Measure the checkpoints of trained recipes, and bring the tables over all recipes up to date.

        Args:
            recipes: their names.
            benchmarks: names of evaluation sets; none: all there are.

        Raises:
            UsageError: a recipe was not trained, or there is no evaluation set.
            BenchmarkError: an evaluation set does not exist, or its layout is wrong.
        """
        untrained = [name for name in recipes if self._lake.commit("clip_checkpoints", {"recipe": name}) is None]
        if untrained:
            raise UsageError(f"{', '.join(untrained)}: not trained yet; `laion train {' '.join(untrained)}` does it")
        folder = self._settings.benchmark_folder
        names = list(benchmarks) or benchmark_names(folder)
        if not names:
            raise UsageError(
                f"{folder} holds no benchmark: put evaluation sets there in CLIP_benchmark's webdataset layout, or "
                "name their folder in LAION_BENCHMARKS"
            )
        found = [registered(folder, name) for name in names]
        outcome = Outcome()
        with self._runner.building():
            self._register(names, outcome)
            for table in SCORE_TABLES:
                self._build(table, _crossed(recipes, found), outcome)
            for table in ("robustness", "scaling_laws"):
                self._build(table, [{}], outcome)
        return outcome

    def contaminated(self, recipes: Sequence[str]) -> list[str]:
        """The recipes whose training sets were made before all evaluation sets of now were registered."""
        states = {name: training_set_state(self._lake, self._settings, name) for name in recipes}
        return [name for name, state in states.items() if "benchmark_images changed" in state.reasons]

    def _register(self, names: Sequence[str], outcome: Outcome) -> None:
        register(self._instance, "benchmark", list(names))
        self._build("benchmark_images", [{"benchmark": name} for name in names], outcome)

    def _build(self, table: str, partitions: Sequence[Partition], outcome: Outcome, *, refresh: bool = False) -> None:
        due = [partition for partition in partitions if self._is_due(table, partition, refresh)]
        self._reporter.begin(table, len(due))
        tags = {REFRESH_TAG: "true"} if refresh else {}
        self._runner.run_each(table, due, outcome, tags)

    def _is_due(self, table: str, partition: Partition, refresh: bool) -> bool:
        state = _state(self._lake, self._settings, table, partition)
        if state.state is State.MISSING or refresh:
            return True
        if table == "training_sets":
            return any(reason.startswith(PINNED) for reason in state.reasons)
        return bool(state.reasons)


def _crossed(recipes: Sequence[str], benchmarks: Sequence[Benchmark]) -> list[Partition]:
    return [{"recipe": recipe, "benchmark": benchmark.name} for recipe in recipes for benchmark in benchmarks]
