"""The maintenance schedule, and the run it asks for."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.lake.takedowns import request_takedown
from laion_assets.orchestration.automation.maintenance import survey
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.settings import Settings, SettingsError, load_settings
from tests.unit.delta.aging import backdate_all, readable
from tests.unit.delta.tables_made import made

BUCKET = "crawl=CC-2024-10/bucket=0"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "recipes").mkdir()
    return Settings(_env_file=None, lake=str(tmp_path / "lake"), recipes=str(tmp_path / "recipes"))  # type: ignore[call-arg]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made_instance:
        yield made_instance


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """A lake with one version that may go."""
    made_lake = settings.open_lake()
    for n in (1, 2):
        made(made_lake, "unique_pairs", BUCKET, [{"pair_id": n}])
    backdate_all(made_lake, 100)
    return made_lake


def test_removed_rows_are_told_of_as_long_as_a_replaced_version_can_be_read(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    made_lake = settings.open_lake()
    made(made_lake, "unique_pairs", BUCKET, [{"pair_id": 1}])
    request_takedown(made_lake, "pair_id", "1", None)
    seen = survey(settings, made_lake, instance)
    assert (seen.removed_rows, seen.replaced_rows) == ({}, {})  # a build has to take it out first
    made(made_lake, "unique_pairs", BUCKET, [{"pair_id": 2}])
    assert survey(settings, made_lake, instance).replaced_rows == {"unique_pairs": 1}
    backdate_all(made_lake, 100)
    assert survey(settings, made_lake, instance).replaced_rows == {}


def tick(settings: Settings, instance: dg.DagsterInstance) -> list[dg.RunRequest] | str | None:
    """What the schedule asks for now, or why nothing."""
    definitions = build_definitions(settings)
    with dg.build_schedule_context(instance, repository_def=definitions.get_repository_def()) as context:
        found = definitions.resolve_schedule_def("maintenance").evaluate_tick(context)
    return list(found.run_requests or []) or found.skip_message


def test_it_is_off_until_somebody_turns_it_on(settings: Settings) -> None:
    schedule = build_definitions(settings).resolve_schedule_def("maintenance")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == settings.retention.cron


def test_the_run_that_the_schedule_asks_for_removes_what_may_go(
    settings: Settings, lake: Lake, instance: dg.DagsterInstance
) -> None:
    requests = tick(settings, instance)
    assert isinstance(requests, list)
    [request] = requests
    job = build_definitions(settings).resolve_job_def("maintenance")
    assert job.execute_in_process(instance=instance, run_config=request.run_config, tags=request.tags).success
    [shown] = instance.fetch_materializations(dg.AssetKey("maintenance"), limit=1).records
    metadata = shown.asset_materialization.metadata  # type: ignore[union-attr]
    assert not readable(lake, "unique_pairs", 1)
    assert readable(lake, "unique_pairs", 2)
    assert metadata["files removed"].value == 1
    assert "| unique_pairs | 0.0 |" in metadata["by table"].value


def test_it_asks_for_no_second_run_at_the_same_time(settings: Settings, instance: dg.DagsterInstance) -> None:
    job = build_definitions(settings).resolve_job_def("maintenance")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(settings, instance) == f"run {run.run_id} has not ended yet"
    instance.report_run_failed(run)
    assert isinstance(tick(settings, instance), list)


def test_a_run_that_has_begun_keeps_what_it_may_read(
    settings: Settings, lake: Lake, instance: dg.DagsterInstance
) -> None:
    assert survey(settings, lake, instance).plan.running_since is None
    job = build_definitions(settings).resolve_job_def("maintenance")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert survey(settings, lake, instance).plan.running_since is not None
    assert survey(settings, lake, instance, own_run=run.run_id).plan.running_since is None


def test_a_version_that_a_recipe_names_stays(settings: Settings, lake: Lake, instance: dg.DagsterInstance) -> None:
    (Path(settings.recipes) / "r.yaml").write_text(
        "recipes: {old: {model: RN50, selection: {source: unique_pairs, versions: {unique_pairs: 1}}, "
        "samples_seen: 64, epochs: 1, global_batch_size: 16, samples_per_shard: 16, learning_rate: 0.001}}"
    )
    assert [pin.reader for pin in survey(settings, lake, instance).plan.pins] == ["recipe old"]
    assert survey(settings, lake, instance, let_go=["old"]).plan.pins == ()


def test_days_that_would_take_what_is_being_written_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAION_RETENTION__DAYS", "0.5")
    with pytest.raises(SettingsError, match=r"LAION_RETENTION: .*at least 1"):
        load_settings()
