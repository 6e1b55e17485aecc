"""A crawl built by eight processes at once, each partition as a Dagster run."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeAlias

import dagster as dg
import pytest

from laion_assets.delta.flow import partitions_of
from laion_assets.delta.partition import Partition
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.partitions import CRAWLS, Partitions
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import ALWAYS

AT_ONCE = 8
Processes: TypeAlias = Callable[[], ProcessPoolExecutor]


@pytest.fixture(scope="session")
def processes() -> Processes:
    """Makes pools of eight processes with the environment of now; what all need is loaded once, before they part."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.at_once", "laion_assets.definitions", "open_clip", "boto3"])
    return lambda: ProcessPoolExecutor(AT_ONCE, mp_context=context, initializer=_enter, initargs=(dict(os.environ),))


def _enter(variables: dict[str, str]) -> None:
    os.environ.update(variables)


def build_at_once(settings: Settings, crawl: str, processes: Processes) -> None:
    """Build a crawl stage by stage, as many partitions at once as there are processes, each as a Dagster run."""
    with processes() as pool:
        for table in ALWAYS:
            places = partitions_of(settings.open_lake(), table, crawl)
            failures = list(filter(None, pool.map(partial(_run, settings, table), places)))
            assert failures == []


def _run(settings: Settings, table: str, partition: Partition) -> str | None:
    """One partition as one Dagster run; gives what it failed for."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(CRAWLS.name), [str(partition["crawl"])])
        result = (
            build_definitions(settings)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(table)],
                partition_key=Partitions(shards=settings.shards, buckets=settings.buckets).key(partition),
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )
    failed = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return f"{table} {partition}: {failed[0].error}" if failed else None
