"""Weights as files that others read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def write_weights(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write weights as `.safetensors`: the file appears whole or not at all, and whoever the umask lets may read it."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode & 0o777
        save_file({name: value.contiguous() for name, value in weights.items()}, unfinished)
        unfinished.chmod(mode)  # safetensors puts a file of its own there, which nobody else may read
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
