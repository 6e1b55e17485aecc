"""Weights as files that others read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from laion_assets.common.files import appearing

if TYPE_CHECKING:
    import torch


def write_weights(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write weights as `.safetensors`: the file appears whole or not at all, and whoever the umask lets may read it."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path, durable=True) as fresh:  # safetensors puts a file of its own there, which nobody may read
        save_file({name: value.contiguous() for name, value in weights.items()}, fresh)
