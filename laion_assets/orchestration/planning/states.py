"""How everything stands: stages of crawls, SQL models, and the trainings and scores of recipes. The rules are here."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType

from laion_assets.delta.errors import LakeError
from laion_assets.delta.inputs import Judged
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.staleness import judge, lake_states
from laion_assets.delta.states import Expectation, PartitionState, State
from laion_assets.evaluation.benchmark import BenchmarkError
from laion_assets.evaluation.registry import registered
from laion_assets.orchestration.planning.parts import CALIBRATIONS, OVER_RECIPES, SCORE_TABLES, SCORES, TRAININGS
from laion_assets.orchestration.removals import JudgedRemovals, judged_removals
from laion_assets.release.begun import FILES, RELEASES, begun_releases
from laion_assets.settings import Settings
from laion_assets.sql.build import declared, model_states
from laion_assets.sql.project import Project, open_project
from laion_assets.sql.selection import ALWAYS_CURRENT, training_stage
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from laion_assets.tables.declaration import Outside
from laion_assets.training.recipe import RecipeError

_PINNED = (
    "settings changed",
    "code version",
    "written without validation",
    "damaged",
    *ALWAYS_CURRENT,
    *(outside.label for outside in Outside),
)
"""Beginnings of the reasons for which a training set is made again. That the tables below it went on is none: a
training set stays what it was selected to be until somebody asks for it anew."""


def is_due(state: PartitionState) -> bool:
    """Whether a build of the partition would mend something: it is missing, or stale for a reason of its own.

    What is stale only for what it is built on is due when that was built, and came out otherwise.
    """
    return state.state is State.MISSING or bool(state.reasons)


# -- crawls -----------------------------------------------------------------------------------------------------------


def current_states(
    lake: Lake, settings: Settings, crawls: Sequence[str], *, until: str | None = None
) -> list[PartitionState]:
    """The state of the partitions of these crawls and of all built ones before them, whose state they inherit."""
    known = {*lake.periods, *crawls}
    still = lake.at_rest()
    return lake_states(still, [*known], judged_removals(still, settings).expectations(still), until=until)


def calibration_is_due(lake: Lake, settings: Settings) -> bool:
    """Whether the thresholds of the encoders have to be measured, or measured anew."""
    if settings.calibration.pairs is None:
        return False
    expected = settings.expectations("")[CALIBRATIONS].settings_digest
    ledger = lake.ledger(CALIBRATIONS)
    return not any(expected in (None, c.settings_digest) and ledger.is_trusted(c) for c in ledger.commits.values())


# -- SQL models -------------------------------------------------------------------------------------------------------


def states_of_models(lake: Lake, project: Project, stages: Iterable[PartitionState]) -> list[PartitionState]:
    """Every partition of every SQL model, and each model that cannot run, with why; disabled ones are none.

    Args:
        lake: the lake.
        project: the models.
        stages: how the stages below them stand.
    """
    judged = {(state.table, state.name): state for state in stages}
    states = [*model_states(project, declared(lake, project).at_rest(), judged).values()]
    for name in project.held():
        model = project.models[name]
        if model.held != "disabled":
            states.append(PartitionState(table=name, partition={}, state=State.MISSING, reasons=(model.why_held,)))
    return states


# -- releases ---------------------------------------------------------------------------------------------------------


def states_of_releases(lake: Lake) -> Iterator[PartitionState]:
    """Every release that was begun, and its parts: done, or missing. Neither ever becomes stale: a release stays what
    it is. Whether its files lie where they were written `laion release verify` says.
    """
    still = lake.at_rest()
    for release in begun_releases(lake):
        yield PartitionState(table=RELEASES, partition={"release": release.name}, state=State.DONE)
        for crawl, bucket in release.part_rows:
            part: Partition = {"release": release.name, "crawl": crawl, "bucket": bucket}
            commit = still.commit(FILES, part)
            trusted = commit is not None and still.ledger(FILES).is_trusted(commit)
            yield PartitionState(table=FILES, partition=part, state=State.DONE if trusted else State.MISSING)


# -- recipes ----------------------------------------------------------------------------------------------------------


def recipe_state(
    lake: Lake,
    settings: Settings,
    project: Project,
    table: str,
    partition: Partition,
    *,
    judged: Judged = MappingProxyType({}),
    removals: JudgedRemovals | None = None,
) -> PartitionState:
    """How an evaluation set, or what was made of a recipe, stands.

    Args:
        lake: the lake.
        settings: of it.
        project: the SQL models, from which recipes select.
        table: of the partition.
        partition: by recipe, benchmark, both or neither.
        judged: states of partitions upstream; those that are not there count as done.
        removals: takedowns and deny lists, where they are known already.

    Raises:
        RecipeError: there is no such recipe, or it is wrong.
        LakeError: the recipe selects from what is no list of pairs.
    """
    expected = (removals or judged_removals(lake, settings)).expectation(lake, table, partition)
    if table != "training_sets":
        return judge(lake, TABLES[table], partition, expected, judged)
    source = settings.recipe(str(partition["recipe"])).selection.source
    return _pinned(judge(lake, training_stage(project, source), partition, expected, judged))


def training_set_state(lake: Lake, settings: Settings, recipe: str) -> PartitionState:
    """How the training set of a recipe stands; see :func:`recipe_state`."""
    return recipe_state(lake, settings, open_project(settings.models), "training_sets", {"recipe": recipe})


def checkpoint_state(lake: Lake, settings: Settings, recipe: str) -> PartitionState:
    """How the checkpoints of a recipe stand."""
    return recipe_state(lake, settings, open_project(settings.models), "clip_checkpoints", {"recipe": recipe})


def contaminated(lake: Lake, settings: Settings, recipes: Sequence[str]) -> list[str]:
    """The recipes whose training sets were made before all evaluation sets of now were registered."""
    states = {name: training_set_state(lake, settings, name) for name in recipes}
    return [name for name, state in states.items() if "benchmark_images changed" in state.reasons]


def states_of_recipes(
    lake: Lake, settings: Settings, project: Project, asked_for: Iterable[str]
) -> list[PartitionState]:
    """The training set, the checkpoints and the scores of every recipe that the lake holds or that was asked for.

    Args:
        lake: the lake.
        settings: of it.
        project: the SQL models, from which recipes select.
        asked_for: recipes of which the lake may hold nothing yet.
    """
    still = lake.at_rest()
    removals = judged_removals(still, settings)
    states: dict[tuple[str, str], PartitionState] = {}
    for table, partition in _of_recipes(still, settings, asked_for):
        try:
            state = recipe_state(still, settings, project, table, partition, judged=states, removals=removals)
        except RecipeError:  # its file is gone or wrong: what was trained by it is what it was
            found = judge(still, TABLES[table], partition, Expectation(settings_digest=None), states)
            state = _pinned(found) if table == "training_sets" else found
        except LakeError as error:
            how = State.STALE if still.commit(table, partition) else State.MISSING
            state = PartitionState(table=table, partition=partition, state=how, reasons=(str(error),))
        states[table, state.name] = state
    return list(states.values())


def _of_recipes(lake: Lake, settings: Settings, asked_for: Iterable[str]) -> Iterator[tuple[str, Partition]]:
    """(table, partition) of all that can be there, upstream first."""
    held = {
        table: [CATALOGUE.partition(name) for name in lake.ledger(table).commits] for table in (*TRAININGS, *SCORES)
    }
    recipes = sorted({*asked_for, *(str(place["recipe"]) for table in TRAININGS for place in held[table])})
    for table in TRAININGS:
        for recipe in recipes:
            yield table, {"recipe": recipe}
    trained = [str(place["recipe"]) for place in held["clip_checkpoints"]]
    benchmarks = [*_benchmarks(lake, settings)]
    crossed: list[Partition] = [{"recipe": recipe, "benchmark": name} for recipe in trained for name in benchmarks]
    for table in SCORE_TABLES:
        for place in (*held[table], *(place for place in crossed if place not in held[table])):
            yield table, place
    if any(held[table] for table in SCORES):
        for table in OVER_RECIPES:
            yield table, {}


def _benchmarks(lake: Lake, settings: Settings) -> Iterator[str]:
    """The registered evaluation sets whose folder is there."""
    for name in lake.ledger("benchmark_images").commits:
        benchmark = str(CATALOGUE.partition(name)["benchmark"])
        with contextlib.suppress(BenchmarkError):
            yield registered(settings.benchmark_folder, benchmark).name


def _pinned(found: PartitionState) -> PartitionState:
    """The state of a training set, in which that the tables below it went on is no reason."""
    if found.state is State.MISSING:
        return found
    due = tuple(reason for reason in found.reasons if reason.startswith(_PINNED))
    state = State.STALE if due else State.DONE
    return PartitionState(table=found.table, partition=found.partition, state=state, reasons=due)
