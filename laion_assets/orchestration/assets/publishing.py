"""How a build of partitions is told to Dagster: one result a run, checks, failures that say what to do."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg

from laion_assets.common.logs import speaking_of
from laion_assets.delta.commits import combined_digest
from laion_assets.delta.errors import CheckOutcome, ValidationFailed, without_texts
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.orchestration.execution.failures import told, was_interrupted
from laion_assets.orchestration.execution.watch import watched
from laion_assets.settings import Settings
from laion_assets.tables.limits import need_of

Places: TypeAlias = Sequence[tuple[str | None, Partition]]
"""Dagster's key of each partition to build, None where the asset has no partitions, and the partition."""


@dataclass(frozen=True)
class Published:
    """One partition that was built: what to show of it, the digest of its rows, and its checks."""

    metadata: Mapping[str, Any]
    digest: str
    checks: Sequence[CheckOutcome]
    warnings: Sequence[dg.AssetCheckResult] = field(default=())


def keys_of(context: dg.AssetExecutionContext) -> list[str | None]:
    """Dagster's keys of the partitions that a run is to build; one None where there are no partitions."""
    if context.has_partition_key_range:
        return list(context.partition_keys)
    return [context.partition_key] if context.has_partition_key else [None]


def publish_each(
    context: dg.AssetExecutionContext,
    settings: Settings,
    asset: str,
    places: Places,
    build: Callable[[Partition], Published],
    *,
    last: Iterable[Callable[[], Mapping[str, Any]]] = (),
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Build partition after partition, each within its limits, and report them as one step.

    Args:
        context: of the step.
        settings: with the limits of a step, and how often it is tried again where that may help.
        asset: its name.
        places: what to build.
        build: builds one partition; raises ``ValidationFailed`` where nothing was published for a failed check.
        last: what is to be done when all are built; each gives what to show.
    """
    results: list[dg.MaterializeResult[Any]] = []
    ranged = len({key for key, _ in places}) > 1
    for key, partition in places:
        result = yield from _one(context, settings, asset, partition, build)
        if ranged:
            context.add_asset_metadata(dict(result.metadata or {}), partition_key=key)
        results.append(result)
    with telling_dagster(context, settings):
        shown = [finish() for finish in last]
    result = results[0] if len(results) == 1 else _merged(asset, results)
    for more in shown:
        result = result._replace(metadata={**(result.metadata or {}), **more})
    yield result


def _one(
    context: dg.AssetExecutionContext,
    settings: Settings,
    asset: str,
    partition: Partition,
    build: Callable[[Partition], Published],
) -> Generator[dg.AssetCheckResult, None, dg.MaterializeResult[Any]]:
    """One partition. Yields its checks only where they failed: then nothing was published."""
    label = " ".join([asset, *map(str, partition.values())])
    try:
        with (
            watched(asset, label, need_of(asset, settings.limits)),
            speaking_of(run_id=context.run.run_id, table=asset, partition=partition_name(partition)),
        ):
            published = build(partition)
    except BaseException as error:
        if isinstance(error, ValidationFailed):
            yield from check_results(asset, error.checks)
        verdict = _as_dagster_has_it(context, settings, error)
        if verdict is error:
            raise
        raise verdict from verdict.__cause__
    return dg.MaterializeResult(
        asset_key=asset,
        metadata=dict(published.metadata),
        data_version=dg.DataVersion(published.digest),
        check_results=[*check_results(asset, published.checks), *published.warnings],
    )


@contextmanager
def telling_dagster(context: dg.AssetExecutionContext, settings: Settings) -> Iterator[None]:
    """Let whatever goes wrong in a block be what Dagster understands."""
    try:
        yield
    except BaseException as error:
        verdict = _as_dagster_has_it(context, settings, error)
        if verdict is error:
            raise
        raise verdict from verdict.__cause__


def _as_dagster_has_it(context: dg.AssetExecutionContext, settings: Settings, error: BaseException) -> BaseException:
    """What to raise instead of an error, so that Dagster understands it."""
    if was_interrupted(error):
        if settings.executor == "in-process":  # else Dagster would say that the run failed
            context.instance.report_run_canceling(context.run)
        interrupt = KeyboardInterrupt()
        interrupt.__cause__ = error
        return interrupt
    return told(error, settings.retries, context.retry_number) if isinstance(error, Exception) else error


def check_results(asset: str, outcomes: Iterable[CheckOutcome]) -> Iterator[dg.AssetCheckResult]:
    """Checks as Dagster shows them, with what a sample of the rows that broke them may tell."""
    for outcome in outcomes:
        seen: dict[str, Any] = {"failing rows": outcome.failing}
        if outcome.sample:
            seen["sample"] = dg.MetadataValue.json([dict(without_texts(row)) for row in outcome.sample])
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=outcome.name,
            passed=outcome.passed,
            description=outcome.description,
            metadata=seen,
        )


def _merged(asset: str, results: list[dg.MaterializeResult[Any]]) -> dg.MaterializeResult[Any]:
    """One result for a run over several partitions: Dagster takes no more from one step.

    A check passes if it did for every partition, the data version covers them all.
    """
    checks = [check for result in results for check in result.check_results or ()]
    merged = [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=name,
            passed=all(c.passed for c in checks if c.check_name == name),
            severity=next(c.severity for c in checks if c.check_name == name),
            description="; ".join(sorted({c.description or "" for c in checks if c.check_name == name})),
        )
        for name in dict.fromkeys(c.check_name for c in checks if c.check_name)
    ]
    versions = combined_digest((str(n), r.data_version.value) for n, r in enumerate(results) if r.data_version)
    return dg.MaterializeResult(
        asset_key=asset,
        metadata={"partitions": len(results)},
        data_version=dg.DataVersion(versions),
        check_results=merged or None,
    )
