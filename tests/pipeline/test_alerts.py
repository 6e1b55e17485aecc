"""Somebody is told what failed: once, with what heals it, and whatever becomes of the receiver."""

import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from pydantic import SecretStr

from laion_assets.common.messages import AlertOptions, receivers
from laion_assets.orchestration.automation.alerts import ATTEMPTS, Teller
from laion_assets.orchestration.automation.news import Bulletin
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.keys import Keys
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project
from tests.pipeline.conftest import materialise
from tests.pipeline.daemon import Clock
from tests.receivers import Received, mail_server, webhook

OLD, NEW = "CC-MAIN-2025-05", "CC-MAIN-2025-13"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One that keeps its events in files, as that of a machine does."""
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
def url(received: Received) -> Iterator[str]:
    with webhook(received) as address:
        yield address


def source(folder: Path, **files: int) -> str:
    """A source of crawls, each with so many files, which are listed and are not there."""
    crawls = {name.replace("_", "-"): number for name, number in files.items()}
    (folder / "collinfo.json").parent.mkdir(parents=True, exist_ok=True)
    (folder / "collinfo.json").write_text(json.dumps([{"id": crawl} for crawl in crawls]))
    for crawl, number in crawls.items():
        listed = folder / "crawl-data" / crawl / "wat.paths.gz"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_bytes(gzip.compress("".join(f"crawl-data/{crawl}/{n}.wat.gz\n" for n in range(number)).encode()))
    return str(folder)


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    models = tmp_path / "models"
    (models / "models").mkdir(parents=True)
    return Settings(  # type: ignore[call-arg]
        _env_file=None,
        lake=str(tmp_path / "lake"),
        source=source(tmp_path / "source", CC_MAIN_2025_05=40, CC_MAIN_2025_13=2),
        models=str(models),
        alerts=AlertOptions(webhook=SecretStr(url), ui="https://ui.example.org/"),
    )


class Sensor:
    """A sensor of a code location, tick after tick."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, name: str) -> None:
        self._repository = build_definitions(settings).get_repository_def()
        self.definition = self._repository.get_sensor_def(name)
        self._instance = instance
        self._cursor: str | None = None

    def tick(self) -> str:
        """What became of it, in words."""
        context = dg.build_sensor_context(
            instance=self._instance, repository_def=self._repository, cursor=self._cursor, sensor_name="any"
        )
        data = self.definition.evaluate_tick(context)
        self._cursor = data.cursor
        assert not data.run_requests
        return str(data.skip_message)


def fail(settings: Settings, instance: dg.DagsterInstance, crawl: str) -> dg.DagsterRun:
    """A run that fails: its crawl is in no list."""
    assert not materialise(settings, instance, "crawl_snapshots", {"crawl": crawl})
    return instance.get_runs(limit=1)[0]


def teller(settings: Settings, options: AlertOptions, clock: Clock) -> Teller:
    """Tells of failed runs, by a clock that the test moves."""
    keys = Keys(settings, open_project(settings.models))
    return Teller(receivers(options), Bulletin(keys, "").failed_runs, "failed runs", settings.lake, clock)


def test_the_sensors_run_by_themselves_where_there_is_somebody_to_tell_and_only_there(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    for name in ("tell_failed_runs", "tell_failed_checks", "tell_overdue"):
        told = Sensor(settings, instance, name)
        assert told.definition.default_status is dg.DefaultSensorStatus.RUNNING
        nobody = Sensor(settings.model_copy(update={"alerts": AlertOptions()}), instance, name)
        assert nobody.definition.default_status is dg.DefaultSensorStatus.STOPPED
        assert nobody.tick().startswith("nobody is told: set LAION_ALERTS__WEBHOOK")


def test_a_failed_run_is_told_once_with_its_place_its_error_its_cure_and_its_page(
    settings: Settings, instance: dg.DagsterInstance, received: Received
) -> None:
    before = fail(settings, instance, "CC-BEFORE")
    sensor = Sensor(settings, instance, "tell_failed_runs")
    sensor.tick()
    run = fail(settings, instance, "CC-NONE")
    assert materialise(settings, instance, "crawl_snapshots", {"crawl": OLD})
    sensor.tick()
    sensor.tick()
    [text] = received.texts
    advice = "`laion crawls` shows those it has"
    head, line = text.splitlines()
    assert head == f"laion: failed runs: 1 ({settings.lake})"
    assert line.split("; ") == [
        f"• crawl_snapshots [crawl=CC-NONE]: {settings.source} lists no crawl CC-NONE: {advice}",
        "`laion build CC-NONE` makes it again",
        f"https://ui.example.org/runs/{run.run_id}",
    ]
    assert before.run_id not in text, "nobody is told of what was before"


def test_a_storm_of_failures_is_one_message(
    settings: Settings, instance: dg.DagsterInstance, received: Received
) -> None:
    sensor = Sensor(settings, instance, "tell_failed_runs")
    sensor.tick()
    for number in range(12):
        fail(settings, instance, f"CC-{number:02}")
    sensor.tick()
    [text] = received.texts
    assert text.startswith("laion: failed runs: 12 (")
    assert text.endswith("\n… and 2 more: `laion status` shows all")
    assert text.count("•") == 10


def test_what_a_run_fails_of_before_its_first_step_is_told_too(
    settings: Settings, instance: dg.DagsterInstance, received: Received
) -> None:
    sensor = Sensor(settings, instance, "tell_failed_runs")
    sensor.tick()
    job = build_definitions(settings).resolve_job_def("maintenance")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run, "its process died")
    sensor.tick()
    assert "• maintenance: its process died; `laion gc` does by hand" in received.texts[0]


