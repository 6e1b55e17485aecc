"""``partition_states`` after a command: how everything stands now, as a table, so that the pages show it too."""

from collections.abc import Sequence

import dagster as dg
from rich.console import Console

from laion_assets.cli.common import complain
from laion_assets.cli.display import build_display
from laion_assets.consent.removals import RemovalError
from laion_assets.delta.errors import LakeError
from laion_assets.delta.space import tells_disk_trouble
from laion_assets.orchestration.automation.overview import PARTITION_STATES, Overview
from laion_assets.orchestration.automation.runs import registered_crawls
from laion_assets.orchestration.runs.abandoned import other_builders
from laion_assets.orchestration.runs.runner import Outcome, Runner
from laion_assets.settings import Settings, SettingsError
from laion_assets.sql.project import open_project


def record_standing(
    settings: Settings, instance: dg.DagsterInstance, console: Console, *, errors: Sequence[str] = ()
) -> None:
    """Build ``partition_states`` where it says something else than there is; what stops it stops nothing else.

    Args:
        settings: of the lake.
        instance: keeps the run.
        console: shows how it goes.
        errors: of partitions that failed since: the table says that they did, and the lake does not.
    """
    if any(map(tells_disk_trouble, errors)):
        return  # what could not write the partitions writes no table of them
    try:
        picture = Overview(settings, open_project(settings.models)).look(registered_crawls(instance))
    except (LakeError, RemovalError, SettingsError) as unreadable:
        complain("warning", f"{PARTITION_STATES} is as it was: {unreadable}")
        return
    if not (errors or picture.states_due) or other_builders(picture.lake.staging / "builders"):
        return  # the last of several builders says how everything stands
    outcome = Outcome()
    with build_display(console) as reporter:
        runner = Runner(settings, instance, reporter, settings.open_lake(create=False))
        with runner.building():
            reporter.begin(PARTITION_STATES, 1)
            runner.run_each(PARTITION_STATES, [{}], outcome)
    for table, _, error in outcome.failures:
        complain("warning", f"{table}: {error}")
