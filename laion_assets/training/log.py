"""What open_clip_train says while it trains, as numbers."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_STEP = re.compile(
    r"Train Epoch: (?P<epoch>\d+) \[\s*(?P<samples>\d+)/(?P<total>\d+).*?"
    r"LR: (?P<rate>\S+) Logit Scale: (?P<scale>\S+).*? Loss: (?P<loss>\S+) \((?P<mean>\S+)\)"
)
_START = re.compile(r"Start epoch (?P<epoch>\d+)")


@dataclass(slots=True)
class EpochLog:
    """What was said during one epoch (from 0)."""

    samples: int = 0
    loss: float = math.nan
    """Mean over the steps that were reported."""
    last_loss: float = math.nan
    learning_rate: float = math.nan
    logit_scale: float = math.nan
    started: float = math.nan
    """Seconds since 1970."""
    ended: float = math.nan

    @property
    def seconds(self) -> float:
        """From the beginning of the epoch to its last reported step."""
        return self.ended - self.started

    @property
    def finite(self) -> bool:
        """Whether the loss was a number so far."""
        return math.isfinite(self.last_loss) or self.samples == 0


@dataclass(slots=True)
class TrainingLog:
    """The log of one training process, line by line."""

    epochs: dict[int, EpochLog] = field(default_factory=dict)
    current: int | None = None
    """The epoch that is under way; those below it have their checkpoints."""

    def read(self, lines: Iterable[str]) -> None:
        """Take in lines; those that are cut short by a kill are passed over."""
        for line in lines:
            self.take(line)

    def take(self, line: str) -> EpochLog | None:
        """Take in one line; gives the epoch if it reports a step."""
        try:
            said = json.loads(line)
            time, message = float(said["time"]), str(said["message"])
        except (ValueError, KeyError, TypeError):
            return None
        started = _START.match(message)
        if started is not None:
            self.current = int(started["epoch"])
            self.epochs[self.current] = EpochLog(started=time)
            return None
        step = _STEP.search(message)
        if step is None:
            return None
        epoch = self.epochs.setdefault(int(step["epoch"]), EpochLog(started=time))
        epoch.samples = int(step["samples"])
        epoch.loss, epoch.last_loss = float(step["mean"]), float(step["loss"])
        epoch.learning_rate, epoch.logit_scale = float(step["rate"]), float(step["scale"])
        epoch.ended = time
        return epoch
