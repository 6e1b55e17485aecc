"""Which shards are read when, and by whom: the whole training laid out before it begins.

A pass reads every shard once, in an order of its own; passes follow each other without a gap, and epochs cut the
sequence into equal parts, which are dealt to the loaders (processes x workers) in whole shards. So every sample is
served once a pass, exactly; a training that goes on from a checkpoint reads what an undisturbed one would have read.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from laion_assets.training.errors import TrainingError


class ScheduleError(TrainingError):
    """Shards cannot be dealt evenly. The message says which numbers would fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A training's reading list."""

    shards: tuple[str, ...]
    """Paths of the shards."""
    samples_per_shard: int
    samples_seen: int
    epochs: int
    loaders: int
    """Processes x workers of each."""
    loader_batch_size: int
    """Samples of a batch that one loader makes."""
    seed: int
    root: str = ""
    """Folder of the tars that virtual shards name; empty: the shards are tars themselves."""

    def __post_init__(self) -> None:
        """Refuse what cannot be dealt in whole shards and whole batches."""
        if not self.shards:
            raise ScheduleError(
                f"expected at least one shard of {self.samples_per_shard:,} samples, found none: the selection is "
                "smaller than one shard; lower samples_per_shard"
            )
        per_epoch = self.samples_seen // (self.samples_per_shard * self.epochs)
        if per_epoch % self.loaders:
            raise ScheduleError(
                f"an epoch has {per_epoch} shards, which {self.loaders} loaders (processes x workers) cannot share "
                f"evenly; use a number of loaders that divides {per_epoch}, or other samples_seen or epochs"
            )
        own = self.shards_per_loader * self.samples_per_shard
        if own % self.loader_batch_size:
            raise ScheduleError(
                f"a loader's part of an epoch is {own:,} samples, which is no whole number of batches of "
                f"{self.loader_batch_size}; make samples_per_shard a multiple of {self.loader_batch_size}"
            )

    @property
    def shards_per_loader(self) -> int:
        """Shards one loader reads in one epoch."""
        return self.samples_seen // (self.samples_per_shard * self.epochs * self.loaders)

    @property
    def batches_per_loader(self) -> int:
        """Batches one loader makes in one epoch."""
        return self.shards_per_loader * self.samples_per_shard // self.loader_batch_size

    def of_epoch(self, epoch: int) -> list[int]:
        """Positions in `shards` that the epoch (from 0) reads, in order."""
        count = self.shards_per_loader * self.loaders
        first, last = epoch * count, (epoch + 1) * count
        n = len(self.shards)
        sequence: list[int] = []
        for number in range(first // n, -(-last // n)):
            sequence += _pass_order(self.seed, number, n)
        skipped = first // n * n
        return sequence[first - skipped : last - skipped]

    def of_loader(self, epoch: int, loader: int) -> list[str]:
        """The shards that one loader reads in one epoch, in order."""
        return [self.shards[position] for position in self.of_epoch(epoch)[loader :: self.loaders]]

    def distinct_samples(self, epochs: int) -> int:
        """Different samples served in the first ``epochs`` epochs."""
        served = epochs * self.shards_per_loader * self.loaders
        return min(served, len(self.shards)) * self.samples_per_shard

    def write(self, path: Path) -> None:
        """Write it for the training process."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        values = json.loads(path.read_text())
        return cls(**{**values, "shards": tuple(values["shards"])})


def _pass_order(seed: int, number: int, shards: int) -> Sequence[int]:
    order = list(range(shards))
    random.Random(f"pass/{seed}/{number}").shuffle(order)  # noqa: S311 - an order, no secret
    return order
