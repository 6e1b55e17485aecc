"""The one builder: what a request finds due, wave by wave, as runs of one Dagster instance."""

from contextlib import suppress

import dagster as dg

from laion_assets.consent.removals import RemovalError
from laion_assets.delta.errors import LakeError
from laion_assets.orchestration.planning.completion import settle_requests
from laion_assets.orchestration.planning.overview import StatesRequest
from laion_assets.orchestration.planning.waves import Request, Site
from laion_assets.orchestration.registration import register
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.orchestration.runs.reporter import Reporter
from laion_assets.orchestration.runs.runner import Runner
from laion_assets.settings import Settings
from laion_assets.sql.build import declared
from laion_assets.sql.project import open_project


class Builder:
    """Builds partitions of one lake as runs of one Dagster instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, reporter: Reporter, *, jobs: int = 1) -> None:
        """Nothing is built yet; the lake is made where there is none.

        Args:
            settings: of the lake, and the executor.
            instance: keeps the runs.
            reporter: shows how it goes.
            jobs: partitions to build at once; only 1 in this process.
        """
        project = open_project(settings.models)
        self._site = Site(settings, declared(settings.open_lake(), project), project)
        self._instance = instance
        self._runner = Runner(settings, instance, reporter, self._site.lake, jobs=jobs)

    def build(self, request: Request) -> Outcome:
        """Build what is due of a request; a partition whose inputs could not be built is left out, the others are not.

        Raises:
            RequestError, SettingsError, LakeError, RemovalError, RecipeError, BenchmarkError: see :class:`Request`.
            ExecutorError: see :meth:`Runner.building`.
        """
        for column, names in request.names(self._site).items():
            register(self._instance, column, list(names))
        waves = request.waves(self._site)
        outcome = Outcome()
        with self._runner.building():
            for wave in waves:
                self._runner.run(wave, outcome)
        if not outcome.failures and not isinstance(request, StatesRequest):
            with suppress(LakeError, RemovalError):  # what is wrong with requests or tables is said where it matters
                settle_requests(self._site.lake, self._site.settings)
        return outcome
