"""A look at everything: the lake's commits, and what Dagster remembers."""

from collections.abc import Sequence
from dataclasses import replace

import dagster as dg

from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.planning.parts import SCORES, TRAININGS
from laion_assets.orchestration.planning.states import (
    current_states,
    states_of_models,
    states_of_recipes,
    states_of_releases,
)
from laion_assets.orchestration.registration import registered
from laion_assets.orchestration.runs.history import RunHistory
from laion_assets.orchestration.runs.status import LakeStatus, lake_status
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project
from laion_assets.tables.catalogue import PER_CRAWL, PER_RELEASE


def look(settings: Settings, instance: dg.DagsterInstance, crawls: Sequence[str] = ()) -> tuple[LakeStatus, RunHistory]:
    """How everything stands now, with what Dagster remembers of builds that published nothing.

    Args:
        settings: of the lake.
        instance: remembers them.
        crawls: those to look at; none: all, and what belongs to no crawl.
    """
    lake, project = settings.open_lake(create=False), open_project(settings.models)
    stages = current_states(lake, settings, registered(instance, "crawl"))
    history = RunHistory(
        instance, Keys(settings, project), (*PER_CRAWL, *TRAININGS, *SCORES, *PER_RELEASE, *project.enabled)
    )
    tried = {name.removeprefix("recipe=") for table, name in history.failed | history.running if table in TRAININGS}
    recipes = {*registered(instance, "recipe"), *tried}
    states = [
        *stages,
        *states_of_models(lake, project, stages),
        *states_of_recipes(lake, settings, project, recipes),
        *states_of_releases(lake),
    ]
    return replace(lake_status(settings.lake, states, history, crawls), faults=project.faults), history
