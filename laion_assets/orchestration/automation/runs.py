"""Dagster's runs as partitions of the lake: which are under way, and which failed, and why."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime

import dagster as dg
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus

from laion_assets.delta.partition import WHOLE, Partition, partition_name
from laion_assets.orchestration.dagster_internals import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from laion_assets.orchestration.partitions import CRAWLS, Partitions, parse_key
from laion_assets.sql.project import Project
from laion_assets.tables.catalogue import TABLES

_MOST_FAILED_RUNS = 500
_MESSAGE_CHARACTERS = 120
_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_UNFINISHED = [status for status in DagsterRunStatus if status not in _ENDED]


class Keys:
    """The keys of the assets that automation builds, and the partitions they name."""

    def __init__(self, partitions: Partitions, project: Project) -> None:
        self._partitions = partitions
        self._columns = {name: table.partition_by for name, table in TABLES.items() if "crawl" in table.partition_by}
        self._columns |= {name: ("crawl",) for name, model in project.enabled.items() if model.is_incremental}

    def definition(self, asset: str) -> dg.PartitionsDefinition | None:
        """The partitions of an asset; None where it is built whole."""
        return self._partitions.of_columns(self._columns.get(asset, ()))

    def key(self, partition: Partition) -> str | None:
        """Dagster's key of a partition; None of what is built whole."""
        return self._partitions.key(partition) if partition else None

    def names(self, run: DagsterRun, instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
        """(asset, partition name) of everything that a run builds."""
        for selected in run.asset_selection or ():
            asset = selected.to_user_string()
            columns = self._columns.get(asset)
            if columns is None:
                yield asset, WHOLE
                continue
            for key in self._run_keys(asset, run, instance):
                with suppress(ValueError):  # a run of long ago, under a key that names nothing any more
                    yield asset, partition_name(parse_key(columns, key))

    def _run_keys(self, asset: str, run: DagsterRun, instance: dg.DagsterInstance) -> Iterable[str]:
        start, end = (run.tags.get(tag) for tag in (RANGE_START_TAG, RANGE_END_TAG))
        definition = self.definition(asset)
        if start and end and definition is not None:
            with dg.partition_loading_context(dynamic_partitions_store=instance):
                if not (definition.has_partition_key(start) and definition.has_partition_key(end)):
                    return []
                return definition.get_partition_keys_in_range(dg.PartitionKeyRange(start, end))
        return [run.tags[PARTITION_TAG]] if PARTITION_TAG in run.tags else []


def registered_crawls(instance: dg.DagsterInstance) -> list[str]:
    """The crawls that Dagster knows, in the order of its keys."""
    return list(instance.get_dynamic_partitions(str(CRAWLS.name)))


def unfinished_runs(instance: dg.DagsterInstance) -> list[DagsterRun]:
    """Every run that is queued or under way."""
    return list(instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)))


def busy_partitions(runs: Iterable[DagsterRun], keys: Keys, instance: dg.DagsterInstance) -> frozenset[tuple[str, str]]:
    """(asset, partition name) of everything that these runs build."""
    return frozenset(name for run in runs for name in keys.names(run, instance))


class Failures:
    """Why partitions failed lately, as Dagster's event log has it.

    Args:
        instance: Dagster's.
        keys: of the assets.
        since: older failures count no more.
    """

    def __init__(self, instance: dg.DagsterInstance, keys: Keys, since: datetime) -> None:
        self._instance = instance
        self._runs: Mapping[tuple[str, str], list[str]] = defaultdict(list)
        self._reasons: dict[str, Mapping[str, str]] = {}
        failed = dg.RunsFilter(statuses=[DagsterRunStatus.FAILURE], created_after=since)
        for run in instance.get_runs(failed, limit=_MOST_FAILED_RUNS):  # the newest first
            for name in keys.names(run, instance):
                self._runs[name].append(run.run_id)

    def same_in_a_row(self, asset: str, name: str) -> int:
        """How often a partition failed for the reason for which it failed last, with no other in between."""
        found = [reason for run in self._runs.get((asset, name), ()) if (reason := self._reason(run, asset))]
        others = (place for place, reason in enumerate(found) if reason != found[0])
        return next(others, len(found))

    def _reason(self, run_id: str, asset: str) -> str | None:
        """Why an asset's step failed in a run; None where it did not get that far."""
        if run_id not in self._reasons:
            logs = self._instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE)
            events = [entry.dagster_event for entry in logs if entry.dagster_event is not None]
            self._reasons[run_id] = {str(e.step_key).split("[")[0]: failure_reason(e) for e in events}
        return self._reasons[run_id].get(asset)


def failure_words(event: dg.DagsterEvent) -> tuple[str, str]:
    """The kind of error of a failed step, and the first line of its message."""
    data = event.step_failure_data
    error = data.error.cause or data.error if data.error is not None else None
    told = data.user_failure_data.description if data.user_failure_data is not None else None
    lines = (told or (error.message if error is not None else "")).strip().splitlines()
    return (error.cls_name or "") if error is not None else "", lines[0] if lines else ""


def failure_reason(event: dg.DagsterEvent) -> str:
    """The kind of error of a failed step, and how its message begins; numbers in it tell no two apart."""
    kind, head = failure_words(event)
    return f"{kind}: {re.sub(r'[0-9]+', '#', head)[:_MESSAGE_CHARACTERS]}"
