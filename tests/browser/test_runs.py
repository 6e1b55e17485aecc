"""Runs that the command line made, as Dagster's pages know them: of a location and a job, and to be started again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.cli.status import look
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.history import RunHistory
from laion_assets.orchestration.runs.home import dagster_instance
from laion_assets.orchestration.runs.status import LakeStatus
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from tests.browser.ui import Server, serving
from tests.pipeline.conftest import MakeSettings, Quiet, environment, free_port

pytestmark = [pytest.mark.slow, pytest.mark.integration]

FIRST, SECOND = CRAWLS
LABEL = "__repository__@laion"

_RUNS = """query ($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results {
  runId status hasReExecutePermission repositoryOrigin { repositoryName repositoryLocationName }
} } } }"""
_JOB = """query ($job: PipelineSelector!) { pipelineOrError(params: $job) { ... on Pipeline { runs { runId } } } }"""
_AGAIN = """mutation ($parent: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $parent) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
} }"""


@dataclass(frozen=True)
class Made:
    """What the command line did before anybody looked: one run that failed, and some that did not."""

    settings: Settings
    home: Path
    server: Server
    failed: str
    successful: list[str]


@pytest.fixture(scope="module")
def made(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "empty").mkdir()
    settings, home = make_settings(folder / "lake"), folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dagster_instance() as instance:
            nowhere = make_settings(folder / "lake", source=str(folder / "empty"))
            lost = Builder(nowhere, instance, Quiet()).build(CrawlRequest(crawls=[FIRST], until="crawl_snapshots"))
            assert len(lost.failures) == 1
            built = Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=[SECOND], until="wat_files"))
            assert built.failures == []
            runs = {run.run_id: run.status for run in instance.get_runs()}
    failed = [run for run, status in runs.items() if status is dg.DagsterRunStatus.FAILURE]
    with serving(environment(settings, home), free_port(), folder / "ui.log") as server:
        yield Made(settings, home, server, failed[0], [run for run in runs if run not in failed])


def looked(made: Made) -> tuple[LakeStatus, RunHistory]:
    """What `laion status` shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(made.home))
        return look(made.settings)


def again(server: Server, run: str, strategy: str) -> str:
    """Start a run again, as its page does, and wait until it went well."""
    asked = server.ask(_AGAIN, parent={"parentRunId": run, "strategy": strategy})["launchRunReexecution"]
    assert asked["__typename"] == "LaunchRunSuccess", asked
    started = str(asked["run"]["runId"])

    def ended() -> str | None:
        (found,) = server.ask(_RUNS, filter={"runIds": [started]})["runsOrError"]["results"]
        assert found["status"] not in ("FAILURE", "CANCELED"), found
        return found["status"] if found["status"] == "SUCCESS" else None

    server.wait_for(f"the end of {started}", ended, 120)
    return started


def test_they_belong_to_the_location_and_the_job_that_the_pages_load(made: Made) -> None:
    tag = {"tags": [{"key": ".dagster/repository", "value": LABEL}]}
    found = made.server.ask(_RUNS, filter=tag)["runsOrError"]["results"]
    assert {run["runId"] for run in found} == {made.failed, *made.successful}
    for run in found:
        assert run["repositoryOrigin"] == {"repositoryName": "__repository__", "repositoryLocationName": "laion"}
        assert run["hasReExecutePermission"]
    job = {"pipelineName": "__ASSET_JOB", "repositoryName": "__repository__", "repositoryLocationName": "laion"}
    listed = made.server.ask(_JOB, job=job)["pipelineOrError"]["runs"]
    assert {run["runId"] for run in listed} == {made.failed, *made.successful}


def test_the_status_agrees_with_the_pages(made: Made) -> None:
    found, attempts = looked(made)
    assert found.of_table("crawl_snapshots") == {"done": 1, "failed": 1}
    assert made.server.partitions("crawl_snapshots") == {"materialized": 1, "materializing": 0, "failed": 1}
    assert {failure.run_id for failure in attempts.failures(attempts.failed).values()} == {made.failed}


def test_they_are_started_again_from_their_pages(made: Made) -> None:
    again(made.server, made.failed, "FROM_FAILURE")
    again(made.server, made.successful[0], "ALL_STEPS")
    found, _ = looked(made)
    shown = made.server.partitions("crawl_snapshots")
    assert found.of_table("crawl_snapshots") == {"done": 2}, "as the page has it"
    assert shown == {"materialized": 2, "materializing": 0, "failed": 0}
