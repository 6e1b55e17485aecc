"""What is used of Dagster's private modules, each with the reason why nothing public does. Imported from here alone.

Dagster may move any of it in a minor release: one test asks for every name, and says what was moved.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.sensor_definition import SensorEvaluationContext, SensorExecutionData
from dagster._core.origin import get_python_environment_entry_point
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._record import copy
from dagster._utils.interrupts import _received_interrupt
from dagster._utils.schedules import cron_string_iterator

PARTITION_TAG: Final = PARTITION_NAME_TAG
"""A run's tag with the key of its partition; those of its dimensions begin with it. Written in no public name."""
RANGE_START_TAG: Final = ASSET_PARTITION_RANGE_START_TAG
RANGE_END_TAG: Final = ASSET_PARTITION_RANGE_END_TAG
"""The tags of a run over a range of partitions: a request for one can be made by tags alone."""

SensorTick = SensorEvaluationContext
"""What a sensor's own ``evaluate_tick`` is given, for a sensor that is a class."""
SensorResult = SensorExecutionData
"""What it gives."""

JobOrigin = RemoteJobOrigin
"""Where a run's job is loaded from, as Dagster's pages know it."""
LoadableJob = ReconstructableJob
"""A job as another process can load it."""


def loadable_job(module: str, attribute: str, job: str) -> LoadableJob:
    """A job of a code location, for another process; ``dg.reconstructable`` takes none of ``Definitions``.

    Args:
        module: of the code location.
        attribute: of the module: its ``Definitions``.
        job: its name.
    """
    repository = ReconstructableRepository(
        ModuleCodePointer(module, attribute),
        executable_path=sys.executable,
        entry_point=get_python_environment_entry_point(sys.executable),  # a bare `dagster` need not be on the path
    )
    return repository.get_reconstructable_job(job)


def workspace_job(workspace: Path, job: str) -> JobOrigin:
    """Where a job comes from, of the one code location in a ``workspace.yaml``; no run names it by itself."""
    (location,) = location_origins_from_yaml_paths([str(workspace)])
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job)


def failed_keys(
    instance: dg.DagsterInstance, asset: str, keys: Collection[str], definition: dg.PartitionsDefinition
) -> set[str]:
    """Those of an asset's partitions whose last run failed: ``get_status_by_partition`` answers with a private enum."""
    found = instance.get_status_by_partition(dg.AssetKey(asset), list(keys), definition) or {}
    return {key for key, status in found.items() if status is AssetPartitionStatus.FAILED}


def became_overdue(event: dg.DagsterEvent) -> bool:
    """Whether an event says that an asset's freshness policy failed; its content has no public type."""
    return getattr(event.event_specific_data, "new_state", None) is FreshnessState.FAIL


def is_retried(run: dg.DagsterRun) -> bool:
    """Whether Dagster itself starts a failed run again; only a tag says so."""
    return run.tags.get(WILL_RETRY_TAG) == "true"


def ticks_of(cron: str, since: float) -> Iterator[float]:
    """When a schedule runs, in UTC, from a moment on; seconds since 1970. What Dagster itself makes of a cron string.

    Args:
        cron: of the schedule.
        since: the first moment; seconds since 1970.
    """
    return (tick.timestamp() for tick in cron_string_iterator(since, cron, "UTC"))


def with_requests(data: SensorResult, requests: list[dg.RunRequest], skip_message: str | None) -> SensorResult:
    """A tick's result with other run requests: it is a record of Dagster's, which no public function copies."""
    return copy(data, run_requests=requests, skip_message=skip_message)


def ask_executors_to_stop() -> None:
    """Let an executor that looks for an interrupt find one; no signal reaches those in other threads than the first."""
    _received_interrupt["received"] = True


def forget_interrupt() -> None:
    """Leave no interrupt to be found."""
    _received_interrupt["received"] = False


def running_instigators(instance: dg.DagsterInstance) -> set[str]:
    """Names of the sensors and schedules that somebody turned on; the filter's enum is private."""
    states = instance.all_instigator_state(instigator_statuses={InstigatorStatus.RUNNING})
    return {state.instigator_name for state in states}


def dev_command_with(webserver: str) -> Callable[[], None]:
    """``dagster dev`` that runs another module as its web server; no option of it says which.

    Args:
        webserver: name of the module, which takes the options of ``dagster_webserver``.
    """
    from dagster._cli import dev

    names = vars(dev)
    start = names["open_ipc_subprocess"]

    def replaced(parts: Sequence[str], **options: Any) -> Any:
        return start([webserver if part == "dagster_webserver" else part for part in parts], **options)

    names["open_ipc_subprocess"] = replaced
    return dev.dev_command


def beating_daemons(instance: dg.DagsterInstance) -> list[str]:
    """The daemons of an instance that gave a sign of life lately; ``dagster-daemon liveness-check`` is a command."""
    from dagster._daemon.controller import get_daemon_statuses  # as slow to import as the daemon

    statuses = get_daemon_statuses(instance, instance.get_required_daemon_types(), ignore_errors=True)
    return [name for name, status in statuses.items() if status.healthy]
