"""The schedule that asks for what is missing, stale or failed, the oldest crawl first, within what a night may cost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from laion_assets.delta.states import PartitionState, State
from laion_assets.orchestration.assets.images import TRANSIENT
from laion_assets.orchestration.automation.attempts import Attempts
from laion_assets.orchestration.automation.condition import range_tags
from laion_assets.orchestration.automation.estimates import Cost, Estimates
from laion_assets.orchestration.automation.failures import FailureStreaks
from laion_assets.orchestration.keys import Keys, busy_partitions, unfinished_runs
from laion_assets.orchestration.planning.backlog import Answer, Backlog, Run, items_of
from laion_assets.orchestration.planning.overview import JudgedLake, Overview
from laion_assets.orchestration.registration import registered
from laion_assets.settings import AutomationOptions

NAME = "nightly_backfill"
_JOB = "__ASSET_JOB"
"""Dagster's job over every asset: the only one whose assets differ in their partitions."""
_REMEMBERED = timedelta(days=14)
"""Failures older than this keep nothing from being tried again."""


def nightly_backfill(overview: Overview, keys: Keys) -> dg.ScheduleDefinition:
    """The schedule ``nightly_backfill`` of a code location."""

    def ask(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        crawls = registered(context.instance, "crawl")
        if not crawls:
            yield dg.SkipReason("no crawl is registered: the sensor new_crawls and `laion build CRAWL` do that")
            return
        night = Night(overview, keys, context.instance)
        runs = night.runs(crawls)
        for run in runs:
            yield request_of(run, keys)
        if not runs:
            yield dg.SkipReason(f"nothing to ask for: {night.left_out}")

    return dg.ScheduleDefinition(
        name=NAME,
        job_name=_JOB,
        cron_schedule=overview.settings.automation.nightly,
        execution_timezone="UTC",
        execution_fn=ask,
        description="Asks for missing, stale and failed partitions, the oldest crawl first, within a budget.",
    )


class Night:
    """One night's requests.

    Args:
        overview: of the lake.
        keys: of the assets.
        instance: Dagster's.
        now: the moment.
    """

    def __init__(
        self,
        overview: Overview,
        keys: Keys,
        instance: dg.DagsterInstance,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._overview = overview
        self._keys = keys
        self._instance = instance
        self._options = overview.settings.automation
        self._failures = FailureStreaks(instance, keys, now() - _REMEMBERED)
        self._attempts = Attempts(instance, f"{overview.settings.lake} {NAME}", self._options)
        self.left_out = "everything is up to date"
        """Why no more is asked for."""

    def runs(self, crawls: Sequence[str]) -> list[Run]:
        """What is asked for.

        Args:
            crawls: the registered crawls, in the order of Dagster's keys.
        """
        lake = self._overview.look(crawls)
        busy = busy_partitions(unfinished_runs(self._instance), self._keys, self._instance)
        again = self._to_retry(lake) if self._options.nightly_retries else []
        backlog = Backlog(lake, busy, self._answer, patient=False, again=again)
        order = {crawl: place for place, crawl in enumerate(crawls)}
        wanted = list(backlog.runs(order, most=self._options.partitions_per_run))
        chosen = within(wanted, budget_of(self._options), Estimates(lake.lake, self._instance))
        if len(chosen) < len(wanted):
            self.left_out = f"{len(wanted) - len(chosen)} runs would go beyond the night's budget"
        elif backlog.outlooks:
            self.left_out = f"{len(backlog.outlooks)} partitions wait for others, run already or have failed too often"
        names = {state.name for state in again}
        retried = [item for item in items_of(chosen) if item.asset == "images" and item.name in names]
        self._attempts.requested(replace(item, digest=partial(_content, lake, item.name)) for item in retried)
        self._attempts.keep({("images", name) for name in lake.lake.ledger("images").commits})
        return chosen

    def _answer(self, asset: str, name: str, _: Callable[[], str]) -> Answer:
        failed = self._failures.same_in_a_row(asset, name)
        if failed >= self._options.attempts:
            return Answer.NEVER
        return Answer.RETRY if failed else Answer.NOW

    def _to_retry(self, lake: JudgedLake) -> list[PartitionState]:
        """Partitions of ``images`` that are up to date, with failures that can pass and did not pass too often."""
        commits = lake.lake.ledger("images").commits
        done = [
            state
            for (table, _), group in lake.groups.items()
            if table == "images"
            for name, state in group.states.items()
            if state.state is State.DONE and commits[name].counts.get(TRANSIENT)
        ]
        hopeful = (Answer.NOW, Answer.RETRY)
        return [s for s in done if self._attempts.ask("images", s.name, partial(_content, lake, s.name)) in hopeful]


def _content(lake: JudgedLake, name: str) -> str:
    return lake.lake.ledger("images").commits[name].content_digest


def budget_of(options: AutomationOptions) -> Cost:
    """What a night may cost."""
    return Cost(options.nightly_runs, options.nightly_gigabytes * 1e9, options.nightly_gpu_hours * 3600)


def within(runs: Sequence[Run], budget: Cost, estimates: Estimates) -> list[Run]:
    """The first of the runs that a budget pays for; what is too dear is passed over for what is not."""
    chosen, spent = [], Cost()
    for run in runs:
        cost = sum((estimates.of(item) for item in items_of([run])), Cost(runs=1))
        if (spent + cost).fits(budget):
            spent += cost
            chosen.append(run)
    return chosen


def request_of(run: Run, keys: Keys) -> dg.RunRequest:
    """What Dagster is asked for."""
    assets = run[0].assets
    unit_keys = [keys.key(unit.partition) for unit in run]
    tags = {}
    definition = keys.definition(assets[0])
    if len(run) > 1:
        tags = dict(range_tags(unit_keys))
    elif definition is not None:
        tags = dict(definition.get_tags_for_partition_key(str(unit_keys[0])))
    return dg.RunRequest(
        run_key=f"{'+'.join(assets)} {unit_keys[0]}",
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        partition_key=str(unit_keys[0]) if len(run) == 1 and definition is not None else None,
        tags=tags,
    )
