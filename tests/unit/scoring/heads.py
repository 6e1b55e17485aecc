"""Heads for tests: descriptions of files, made or published."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from laion_assets.scoring.head import Head, read_head


def described(folder: Path, file: Path, **changes: Any) -> Path:
    """A description of a head whose weights lie at a path."""
    said = {
        "name": "nice",
        "measures": "aesthetic",
        "weights": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "encoder": {"model": "ViT-B-32", "pretrained": "openai", "width": 4, "normalised": True},
    }
    description = folder / f"{changes.get('name', 'nice')}.yaml"
    description.write_text(yaml.safe_dump({**said, **changes}))
    return description


def linear(folder: Path, *, seed: int = 0, width: int = 4, **changes: Any) -> Head:
    """A linear head with weights by chance."""
    chance, weights = np.random.default_rng(seed), folder / f"{changes.get('name', 'nice')}.safetensors"
    tensors = {"weight": chance.normal(size=(1, width)), "bias": chance.normal(size=1)}
    save_file({name: tensor.astype(np.float32) for name, tensor in tensors.items()}, weights)
    return read_head(described(folder, weights, **changes))
