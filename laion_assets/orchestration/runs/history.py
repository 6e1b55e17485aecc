"""What Dagster remembers of builds that published nothing: which run now, which failed, how often, and why.

A failed step leaves no trace in the lake; what was published is read there, and nowhere else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from laion_assets.delta.partition import WHOLE
from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.planning.parts import Place
from laion_assets.orchestration.runs.outcome import error_of

_RUNS_PER_QUERY = 500
_RUNS_COUNTED = 5_000


@dataclass(frozen=True)
class FailedBuild:
    """Why a partition's last attempt published nothing."""

    run_id: str
    times: int
    """Runs that failed to build the partition, of the last runs that Dagster remembers."""
    error: str
    at: datetime | None


class RunHistory:
    """The last attempts at the partitions of some tables, where nothing came of them so far."""

    def __init__(self, instance: dg.DagsterInstance, keys: Keys, assets: Iterable[str]) -> None:
        """Look at the last attempts.

        Args:
            instance: remembers them.
            keys: of the assets.
            assets: tables and SQL models.
        """
        self._instance = instance
        self._keys = keys
        self._runs: dict[Place, str] = {}
        for asset in assets:
            self._runs |= {(asset, name): run for name, run in self._unfinished(asset)}
        statuses = {run.run_id: run.status for run in self._runs_of(set(self._runs.values()))}
        failed, ended = dg.DagsterRunStatus.FAILURE, (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)
        self.failed = {place for place, run in self._runs.items() if statuses.get(run) is failed}
        """Those whose last run failed."""
        self.running = {
            place for place, run in self._runs.items() if run in statuses and statuses[run] not in (failed, *ended)
        }
        """Those that a run is building, or is to build."""

    def failures(self, places: Iterable[Place]) -> Mapping[Place, FailedBuild]:
        """Why these failed, and how often; looks at every one's last run."""
        wanted = sorted({*places} & self.failed)
        times = self._times({table for table, _ in wanted}) if wanted else Counter()
        errors: dict[tuple[str, str], tuple[str, datetime | None]] = {}
        found = {}
        for place in wanted:
            run, table = self._runs[place], place[0]
            if (run, table) not in errors:
                errors[run, table] = self._error(run, table)
            found[place] = FailedBuild(run, max(times[place], 1), *errors[run, table])
        return found

    def _unfinished(self, table: str) -> Iterator[tuple[str, str]]:
        """(name of the partition, run) of attempts without a materialisation."""
        if self._keys.definition(table) is None:
            yield from self._unfinished_whole(table)
            return
        storage = self._instance.event_log_storage
        found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(dg.AssetKey(table))
        for key, (run, _) in found.items():
            with suppress(ValueError):  # a run of long ago, under a key that names nothing any more
                yield self._keys.name(table, key), run

    def _unfinished_whole(self, table: str) -> Iterator[tuple[str, str]]:
        """The same of an asset without partitions."""
        for record in self._instance.get_asset_records([dg.AssetKey(table)]):
            entry = record.asset_entry
            last = entry.last_materialization_record
            if entry.last_run_id and (last is None or last.run_id != entry.last_run_id):
                yield WHOLE, entry.last_run_id

    def _runs_of(self, ids: set[str]) -> Iterator[dg.DagsterRun]:
        ordered = sorted(ids)
        for start in range(0, len(ordered), _RUNS_PER_QUERY):
            yield from self._instance.get_runs(dg.RunsFilter(run_ids=ordered[start : start + _RUNS_PER_QUERY]))

    def _times(self, tables: set[str]) -> Counter[Place]:
        times: Counter[Place] = Counter()
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        for run in self._instance.get_runs(failed, limit=_RUNS_COUNTED):
            times.update(place for place in self._keys.names(run, self._instance) if place[0] in tables)
        return times

    def _error(self, run_id: str, table: str) -> tuple[str, datetime | None]:
        """Why the run built none of a table, and when it found out: its own step's fault, else that of another."""
        logged = self._instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        logged = [entry for entry in logged if entry.step_key == table] or logged
        events = [entry.dagster_event for entry in logged if entry.dagster_event is not None]
        at = datetime.fromtimestamp(logged[0].timestamp, UTC) if logged else None
        return " ".join(error_of(events).split()), at
