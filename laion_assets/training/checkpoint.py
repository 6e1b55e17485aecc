"""Checkpoints: what open_clip_train wrote, judged before anybody builds on it, and the weights that are published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laion_assets.training.errors import TrainingError

if TYPE_CHECKING:
    import torch


class CheckpointError(TrainingError):
    """A checkpoint cannot be used. The message names the file and says what is the matter with it."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A checkpoint of open_clip_train that was read whole."""

    epoch: int
    """Epochs completed."""
    weights: dict[str, torch.Tensor]
    steps: int
    """Optimiser steps taken."""


def read_state(path: Path) -> TrainingState:
    """Read a checkpoint of open_clip_train and make sure that it is whole and sane.

    Raises:
        CheckpointError: it cannot be read to its end, lacks weights or optimiser, or holds a weight that is no number.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name.removeprefix("module."): value for name, value in content["state_dict"].items()}
        states = content["optimizer"]["state"].values()
        epoch = int(content["epoch"])
    except Exception as error:  # torch raises RuntimeError, pickle's and zip's errors, EOFError, KeyError
        raise CheckpointError(f"{path} cannot be read as a checkpoint of open_clip_train: {error}") from error
    broken = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path} holds weights that are no numbers: {', '.join(broken[:3])} …; nothing is published"
        )
    steps = {int(state["step"]) for state in states if "step" in state}
    return TrainingState(epoch, weights, max(steps, default=0))


def fit_state(path: Path, fitted: Path, *, replicated: bool) -> Path:
    """A checkpoint whose weights are named as a training of one process, or of several replicas, expects them.

    Args:
        path: a checkpoint that `read_state` accepts.
        fitted: where to write it under other names, if that is needed.
        replicated: whether several processes will go on from it: open_clip_train then wants names with `module.`.

    Returns:
        `path` where the names fit, `fitted` otherwise.
    """
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    names = content["state_dict"]
    if not replicated or all(name.startswith("module.") for name in names):
        return path  # open_clip_train itself takes the prefix off
    content["state_dict"] = {f"module.{name}": value for name, value in names.items()}
    torch.save(content, fitted)
    return fitted


def ensure_model(model: str, model_configs: str | None) -> None:
    """Make sure that open_clip knows the model, with the configurations in a folder if one is given.

    Raises:
        CheckpointError: it does not.
    """
    import open_clip

    from laion_assets.clip.open_clip_models import add_model_configs

    if model_configs is not None:
        add_model_configs(model_configs)
    if open_clip.get_model_config(model) is None:
        raise CheckpointError(
            f"expected the name of an open_clip model, found {model!r}; model_configs is {model_configs or 'not set'}"
        )


def open_model(model: str, weights: Path, model_configs: str | None) -> Any:
    """The open_clip model with these weights, every one of which must fit.

    Raises:
        CheckpointError: there is no such model, or the weights are not its own.
    """
    import open_clip

    ensure_model(model, model_configs)
    try:
        return open_clip.create_model(model, pretrained=str(weights), pretrained_text=False)
    except Exception as error:  # each format's reader raises its own errors
        raise CheckpointError(f"{weights} does not load into {model}: {error}") from error


def gmacs_per_sample(model: Any) -> float:
    """Multiply-accumulates of a forward pass over one picture and one text, in billions.

    Counted by torch while it computes: a MAC is two of its FLOPs.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, height, width), torch.zeros(1, model.context_length, dtype=torch.long))
    return float(counter.get_total_flops()) / 2 / 1e9


def config_json(model: str) -> str:
    """open_clip's configuration of a model, as JSON that `add_model_config` reads."""
    import open_clip

    return json.dumps(open_clip.get_model_config(model), sort_keys=True, indent=2)
