"""The verification schedule, and the run it asks for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.lake.opening import lake_at
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.settings import Settings, SettingsError, load_settings
from tests.unit.delta.written import written_lake


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    written_lake(str(folder / "lake"), folder / "scratch")
    return folder / "lake"


@pytest.fixture
def settings(original: Path, tmp_path: Path) -> Settings:
    shutil.copytree(original, tmp_path / "lake")
    (tmp_path / "recipes").mkdir()
    return Settings(_env_file=None, lake=str(tmp_path / "lake"), recipes=str(tmp_path / "recipes"))  # type: ignore[call-arg]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def run(settings: Settings, instance: dg.DagsterInstance, share: float) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def("verification")
    config = {"ops": {"compare_with_what_was_written": {"config": {"share": share}}}}
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def test_it_is_off_until_somebody_turns_it_on(settings: Settings, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def("verification")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == settings.verification.cron
    with dg.build_schedule_context(instance, repository_def=definitions.get_repository_def()) as context:
        assert len(schedule.evaluate_tick(context).run_requests or []) == 1


def test_a_run_on_a_sound_lake_succeeds(settings: Settings, instance: dg.DagsterInstance) -> None:
    assert run(settings, instance, 1.0).success


def test_a_fault_fails_the_run_and_stands_on_its_asset(settings: Settings, instance: dg.DagsterInstance) -> None:
    lake = lake_at(settings.lake)
    path = Path(lake.partition_sizes("unique_pairs", {"crawl": "CC-2024-10", "bucket": 0})[0][0])
    path.write_bytes(path.read_bytes()[:-9])
    result = run(settings, instance, 1.0)
    assert not result.success
    [observed] = instance.fetch_observations(dg.AssetKey("unique_pairs"), limit=9).records
    metadata = observed.asset_observation.metadata  # type: ignore[union-attr]
    assert metadata["faults"].value == 1
    assert "`laion verify unique_pairs --crawl CC-2024-10 --repair`" in metadata["what is damaged"].value
    assert lake_at(settings.lake).ledger("unique_pairs").damaged == {}, "it changes nothing"


def test_a_share_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("LAION_VERIFICATION__SHARE", "1.5")
    with pytest.raises(SettingsError, match=r"LAION_VERIFICATION.*share: expected more than 0 and at most 1"):
        load_settings()
