"""What came of a build, and of one run."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import dagster as dg

from laion_assets.delta.partition import WHOLE


@dataclass
class Outcome:
    """What a build did."""

    built: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    """(table, partition, error) of every partition that could not be built."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(table, partition) of every partition that was not tried, for one that it is built from could not be built."""
    elsewhere: int = 0
    """Partitions that another build made meanwhile."""
    waiting: int = 0
    """Partitions that cannot be built yet: what goes into them is not there for all of their crawl."""

    def lacks(self, table: str, partition: str) -> bool:
        """Whether a partition should have been built, and was not. A whole table is of every partition."""
        lacking = [*self.left_out, *(failure[:2] for failure in self.failures)]
        return any(name == table and (other == partition or WHOLE in (other, partition)) for name, other in lacking)


def error_of(events: Iterable[dg.DagsterEvent]) -> str:
    """What the first failed step among the events says."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error.cause or data.error if data.error is not None else None
            if error is None:
                return "the step failed"
            # What a step of ours raises explains itself; of others the kind of error is part of what they say.
            return re.sub(r"^laion_assets(\.\w+)*: ", "", error.message.strip())
        if event.is_job_failure and event.job_failure_data.error is not None:  # no step began
            return event.job_failure_data.error.message.strip()
    return "the run failed before its step began"
