"""How stands what no crawl's stage is: SQL models, and the trainings and scores of recipes that somebody asked for."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, parse_partition
from laion_assets.delta.staleness import Expectation, PartitionState, State, judge
from laion_assets.evaluation.benchmark import BenchmarkError
from laion_assets.evaluation.registry import registered
from laion_assets.orchestration.assets.step import removals_digest
from laion_assets.orchestration.runs.recipe_build import PINNED, SCORE_TABLES
from laion_assets.orchestration.runs.standing import SCORES, TRAININGS
from laion_assets.settings import Settings
from laion_assets.sql.build import declared, model_states
from laion_assets.sql.project import Project
from laion_assets.sql.selection import training_stage
from laion_assets.tables.catalogue import TABLES
from laion_assets.training.recipe import RecipeError

_OVER_ALL: Final = ("robustness", "scaling_laws")


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
            reason = f"{model.held}: {model.disabled}"
            states.append(PartitionState(table=name, partition={}, state=State.MISSING, reasons=(reason,)))
    return states


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
    removals = removals_digest(lake, settings)
    states: dict[tuple[str, str], PartitionState] = {}
    for table, partition in _partitions(still, settings, asked_for):
        state = _state(still, settings, project, table, partition, removals, states)
        states[table, state.name] = state
    return list(states.values())


def _partitions(lake: Lake, settings: Settings, asked_for: Iterable[str]) -> Iterator[tuple[str, Partition]]:
    """(table, partition) of all that can be there, upstream first."""
    held = {table: [parse_partition(name) for name in lake.ledger(table).commits] for table in (*TRAININGS, *SCORES)}
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
        for table in _OVER_ALL:
            yield table, {}


def _benchmarks(lake: Lake, settings: Settings) -> Iterator[str]:
    """The registered evaluation sets whose folder is there."""
    for name in lake.ledger("benchmark_images").commits:
        benchmark = str(parse_partition(name)["benchmark"])
        with contextlib.suppress(BenchmarkError):
            yield registered(settings.benchmark_folder, benchmark).name


def _state(
    lake: Lake,
    settings: Settings,
    project: Project,
    table: str,
    partition: Partition,
    removals: str | None,
    judged: Mapping[tuple[str, str], PartitionState],
) -> PartitionState:
    stage, expected = TABLES[table], Expectation(settings_digest=None)
    try:
        expected = settings.expectation(table, partition, removals)
        if table == "training_sets":
            stage = training_stage(project, settings.recipe(str(partition["recipe"])).selection.source)
    except RecipeError:  # its file is gone or wrong: what was trained by it is what it was
        pass
    except LakeError as error:
        state = State.STALE if lake.commit(table, partition) else State.MISSING
        return PartitionState(table=table, partition=partition, state=state, reasons=(str(error),))
    found = judge(lake, stage, partition, expected, judged)
    if table != "training_sets" or found.state is State.MISSING:
        return found
    # That the tables below it went on makes no training set due.
    due = tuple(reason for reason in found.reasons if reason.startswith(PINNED))
    state = State.STALE if due else State.DONE
    return PartitionState(table=table, partition=partition, state=state, reasons=due)
