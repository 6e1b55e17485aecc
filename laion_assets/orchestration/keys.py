"""Dagster's keys and runs as partitions of the lake."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus

from laion_assets.delta.partition import WHOLE, Partition, partition_name
from laion_assets.orchestration.dagster_internals import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from laion_assets.orchestration.partitions import Partitions, parse_key
from laion_assets.settings import Settings
from laion_assets.sql.project import Project
from laion_assets.tables.catalogue import TABLES

_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_UNFINISHED = [status for status in DagsterRunStatus if status not in _ENDED]


class Keys:
    """The keys of assets, and the partitions that they and runs name."""

    def __init__(self, settings: Settings, project: Project) -> None:
        partitions = self._partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
        self._columns = {name: TABLES[name].partition_by for name in TABLES if partitions.definition(name) is not None}
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
            if asset not in self._columns:
                yield asset, WHOLE
                continue
            for key in self._run_keys(asset, run, instance):
                with suppress(ValueError):  # a run of long ago, under a key that names nothing any more
                    yield asset, self.name(asset, key)

    def name(self, asset: str, key: str) -> str:
        """The name of the partition that a key of an asset stands for.

        Raises:
            ValueError: the key is of another shape than the lake has.
        """
        return partition_name(parse_key(self._columns[asset], key))

    def _run_keys(self, asset: str, run: DagsterRun, instance: dg.DagsterInstance) -> Iterable[str]:
        start, end = (run.tags.get(tag) for tag in (RANGE_START_TAG, RANGE_END_TAG))
        definition = self.definition(asset)
        if start and end and definition is not None:
            with dg.partition_loading_context(dynamic_partitions_store=instance):
                if not (definition.has_partition_key(start) and definition.has_partition_key(end)):
                    return []
                return definition.get_partition_keys_in_range(dg.PartitionKeyRange(start, end))
        return [run.tags[PARTITION_TAG]] if PARTITION_TAG in run.tags else []


def unfinished_runs(instance: dg.DagsterInstance) -> list[DagsterRun]:
    """Every run that is queued or under way."""
    return list(instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)))


def busy_partitions(runs: Iterable[DagsterRun], keys: Keys, instance: dg.DagsterInstance) -> frozenset[tuple[str, str]]:
    """(asset, partition name) of everything that these runs build."""
    return frozenset(name for run in runs for name in keys.names(run, instance))


def stopped_partitions(
    since: float, keys: Keys, instance: dg.DagsterInstance
) -> Iterator[tuple[tuple[str, str], float]]:
    """(asset, partition name) of everything that runs were to build which somebody stopped, and when they ended.

    Args:
        since: runs that ended before are left out; seconds since 1970.
        keys: of the assets.
        instance: remembers the runs.
    """
    canceled = dg.RunsFilter(statuses=[DagsterRunStatus.CANCELED], updated_after=datetime.fromtimestamp(since, UTC))
    for record in instance.get_run_records(canceled):
        for name in keys.names(record.dagster_run, instance):
            yield name, record.end_time or 0.0
