"""The sensors that tell somebody what failed. They run by themselves once there is somebody to tell, and not before."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import dagster as dg

from laion_assets.common.messages import SETTINGS, NotDelivered, Receiver, receivers
from laion_assets.orchestration.automation.news import Bulletin, News, Source, message
from laion_assets.orchestration.keys import Keys
from laion_assets.settings import Settings

ATTEMPTS = 10
"""So often a receiver that does not take a message is tried, over about three hours; then the message is logged."""
_WAIT_SECONDS, _LONGEST_SECONDS = 30.0, 3_600.0

_logger = logging.getLogger(__name__)


@dataclass
class _Told:
    """How far one receiver was told."""

    until: str
    tries: int = 0
    """Attempts in a row that did not go through."""
    again: float = 0.0
    """When to try next; seconds since 1970."""


class Teller:
    """Tells every receiver the news of one source, each from where it was told last.

    Args:
        to: the receivers.
        source: of the news.
        what: what happened, for the head of a message.
        lake: where.
        clock: gives the seconds since 1970.
    """

    def __init__(
        self,
        to: Sequence[Receiver],
        source: Source,
        what: str,
        lake: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._to = to
        self._source = source
        self._what = what
        self._lake = lake
        self._clock = clock

    def tick(self, instance: dg.DagsterInstance, cursor: str | None) -> tuple[str, str]:
        """Tell what is new.

        What one receiver does not take is told again later, with all that came meanwhile, to this receiver alone.

        Args:
            instance: Dagster's.
            cursor: what the tick before gave; None at the first, which tells nothing of before.

        Returns:
            The cursor for the next tick, and what became of this one, in words.
        """
        known = {name: _Told(**state) for name, state in json.loads(cursor or "{}").items()}
        kept, said = {}, []
        for receiver in self._to:
            state = known.get(receiver.name)
            if state is None:
                kept[receiver.name] = _Told(self._source(instance, None).until)
                said.append(f"{receiver.shown}: is told from now on")
                continue
            kept[receiver.name] = state
            if self._clock() >= state.again:
                said.append(self._tell(receiver, state, self._source(instance, state.until)))
            else:
                said.append(f"{receiver.shown}: is tried again after {state.tries} attempts")
        return json.dumps({name: asdict(state) for name, state in kept.items()}), "; ".join(said)

    def _tell(self, receiver: Receiver, state: _Told, news: News) -> str:
        told = "nothing new"
        if news.lines:
            composed = message(self._what, self._lake, news.lines)
            try:
                receiver.send(composed)
                told = f"was told of {self._what}: {len(news.lines)}"
            except NotDelivered as error:
                state.tries += 1
                if state.tries < ATTEMPTS:
                    state.again = self._clock() + min(_WAIT_SECONDS * 2 ** (state.tries - 1), _LONGEST_SECONDS)
                    _logger.warning("%s; it is tried again", error)
                    return f"{error}; it is tried again"
                _logger.error("%s, %d times; this was to be told: %s", error, state.tries, composed.text)
                told = f"{error}, {state.tries} times: given up; this was to be told: {composed.text}"
        state.until, state.tries, state.again = news.until, 0, 0.0
        return f"{receiver.shown}: {told}"


def alerts(settings: Settings, keys: Keys) -> list[dg.SensorDefinition]:
    """The sensors of a code location with these settings."""
    bulletin, to = Bulletin(keys, settings.alerts.ui), receivers(settings.alerts)
    sources: list[tuple[str, str, Source, str]] = [
        ("tell_failed_runs", "failed runs", bulletin.failed_runs, "Tells of every run that failed."),
        (
            "tell_failed_checks",
            "failed checks",
            bulletin.failed_checks,
            "Tells of checks that failed, and of warnings.",
        ),
        ("tell_overdue", "overdue", bulletin.overdue, "Tells of assets that were not built in time."),
    ]
    return [
        _sensor(name, Teller(to, source, what, settings.lake), told, settings, on=bool(to))
        for name, what, source, told in sources
    ]


def _sensor(name: str, teller: Teller, told: str, settings: Settings, *, on: bool) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=settings.automation.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description=f"{told} Set {SETTINGS}.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if not on:
            return dg.SensorResult(skip_reason=f"nobody is told: set {SETTINGS}")
        cursor, said = teller.tick(context.instance, context.cursor)
        return dg.SensorResult(skip_reason=said, cursor=cursor)

    return sensor
