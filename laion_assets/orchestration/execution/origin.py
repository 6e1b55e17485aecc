"""Where a run comes from, in Dagster's own terms: the code location and the job that its pages know it by.

A run without an origin is on no timeline, under no job and in no filter, and cannot be started again from its page.
"""

from typing import Any, Final

import dagster as dg

from laion_assets.common.shipped import shipped
from laion_assets.orchestration import dagster_internals
from laion_assets.orchestration.dagster_internals import JobOrigin, LoadableJob

_MADE_HERE: Final = "create_run_for_job"


def loadable_job(name: str) -> LoadableJob:
    """The job of that name, as another process can load it: with the settings of its environment."""
    return dagster_internals.loadable_job("laion_assets.definitions", "defs", name)


def job_origin(name: str) -> JobOrigin:
    """The job of that name as Dagster's pages know it: of the code location in ``workspace.yaml``."""
    return dagster_internals.workspace_job(shipped("workspace.yaml"), name)


def is_from_elsewhere(run: dg.DagsterRun) -> bool:
    """Whether a run says that it is of another code location than ours. Those of earlier versions say nothing."""
    origin = run.remote_job_origin
    return origin is not None and origin.location_name != job_origin(run.job_name).location_name


def give_runs_an_origin(instance: dg.DagsterInstance) -> None:
    """Let every run that this process makes in an instance belong to the code location that its pages load.

    Dagster's ways to execute a job in one's own process name no origin, and take none.
    """
    if _MADE_HERE in vars(instance):
        return
    create = instance.create_run_for_job

    def create_with_origin(job_def: dg.JobDefinition, *args: Any, **given: Any) -> dg.DagsterRun:
        if given.get("remote_job_origin") is None:
            given["remote_job_origin"] = job_origin(job_def.name)
        return create(job_def, *args, **given)

    setattr(instance, _MADE_HERE, create_with_origin)
