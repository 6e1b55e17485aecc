"""The condition of every asset that automation builds, and the sensor that evaluates it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from laion_assets.delta.ledger_cache import no_collection
from laion_assets.orchestration.automation.attempts import Attempts
from laion_assets.orchestration.dagster_internals import (
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    SensorResult,
    SensorTick,
    with_requests,
)
from laion_assets.orchestration.keys import Keys, busy_partitions, stopped_partitions, unfinished_runs
from laion_assets.orchestration.planning.backlog import Backlog, Outlook, Run, items_of
from laion_assets.orchestration.planning.overview import Overview
from laion_assets.orchestration.registration import registered

NAME = "build_due"


class Decisions:
    """What is asked for in one tick, decided once for all assets."""

    def __init__(self, overview: Overview, keys: Keys) -> None:
        self.overview = overview
        self.keys = keys
        self.runs: Sequence[Run] = ()
        """What was decided last."""
        self.why_nothing = ""
        """Why nothing was asked for then."""
        self._view: object = None

    def requested(self, asset: str, view: Any) -> list[str | None]:
        """Dagster's keys of the partitions of an asset that are asked for.

        Args:
            asset: its name.
            view: the tick's view of the asset graph, which tells one tick from another.
        """
        if self._view is not view:
            self.runs = self.decide(view.instance)
            self._view = view
        return [self.keys.key(item.partition) for item in items_of(self.runs) if item.asset == asset]

    @no_collection()
    def decide(self, instance: dg.DagsterInstance) -> Sequence[Run]:
        """What to ask for now; remembered as asked for."""
        crawls = registered(instance, "crawl")
        if not crawls:
            self.why_nothing = "no crawl is registered: the sensor new_crawls does that, and `laion build CRAWL`"
            return ()
        options = self.overview.settings.automation
        unfinished = unfinished_runs(instance)
        busy = busy_partitions(unfinished, self.keys, instance)
        attempts = Attempts(instance, self.overview.settings.lake, options)
        attempts.under_way(busy)
        attempts.interrupted(stopped_partitions(attempts.since, self.keys, instance))
        backlog = Backlog(self.overview.look(crawls), busy, attempts.ask)
        order = {crawl: place for place, crawl in enumerate(crawls)}
        room = max(0, options.runs_at_once - len(unfinished))
        runs = list(backlog.runs(order, most=options.partitions_per_run))[:room]
        attempts.requested(items_of(runs))
        attempts.keep(backlog.outlooks)
        self.why_nothing = _told(backlog, len(busy), room)
        return runs


def _told(backlog: Backlog, busy: int, room: int) -> str:
    """Why nothing was asked for, if nothing was."""
    counts = Counter(backlog.outlooks.values())
    if not counts:
        return "everything is up to date"
    full = "; no more runs are asked for until some have ended" if not room else ""
    given_up = counts[Outlook.GIVEN_UP]
    return (
        f"{busy} partitions are being built, {counts[Outlook.COMING]} more wait for them or for another attempt, "
        f"{given_up} have failed too often or are built on such{full}"
    )


class Due(dg.AutomationCondition[dg.AssetKey]):
    """Missing, or stale for a reason of its own, with all inputs up to date; a bounded number of times for the same
    inputs. Decided from the lake's commit records: Dagster's own conditions cannot know what a bucket of an earlier
    crawl means for a later one, or that an input was built again with equal content.
    """

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    @property
    def name(self) -> str:
        """The name the UI shows."""
        return "due"

    @property
    def description(self) -> str:
        """What the UI says of it."""
        return (
            "missing or stale as the lake's commit records say, all inputs up to date, not under way, and not failed "
            f"{self._decisions.overview.settings.automation.attempts} times for the same inputs"
        )

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """The partitions that are asked for in this tick."""
        view = context.asset_graph_view
        keys = self._decisions.requested(context.key.to_user_string(), view)
        if not keys:
            return dg.AutomationResult(context, context.get_empty_subset())
        if context.partitions_def is None:
            return dg.AutomationResult(context, view.get_full_subset(key=context.key))
        wanted = {str(key) for key in keys}
        return dg.AutomationResult(
            context, view.get_subset_from_partition_keys(context.key, context.partitions_def, wanted)
        )


class DueSensor(dg.AutomationConditionSensorDefinition):
    """The sensor that asks for what is due; short partitions that lie side by side share a run."""

    def __init__(self, decisions: Decisions, target: dg.AssetSelection) -> None:
        self._decisions = decisions
        super().__init__(
            NAME,
            target=target,
            use_user_code_server=True,
            emit_backfills=False,
            minimum_interval_seconds=decisions.overview.settings.automation.interval_seconds,
            description="Builds whatever is missing or stale, as soon as what it is built from is up to date.",
        )

    def evaluate_tick(self, context: SensorTick) -> SensorResult:
        """One look at the lake."""
        data = super().evaluate_tick(context)
        requests = self._grouped(data.run_requests or [])
        return with_requests(data, requests, None if requests else self._decisions.why_nothing)

    def _grouped(self, requests: Sequence[dg.RunRequest]) -> list[dg.RunRequest]:
        by_key = {request.partition_key: request for request in requests}
        grouped = []
        for run in self._decisions.runs:
            keys = [self._decisions.keys.key(unit.partition) for unit in run]
            if keys[0] in by_key:
                grouped.append(over_range(by_key[keys[0]], keys))
        return grouped


def over_range(request: dg.RunRequest, keys: Sequence[str | None]) -> dg.RunRequest:
    """A request for one partition, or for all from the first key to the last."""
    if len(keys) == 1:
        return request
    tags = {n: v for n, v in request.tags.items() if n != PARTITION_TAG and not n.startswith(f"{PARTITION_TAG}/")}
    return request.with_replaced_attrs(partition_key=None, tags={**tags, **range_tags(keys)})


def range_tags(keys: Sequence[str | None]) -> Mapping[str, str]:
    """The tags of a run over all partitions from the first key to the last."""
    return {RANGE_START_TAG: str(keys[0]), RANGE_END_TAG: str(keys[-1])}


def with_condition(assets: Iterable[Any], names: Iterable[str], condition: Due) -> list[Any]:
    """The assets, those of these names with the condition."""
    wanted = {dg.AssetKey(name) for name in names}
    return list(
        dg.map_asset_specs(
            lambda spec: spec.replace_attributes(automation_condition=condition) if spec.key in wanted else spec,
            assets,
        )
    )
