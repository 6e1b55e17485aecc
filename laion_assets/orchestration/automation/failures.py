"""Why partitions failed, as Dagster's event log has it, and how often for the same reason."""

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus

from laion_assets.orchestration.keys import Keys

_MOST_FAILED_RUNS = 500
_MESSAGE_CHARACTERS = 120


class FailureStreaks:
    """How often partitions failed lately for one and the same reason.

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