def test_what_dagster_tries_again_by_itself_is_told_when_it_gave_up(
    settings: Settings, instance: dg.DagsterInstance, received: Received
) -> None:
    sensor = Sensor(settings, instance, "tell_failed_runs")
    sensor.tick()
    job = build_definitions(settings).resolve_job_def("maintenance")
    for again in ("true", "false"):
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, {"dagster/will_retry": again})
        instance.report_run_failed(run, f"again: {again}")
    sensor.tick()
    assert "again: true" not in received.texts[0]
    assert "again: false" in received.texts[0]


def test_a_check_that_warns_is_told_though_the_run_went_well(
    settings: Settings, instance: dg.DagsterInstance, received: Received
) -> None:
    for crawl in (OLD, NEW):
        assert materialise(settings, instance, "crawl_snapshots", {"crawl": crawl})
    assert materialise(settings, instance, "wat_files", {"crawl": OLD})
    sensor = Sensor(settings, instance, "tell_failed_checks")
    sensor.tick()
    assert materialise(settings, instance, "wat_files", {"crawl": NEW})
    sensor.tick()
    sensor.tick()
    [text] = received.texts
    assert f"• wat_files [crawl={NEW}]: check like_earlier_crawls: files: 2, against 40, the median" in text
    assert "materialize wat_files again in `laion ui` once the cause is gone" in text


def test_what_is_overdue_is_told(settings: Settings, instance: dg.DagsterInstance, received: Received) -> None:
    sensor = Sensor(settings, instance, "tell_overdue")
    sensor.tick()
    for state in (FreshnessState.WARN, FreshnessState.FAIL):
        change: Any = FreshnessStateChange(
            key=dg.AssetKey("maintenance"),
            new_state=state,
            previous_state=FreshnessState.PASS,
            state_change_timestamp=1_700_000_000.0,
        )
        instance._report_runless_asset_event(change)
    sensor.tick()
    sensor.tick()
    [text] = received.texts
    assert text.count("•") == 1
    assert "• maintenance: has not been built in the time that it may take" in text


def test_a_receiver_that_was_down_gets_everything_once_when_it_is_back(
    settings: Settings, instance: dg.DagsterInstance, received: Received, url: str
) -> None:
    clock = Clock()
    told = teller(settings, AlertOptions(webhook=SecretStr(url)), clock)
    cursor, _ = told.tick(instance, None)
    received.status = 503
    fail(settings, instance, "CC-FIRST")
    cursor, said = told.tick(instance, cursor)
    assert said == "webhook at 127.0.0.1 answered HTTP 503; it is tried again"
    fail(settings, instance, "CC-SECOND")
    cursor, said = told.tick(instance, cursor)
    assert (received.asked, said) == (1, "webhook at 127.0.0.1: is tried again after 1 attempts")
    received.status = 200
    clock.seconds += 60
    for _ in range(2):
        cursor, _ = told.tick(instance, cursor)
        clock.seconds += 60
    [text] = received.texts
    assert "CC-FIRST" in text
    assert "CC-SECOND" in text


def test_a_receiver_that_stays_down_is_given_up_and_what_it_missed_is_logged(
    settings: Settings,
    instance: dg.DagsterInstance,
    received: Received,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    clock = Clock()
    told = teller(settings, AlertOptions(webhook=SecretStr(url)), clock)
    cursor, _ = told.tick(instance, None)
    received.status = 500
    fail(settings, instance, "CC-NONE")
    for _ in range(ATTEMPTS):
        clock.seconds += 3_600
        cursor, said = told.tick(instance, cursor)
    assert "given up; this was to be told: laion: failed runs: 1" in said
    [logged] = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR and "told" in record.getMessage()
    ]
    assert "CC-NONE" in logged
    assert "s3cr3t" not in caplog.text
    clock.seconds += 3_600
    cursor, said = told.tick(instance, cursor)
    assert (received.asked, said) == (ATTEMPTS, "webhook at 127.0.0.1: nothing new")
    received.status = 200
    fail(settings, instance, "CC-LATER")
    told.tick(instance, cursor)
    assert "CC-LATER" in received.texts[0], "and it is tried again with what comes later"
    assert "CC-NONE" not in received.texts[0]


def test_a_receiver_that_is_down_keeps_no_news_from_another_and_repeats_none_to_it(
    settings: Settings, instance: dg.DagsterInstance, received: Received, url: str
) -> None:
    received.status = 500
    clock = Clock()
    with mail_server(received) as port:
        options = AlertOptions(
            webhook=SecretStr(url),
            mail_to=("a@example.org",),
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_security="none",
        )
        told = teller(settings, options, clock)
        cursor, _ = told.tick(instance, None)
        fail(settings, instance, "CC-NONE")
        for _ in range(4):
            clock.seconds += 3_600
            cursor, _ = told.tick(instance, cursor)
    [mail] = received.mails
    assert "CC-NONE" in mail.get_content()
    assert received.asked == 4
