"""What Dagster remembers of builds that published nothing: which run now, which failed, how often, and why.

A failed step leaves no trace in the lake; what was published is read there, and nowhere else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import dagster as dg

from laion_assets.delta.partition import WHOLE, partition_name
from laion_assets.orchestration.partitions import Partitions, parse_key
from laion_assets.orchestration.runs.runner import error_of
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES

_RUNS_PER_QUERY = 500
_RUNS_COUNTED = 5_000
_KEY_TAG = "dagster/partition"
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

Place = tuple[str, str]
"""A table and the name of one of its partitions."""


@dataclass(frozen=True)
class Failure:
    """Why a partition's last attempt published nothing."""

    run_id: str
    times: int
    """Runs that failed to build the partition, of the last runs that Dagster remembers."""
    error: str
    at: datetime | None


class Attempts:
    """The last attempts at the partitions of some tables, where nothing came of them so far."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        settings: Settings,
        tables: Iterable[str],
        models: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        """Look at the last attempts.

        Args:
            instance: remembers them.
            settings: of the lake.
            tables: of the catalogue.
            models: SQL models, with the columns that they are partitioned by.
        """
        self._instance = instance
        self._models = models
        self._partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
        self._runs: dict[Place, str] = {}
        for table in (*tables, *models):
            self._runs |= {(table, name): run for name, run in self._unfinished(table)}
        statuses = {run.run_id: run.status for run in self._runs_of(set(self._runs.values()))}
        failed, ended = dg.DagsterRunStatus.FAILURE, (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)
        self.failed = {place for place, run in self._runs.items() if statuses.get(run) is failed}
        """Those whose last run failed."""
        self.running = {
            place for place, run in self._runs.items() if run in statuses and statuses[run] not in (failed, *ended)
        }
        """Those that a run is building, or is to build."""

    def failures(self, places: Iterable[Place]) -> Mapping[Place, Failure]:
        """Why these failed, and how often; looks at every one's last run."""
        wanted = sorted({*places} & self.failed)
        times = self._times({table for table, _ in wanted}) if wanted else Counter()
        errors: dict[tuple[str, str], tuple[str, datetime | None]] = {}
        found = {}
        for place in wanted:
            run, table = self._runs[place], place[0]
            if (run, table) not in errors:
                errors[run, table] = self._error(run, table)
            found[place] = Failure(run, max(times[place], 1), *errors[run, table])
        return found

    def _unfinished(self, table: str) -> Iterator[tuple[str, str]]:
        """(name of the partition, run) of attempts without a materialisation."""
        if self._definition(table) is None:
            yield from self._unfinished_whole(table)
            return
        storage = self._instance.event_log_storage
        found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(dg.AssetKey(table))
        for key, (run, _) in found.items():
            name = self._name(table, key)
            if name is not None:
                yield name, run

    def _unfinished_whole(self, table: str) -> Iterator[tuple[str, str]]:
        """The same of an asset without partitions."""
        for record in self._instance.get_asset_records([dg.AssetKey(table)]):
            entry = record.asset_entry
            last = entry.last_materialization_record
            if entry.last_run_id and (last is None or last.run_id != entry.last_run_id):
                yield WHOLE, entry.last_run_id

    def _definition(self, table: str) -> dg.PartitionsDefinition | None:
        if table in self._models:
            return self._partitions.of_columns(self._models[table])
        return self._partitions.definition(table)

    def _name(self, table: str, key: str) -> str | None:
        """A partition's name by Dagster's key; None where the key is of another shape than the lake has."""
        columns = self._models[table] if table in self._models else TABLES[table].partition_by
        try:
            return partition_name(parse_key(columns, key))
        except ValueError:
            return None

    def _runs_of(self, ids: set[str]) -> Iterator[dg.DagsterRun]:
        ordered = sorted(ids)
        for start in range(0, len(ordered), _RUNS_PER_QUERY):
            yield from self._instance.get_runs(dg.RunsFilter(run_ids=ordered[start : start + _RUNS_PER_QUERY]))

    def _times(self, tables: set[str]) -> Counter[Place]:
        times: Counter[Place] = Counter()
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        for run in self._instance.get_runs(failed, limit=_RUNS_COUNTED):
            for key in run.asset_selection or ():
                table = key.to_user_string()
                if table in tables:
                    times.update((table, name) for name in self._names(run, table))
        return times

    def _names(self, run: dg.DagsterRun, table: str) -> Iterator[str]:
        """The partitions of a table that a run was to build."""
        definition = self._definition(table)
        if definition is None:
            yield WHOLE
            return
        first, last = (run.tags.get(tag) for tag in _RANGE_TAGS)
        keys: Iterable[str] = [run.tags[_KEY_TAG]] if _KEY_TAG in run.tags else []
        if first is not None and last is not None:
            with dg.partition_loading_context(dynamic_partitions_store=self._instance):
                known = definition.has_partition_key(first) and definition.has_partition_key(last)
                keys = definition.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)) if known else ()
        for key in keys:
            name = self._name(table, key)
            if name is not None:
                yield name

    def _error(self, run_id: str, table: str) -> tuple[str, datetime | None]:
        """Why the run built none of a table, and when it found out: its own step's fault, else that of another."""
        logged = self._instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        logged = [entry for entry in logged if entry.step_key == table] or logged
        events = [entry.dagster_event for entry in logged if entry.dagster_event is not None]
        at = datetime.fromtimestamp(logged[0].timestamp, UTC) if logged else None
        return " ".join(error_of(events).split()), at
