"""A training small enough for a test: made shards, a model of a few thousand weights, a recipe of four steps."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from laion_assets.training.compute import ComputeOptions, place
from laion_assets.training.driver import Training
from laion_assets.training.recipe import Recipe
from laion_assets.training.schedule import Schedule

MODEL = "tiny"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SAMPLES = 16
"""Samples of a shard."""


def write_config(folder: Path) -> str:
    """The folder of the model's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    return str(folder)


def write_shards(folder: Path, count: int = 4, first: int = 0) -> list[Path]:
    """Shards of noise; the text of a sample is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{n:05d}.tar" for n in range(count)]
    for shard, path in enumerate(paths):
        with tarfile.open(path, "w") as tar:
            for place_ in range(SAMPLES):
                number = first + shard * SAMPLES + place_
                out = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(out, "PNG")
                for name, content in ((f"{number}.png", out.getvalue()), (f"{number}.txt", str(number).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return paths


def recipe(configs: str, **changes: Any) -> Recipe:
    """Four steps in two epochs."""
    values: dict[str, Any] = {
        "name": "tiny",
        "model": MODEL,
        "model_configs": configs,
        "samples_per_shard": SAMPLES,
        "samples_seen": 4 * SAMPLES,
        "epochs": 2,
        "global_batch_size": SAMPLES,
        "learning_rate": 1e-3,
        "precision": "fp32",
    }
    return Recipe(**{**values, **changes})


def training(folder: Path, made: Recipe, shards: list[Path], **options: Any) -> Training:
    """The recipe on this machine; ``folder`` holds its work and output."""
    told = {name: options.pop(name) for name in ("say", "resumed") if name in options}
    root = options.pop("root", "")
    compute = ComputeOptions(**{"workers": 1, "device": "cpu", "threads": 1, "stall_seconds": 120.0, **options})
    placement = place(made, compute)
    schedule = Schedule(
        shards=tuple(map(str, shards)),
        samples_per_shard=made.samples_per_shard,
        samples_seen=made.samples_seen,
        epochs=made.epochs,
        loaders=placement.loaders,
        loader_batch_size=placement.batch_size,
        seed=made.seed,
        root=root,
    )
    return Training(
        recipe=made,
        schedule=schedule,
        placement=placement,
        compute=compute,
        work=folder / "work",
        output=folder / "output",
        **told,
    )
