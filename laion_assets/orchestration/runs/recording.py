"""Whether ``partition_states``, by which the pages show how everything stands, has to be made again after a command."""

from collections.abc import Sequence

import dagster as dg

from laion_assets.delta.space import tells_disk_trouble
from laion_assets.orchestration.planning.overview import Overview
from laion_assets.orchestration.registration import registered
from laion_assets.orchestration.runs.abandoned import other_builders
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project


def states_to_record(settings: Settings, instance: dg.DagsterInstance, errors: Sequence[str] = ()) -> bool:
    """Whether the table says something else than there is, and nobody else is to make it.

    Args:
        settings: of the lake.
        instance: knows the crawls.
        errors: of partitions that failed since: the table says that they did, and the lake does not.

    Raises:
        LakeError, RemovalError, SettingsError: it cannot be judged how everything stands.
    """
    if any(map(tells_disk_trouble, errors)):
        return False  # what could not write the partitions writes no table of them
    judged = Overview(settings, open_project(settings.models)).look(registered(instance, "crawl"))
    # The last of several builders says how everything stands.
    return (bool(errors) or judged.states_due) and not other_builders(judged.lake.staging / "builders")
