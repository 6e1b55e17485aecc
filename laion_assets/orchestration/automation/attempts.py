"""What was tried for which inputs, so that a partition that always fails costs a bounded number of runs.

Kept in Dagster's own storage, for all that asks for runs by itself.
"""

import json
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import dagster as dg

from laion_assets.orchestration.planning.backlog import Answer, Item
from laion_assets.settings import AutomationOptions


@dataclass
class _Attempt:
    digest: str
    """Of what the partition was to be built from."""
    runs: int
    seen: float
    """When it was asked for, or under way, last; seconds since 1970."""


class Attempts:
    """The attempts at every partition that is not up to date.

    Args:
        instance: Dagster's.
        lake: where the lake is; several may share one Dagster.
        options: how many, and how far apart.
        clock: gives the seconds since 1970.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        lake: str,
        options: AutomationOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = instance.daemon_cursor_storage
        self._key = f"LAION_ATTEMPTS:{lake}"
        self._options = options
        self._clock = clock
        kept = self._storage.get_cursor_values({self._key}).get(self._key)
        entries = json.loads(kept) if kept else []
        self._known = {(asset, name): _Attempt(*rest) for asset, name, *rest in entries}

    def ask(self, asset: str, name: str, digest: Callable[[], str]) -> Answer:
        """Whether a partition may be built: see :class:`laion_assets.orchestration.planning.backlog.Backlog`."""
        known = self._known.get((asset, name))
        if known is None or known.digest != digest():
            return Answer.NOW
        if known.runs >= self._options.attempts:
            return Answer.NEVER
        wait = self._options.retry_minutes * 60 * 2 ** max(0, known.runs - 1)
        return Answer.RETRY if self._clock() >= known.seen + wait else Answer.LATER

    def under_way(self, names: Iterable[tuple[str, str]]) -> None:
        """Note what runs now: the wait for another attempt begins when it has ended."""
        for name in names:
            if name in self._known:
                self._known[name].seen = self._clock()

    def requested(self, items: Iterable[Item]) -> None:
        """Note what is asked for now."""
        for item in items:
            known, digest = self._known.get((item.asset, item.name)), item.digest()
            runs = known.runs if known is not None and known.digest == digest else 0
            self._known[item.asset, item.name] = _Attempt(digest, runs + 1, self._clock())

    @property
    def since(self) -> float:
        """When the first of what is known was asked for, or under way, last; seconds since 1970."""
        return min((attempt.seen for attempt in self._known.values()), default=self._clock())

    def interrupted(self, ends: Iterable[tuple[tuple[str, str], float]]) -> None:
        """Take back the attempts that somebody stopped: they say nothing of what they were to build.

        Args:
            ends: what such runs were to build, and when each ended in seconds since 1970.
        """
        for name, ended in ends:
            known = self._known.get(name)
            if known is not None and known.runs and ended >= known.seen:
                known.runs -= 1
                known.seen = self._clock()

    def keep(self, open_: Container[tuple[str, str]]) -> None:
        """Keep what is known of partitions that are not up to date, and forget the others."""
        entries = [[*name, a.digest, a.runs, a.seen] for name, a in self._known.items() if name in open_]
        self._storage.set_cursor_values({self._key: json.dumps(entries)})
