"""Dagster's daemon as far as automation needs it, in the test's own process: ticks, and the runs they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import RepositoryDefinition

from laion_assets.orchestration.automation.condition import NAME as BUILD_DUE
from laion_assets.orchestration.automation.crawls import NAME as NEW_CRAWLS
from laion_assets.orchestration.automation.nightly import NAME as NIGHTLY
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.settings import Settings

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    seconds: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Daemon:
    """Evaluates the sensors and the schedule of a code location, and executes what they ask for."""

    settings: Settings
    instance: dg.DagsterInstance
    cursor: str | None = None
    ran: list[tuple[tuple[str, ...], str, bool]] = field(default_factory=list)
    """(assets, key or range, whether it went well) of every run."""
    skipped: str | None = None
    """Why the last tick of ``build_due`` asked for nothing."""

    def __post_init__(self) -> None:
        self._definitions = build_definitions(self.settings)
        self._repository: RepositoryDefinition = self._definitions.get_repository_def()
        self._job = self._definitions.resolve_implicit_global_asset_job_def()

    def restart(self, settings: Settings) -> "Daemon":
        """The same daemon with a new code server."""
        return Daemon(settings, self.instance, self.cursor)

    def find_crawls(self) -> str | None:
        """A tick of ``new_crawls``; gives why it registered nothing."""
        context = dg.build_sensor_context(instance=self.instance, repository_def=self._repository)
        found = self._repository.get_sensor_def(NEW_CRAWLS).evaluate_tick(context)
        for request in found.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return found.skip_message

    def look(self) -> Sequence[dg.RunRequest]:
        """A tick of ``build_due``; gives what it asks for."""
        context = dg.build_sensor_context(
            instance=self.instance, repository_def=self._repository, cursor=self.cursor, sensor_name=BUILD_DUE
        )
        found = self._repository.get_sensor_def(BUILD_DUE).evaluate_tick(context)
        self.cursor, self.skipped = found.cursor, found.skip_message
        return found.run_requests or []

    def night(self) -> tuple[Sequence[dg.RunRequest], str | None]:
        """A tick of ``nightly_backfill``: what it asks for, and why it asks for no more."""
        context = dg.build_schedule_context(instance=self.instance, repository_def=self._repository)
        found = self._repository.get_schedule_def(NIGHTLY).evaluate_tick(context)
        return found.run_requests or [], found.skip_message

    def execute(self, requests: Sequence[dg.RunRequest]) -> None:
        """Execute what was asked for, one run after the other."""
        for request in requests:
            result = self._job.execute_in_process(
                instance=self.instance,
                asset_selection=list(request.asset_selection or []),
                tags=dict(request.tags),
                partition_key=request.partition_key,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            self.ran.append((*described(request), result.success))

    def queue(self, requests: Sequence[dg.RunRequest]) -> list[dg.DagsterRun]:
        """Let runs of what was asked for be there, and not begin."""
        return [
            self.instance.create_run_for_job(
                self._job.get_subset(asset_selection=set(request.asset_selection or [])),
                asset_selection=frozenset(request.asset_selection or []),
                tags=dict(request.tags),
                status=dg.DagsterRunStatus.NOT_STARTED,
            )
            for request in requests
        ]

    def work(self, most: int = 30) -> int:
        """Tick and execute until nothing is asked for any more; gives the number of ticks that asked for something."""
        for tick in range(most):
            requests = self.look()
            if not requests:
                return tick
            self.execute(requests)
        raise AssertionError(f"it never came to rest: {self.ran[-10:]}")

    def runs_of(self, asset: str) -> list[tuple[str, bool]]:
        """(key or range, whether it went well) of the runs that were to build an asset."""
        return [(key, success) for assets, key, success in self.ran if asset in assets]

    @property
    def built(self) -> set[str]:
        """Every asset that a run was to build."""
        return {asset for assets, _, _ in self.ran for asset in assets}


def described(request: dg.RunRequest) -> tuple[tuple[str, ...], str]:
    """What a request is for: (assets, key or range)."""
    tags: Any = request.tags
    key = f"{tags[START]}...{tags[END]}" if START in tags else (request.partition_key or "")
    return tuple(sorted(key.to_user_string() for key in request.asset_selection or [])), key
