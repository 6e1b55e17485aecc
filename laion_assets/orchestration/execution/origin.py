"""Where a run comes from, in Dagster's own terms: the code location and the job that its pages know it by.

A run without an origin is on no timeline, under no job and in no filter, and cannot be started again from its page.
What Dagster needs for one has private names only; they stand here and nowhere else.
"""

import sys
from typing import Any, Final

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.origin import get_python_environment_entry_point
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from laion_assets.common.shipped import shipped

_MADE_HERE: Final = "create_run_for_job"


def loadable_job(name: str) -> ReconstructableJob:
    """The job of that name, as another process can load it: with the settings of its environment."""
    repository = ReconstructableRepository(
        ModuleCodePointer("laion_assets.definitions", "defs"),
        executable_path=sys.executable,
        entry_point=get_python_environment_entry_point(sys.executable),  # a bare `dagster` need not be on the path
    )
    return repository.get_reconstructable_job(name)


def job_origin(name: str) -> RemoteJobOrigin:
    """The job of that name as Dagster's pages know it: of the code location in ``workspace.yaml``."""
    (location,) = location_origins_from_yaml_paths([str(shipped("workspace.yaml"))])
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(name)


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
