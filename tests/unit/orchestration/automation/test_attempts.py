"""How often automation tries: what somebody stopped is no attempt."""

import time

import dagster as dg

from laion_assets.orchestration.automation.attempts import Attempts
from laion_assets.orchestration.keys import Keys, stopped_partitions
from laion_assets.orchestration.planning.backlog import Answer, Item
from laion_assets.settings import AutomationOptions, Settings
from laion_assets.sql.project import open_project

PLACE = ("funnel", "all")


@dg.asset
def funnel() -> None:
    """What the runs are to build."""


ITEM = Item("funnel", {}, lambda: "digest", retry=False)


def test_a_run_that_was_stopped_is_not_counted_and_one_that_failed_is(tmp_path) -> None:
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"))  # type: ignore[call-arg]
    keys = Keys(settings, open_project(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:

        def once(end: str) -> Answer:
            """Ask for the model, let its run end so, and say whether another may be asked for an hour later."""
            options = AutomationOptions(attempts=2, retry_minutes=10)
            attempts = Attempts(instance, "lake", options)
            attempts.requested([ITEM])
            job = dg.Definitions(assets=[funnel]).resolve_implicit_global_asset_job_def()
            run = instance.create_run_for_job(job, asset_selection=frozenset({dg.AssetKey("funnel")}))
            getattr(instance, f"report_run_{end}")(run)
            attempts.interrupted(stopped_partitions(attempts.since, keys, instance))
            attempts.keep({PLACE})
            now = time.time()
            later = Attempts(instance, "lake", options, clock=lambda: now + 3_600)
            return later.ask(*PLACE, lambda: "digest")

        assert [once("canceled") for _ in range(5)] == [Answer.RETRY] * 5
        assert [once("failed") for _ in range(2)] == [Answer.RETRY, Answer.NEVER]
