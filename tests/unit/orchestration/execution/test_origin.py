"""Runs that this process makes belong to the code location that Dagster's pages load."""

import socket
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from laion_assets.common.shipped import shipped
from laion_assets.orchestration.execution.origin import give_runs_an_origin, job_origin
from laion_assets.orchestration.runs.abandoned import BUILDER_TAG, end_abandoned_runs

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        give_runs_an_origin(made)
        yield made


@dg.asset
def nothing() -> None:
    """Of no use but to be run."""


@dg.op
def step() -> None:
    """Of no use either."""


@dg.job(executor_def=dg.in_process_executor)
def loaded() -> None:
    """A job that another process could load."""
    step()


def job_of_nothing() -> dg.JobDefinition:
    return dg.Definitions([nothing]).resolve_implicit_global_asset_job_def()


def label(run: dg.DagsterRun) -> tuple[str, str, str]:
    assert run.remote_job_origin is not None
    return run.remote_job_origin.repository_origin.get_label(), run.remote_job_origin.job_name, run.job_name


def test_a_run_is_of_the_location_and_the_job_that_the_workspace_names(instance: dg.DagsterInstance) -> None:
    (location,) = yaml.safe_load(shipped("workspace.yaml").read_text())["load_from"]
    name = location["python_module"]["location_name"]
    result = job_of_nothing().execute_in_process(instance=instance)
    assert label(result.dagster_run) == (f"__repository__@{name}", "__ASSET_JOB", "__ASSET_JOB")
    stored = instance.get_run_by_id(result.run_id)
    assert stored is not None
    assert label(stored) == label(result.dagster_run)
    assert stored.tags["dagster/code_location"] == name


def test_a_run_whose_steps_other_processes_execute_is_too(instance: dg.DagsterInstance) -> None:
    with dg.execute_job(dg.reconstructable(loaded), instance=instance) as result:
        assert label(result.dagster_run)[0] == "__repository__@laion"
    (found,) = instance.get_runs(dg.RunsFilter(tags={".dagster/repository": "__repository__@laion"}))
    assert found.run_id == result.run_id


def test_an_origin_that_is_given_stays_and_giving_twice_changes_nothing(instance: dg.DagsterInstance) -> None:
    give_runs_an_origin(instance)
    job = job_of_nothing()
    other = job_origin("another")
    assert instance.create_run_for_job(job, remote_job_origin=other).remote_job_origin == other


def test_a_run_started_again_from_its_page_is_not_taken_for_one_of_the_dead_builder(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """The page copies the tags of the run that it starts again, the builder's among them."""
    job = job_of_nothing()
    tags = {BUILDER_TAG: f"{socket.gethostname()} {tmp_path / 'gone.lock'}"}
    dead = instance.create_run_for_job(job, tags=tags, status=STARTED)
    again = instance.create_run_for_job(
        job, tags=tags, status=STARTED, parent_run_id=dead.run_id, root_run_id=dead.run_id
    )
    assert end_abandoned_runs(instance) == 1
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses == {dead.run_id: dg.DagsterRunStatus.FAILURE, again.run_id: STARTED}
