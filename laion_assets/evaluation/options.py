"""How checkpoints are measured, as settings say it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """How checkpoints are measured."""

    batch_size: int = 64
    """Pictures, or texts, a forward pass."""
    device: str = "auto"
    """torch's name of the device, or `auto`: the first GPU if there is one, else the CPU."""
    precision: Literal["fp32", "amp_bf16", "amp_fp16"] = "fp32"
    """Arithmetic of the forward pass; fp32 is what CLIP_benchmark's `--no_amp` computes in."""
    all_epochs: bool = False
    """Measure every epoch, not the final one alone."""
