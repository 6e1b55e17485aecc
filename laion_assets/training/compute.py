"""On what a recipe is trained: the machine's side, which changes no sample and no step."""

from __future__ import annotations

import os
from dataclasses import dataclass

from laion_assets.clip.cpu import prepare_cpu
from laion_assets.training.errors import TrainingError
from laion_assets.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeOptions:
    """Processes, memory and patience of a training."""

    processes: int = 0
    """Training processes on this machine, under torchrun where there are several; 0: one for each GPU, or one."""
    workers: int = 1
    """Data loading processes of each; 0: the training process loads by itself."""
    accumulation: int = 1
    """Parts in which a process computes its share of a batch, one after another, where memory is short."""
    device: str = "auto"
    """`cuda`, `cpu`, or `auto`: GPUs if there are any."""
    threads: int = 0
    """torch threads of each process on a CPU; 0: those cores that the loading processes leave. torch and they would
    otherwise take turns, and each step wait for its slowest thread."""
    stall_seconds: float = 1_800.0
    """A training that says nothing for so long is ended."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, least in (("processes", 0), ("workers", 0), ("accumulation", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        if not self.stall_seconds > 0:
            raise ValueError(f"stall_seconds: expected more than 0, found {self.stall_seconds}")


@dataclass(frozen=True, slots=True)
class Placement:
    """A recipe on a machine."""

    device: str
    processes: int
    workers: int
    batch_size: int
    """Samples of one micro-batch of one process."""
    accumulation: int
    threads: int
    """torch threads of each process; 0 on a GPU, where torch chooses."""

    @property
    def loaders(self) -> int:
        """Streams of samples."""
        return self.processes * max(1, self.workers)


class PlacementError(TrainingError):
    """A recipe does not fit a machine. The message says which numbers would."""


def place(recipe: Recipe, options: ComputeOptions) -> Placement:
    """Lay a recipe out on this machine.

    Raises:
        PlacementError: the global batch cannot be shared evenly, or a GPU is asked for that is not there.
    """
    prepare_cpu()
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.device == "cuda" and not gpus:
        raise PlacementError("LAION_TRAINING__DEVICE is cuda, and torch sees no GPU here; use `auto` or `cpu`")
    device = "cuda" if gpus and options.device != "cpu" else "cpu"
    processes = options.processes or (gpus if device == "cuda" else 1)
    if device == "cuda" and processes > gpus:
        raise PlacementError(
            f"LAION_TRAINING__PROCESSES is {processes}, and torch sees {gpus} GPUs; one each is needed"
        )
    parts = processes * options.accumulation
    if recipe.global_batch_size % parts:
        raise PlacementError(
            f"global_batch_size {recipe.global_batch_size:,} of {recipe.name} cannot be shared by {processes} "
            f"processes in {options.accumulation} parts each: set LAION_TRAINING__PROCESSES and "
            "LAION_TRAINING__ACCUMULATION so that their product divides it"
        )
    free = (os.cpu_count() or 1) // processes - options.workers
    return Placement(
        device=device,
        processes=processes,
        workers=options.workers,
        batch_size=recipe.global_batch_size // parts,
        accumulation=options.accumulation,
        threads=options.threads or (max(1, free) if device == "cpu" else 0),
    )
