"""What happened since somebody was told last: runs that failed, checks that failed in others, what is overdue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType, DagsterRun

from laion_assets.common.messages import Message
from laion_assets.delta.partition import WHOLE
from laion_assets.orchestration.automation.failures import failure_words
from laion_assets.orchestration.automation.maintenance import NAME as MAINTENANCE
from laion_assets.orchestration.automation.verification import NAME as VERIFICATION
from laion_assets.orchestration.dagster_internals import became_overdue, is_retried
from laion_assets.orchestration.keys import Keys
from laion_assets.tables.catalogue import CATALOGUE, TABLES

_EVENTS = 200
"""So many events are read at once; what came after them is told by the next tick."""
_SHOWN = 10
_CHARACTERS = 300
_JOBS = {
    MAINTENANCE: "`laion gc` does by hand what it was to do",
    VERIFICATION: "`laion verify --repair` marks or mends what is damaged",
}


@dataclass(frozen=True)
class News:
    """What is to be told, and up to where everything was looked at."""

    lines: Sequence[str]
    until: str
    """Cursor of the last event that was looked at."""


Source = Callable[[dg.DagsterInstance, str | None], News]
"""Gives the news since a cursor; without one none, and the cursor of now."""


class Bulletin:
    """The news of one lake, as lines that say what failed, where, why, and what heals it.

    Args:
        keys: of the assets.
        ui: address of the Dagster UI, for links; empty where it is not known.
    """

    def __init__(self, keys: Keys, ui: str) -> None:
        self._keys = keys
        self._ui = ui.rstrip("/")

    def failed_runs(self, instance: dg.DagsterInstance, since: str | None) -> News:
        """Runs that failed, and are not tried again by Dagster itself."""
        return self._of_runs(instance, since, DagsterEventType.RUN_FAILURE, self._failures)

    def failed_checks(self, instance: dg.DagsterInstance, since: str | None) -> News:
        """Checks that failed in runs that went well: those that warn, and those that stop what is built on them.

        Where a check fails the run, that run is told.
        """
        return self._of_runs(instance, since, DagsterEventType.RUN_SUCCESS, self._checks)

    def overdue(self, instance: dg.DagsterInstance, since: str | None) -> News:
        """Assets that have not been built for longer than their freshness policy allows."""
        kind = DagsterEventType.FRESHNESS_STATE_CHANGE
        if since is None:
            newest = instance.event_log_storage.get_event_records(dg.EventRecordsFilter(kind), limit=1)
            return News([], str(newest[0].storage_id if newest else 0))
        records = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(kind, after_cursor=int(since)), limit=_EVENTS, ascending=True
        )
        lines = []
        for record in records:
            event = record.event_log_entry.dagster_event
            if event is not None and became_overdue(event):
                name = event.asset_key.to_user_string() if event.asset_key else "an asset"
                lines.append(f"{name}: has not been built in the time that it may take; {_start(name)}")
        return News(lines, str(records[-1].storage_id) if records else since)

    def _of_runs(
        self,
        instance: dg.DagsterInstance,
        since: str | None,
        ended: DagsterEventType,
        told: Callable[[dg.DagsterInstance, DagsterRun], Iterator[str]],
    ) -> News:
        if since is None:
            return News([], instance.fetch_run_status_changes(ended, limit=1).cursor)
        found = instance.fetch_run_status_changes(ended, limit=_EVENTS, cursor=since, ascending=True)
        runs = [instance.get_run_by_id(record.run_id) for record in found.records]
        return News([line for run in runs if run is not None for line in told(instance, run)], found.cursor)

    def _failures(self, instance: dg.DagsterInstance, run: DagsterRun) -> Iterator[str]:
        if is_retried(run):
            return
        events = _events(instance, run, DagsterEventType.STEP_FAILURE)
        for event in events:
            asset = str(event.step_key).split("[")[0]
            place, partition = self._place(instance, run, asset)
            heal = _JOBS.get(run.job_name) or CATALOGUE.remake(asset, partition)
            yield f"{place}: {_line(failure_words(event)[1]) or 'the step failed'}; {heal}; {self._link(run)}"
        if events:
            return
        assets = sorted(key.to_user_string() for key in run.asset_selection or ())
        place, partition = self._place(instance, run, assets[0]) if assets else (run.job_name, "")
        heal = _JOBS.get(run.job_name) or (CATALOGUE.remake(assets[0], partition) if assets else "look at the run")
        ended = _events(instance, run, DagsterEventType.RUN_FAILURE)
        yield f"{place}: {_line((ended[-1].message or '') if ended else '')}; {heal}; {self._link(run)}"

    def _checks(self, instance: dg.DagsterInstance, run: DagsterRun) -> Iterator[str]:
        for event in _events(instance, run, DagsterEventType.ASSET_CHECK_EVALUATION):
            found = event.asset_check_evaluation_data
            if not found.passed:
                asset = found.asset_key.to_user_string()
                place, partition = self._place(instance, run, asset)
                words = _line(found.description or "it failed")
                heal = _after_check(asset, partition)
                yield f"{place}: check {found.check_name}: {words}; {heal}; {self._link(run)}"

    def _place(self, instance: dg.DagsterInstance, run: DagsterRun, asset: str) -> tuple[str, str]:
        """Asset and partitions of a run for people, and the name of the first partition; empty where it is whole."""
        if run.job_name in _JOBS:
            return run.job_name, ""
        names = [name for table, name in self._keys.names(run, instance) if table == asset and name != WHOLE]
        if not names:
            return asset, ""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{asset} [{names[0]}{more}]", names[0]

    def _link(self, run: DagsterRun) -> str:
        return f"{self._ui}/runs/{run.run_id}" if self._ui else f"run {run.run_id}"


def message(what: str, lake: str, lines: Sequence[str]) -> Message:
    """The message of some news: as many lines as somebody reads, and how many more there are.

    Args:
        what: what happened, in a word or two.
        lake: where.
        lines: of the news; at least one.
    """
    shown = [f"• {line}" for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        shown.append(f"… and {len(lines) - _SHOWN} more: `laion status` shows all")
    return Message(f"laion: {what}: {len(lines)} ({lake})", shown)


def _events(instance: dg.DagsterInstance, run: DagsterRun, kind: DagsterEventType) -> list[dg.DagsterEvent]:
    entries = instance.all_logs(run.run_id, of_type=kind)
    return [entry.dagster_event for entry in entries if entry.dagster_event is not None]


def _line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _CHARACTERS else f"{words[:_CHARACTERS]}…"


def _after_check(asset: str, partition: str) -> str:
    if asset == "images":
        crawl = partition.partition("crawl=")[2].partition("/")[0]
        return f"`laion build {crawl} --retry-failed` downloads again what failed, once the cause is gone"
    if asset in TABLES:
        return f"materialize {asset} again in `laion ui` once the cause is gone"
    return CATALOGUE.remake(asset, partition)


def _start(asset: str) -> str:
    return _JOBS.get(asset, "look whether the daemon and its sensors run: `laion doctor`")
