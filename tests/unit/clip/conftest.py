"""A model of a few thousand weights, and pictures that have one colour."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from laion_assets.clip.encoder import Encoder, load_encoder
from laion_assets.clip.options import EncoderOptions

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def model_configs(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model_configs")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    wider = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "width": 48}}  # type: ignore[dict-item]
    (folder / "wider.json").write_text(json.dumps(wider))
    return str(folder)


@pytest.fixture(scope="session")
def weights(model_configs: str) -> str:
    """Random weights of the tiny model, in a file."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    open_clip.add_model_config(model_configs)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny")
    path = Path(model_configs) / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return str(path)


@pytest.fixture(scope="session")
def options(model_configs: str, weights: str) -> Callable[..., EncoderOptions]:
    """Options of the tiny encoder, some of them replaced."""

    def make(**replaced: object) -> EncoderOptions:
        settings = {"model": "tiny", "pretrained": weights, "model_configs": model_configs, "device": "cpu"}
        return EncoderOptions(**(settings | replaced))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def wide_encoder(options: Callable[..., EncoderOptions]) -> Encoder:
    """The tiny encoder with batches large enough for many pictures."""
    return load_encoder(options(batch_size=256))


@pytest.fixture(scope="session")
def encoder(options: Callable[..., EncoderOptions]) -> Encoder:
    """The tiny encoder with batches so small that a handful of pictures makes several."""
    return load_encoder(options(batch_size=4))


def picture(seed: int, *, size: tuple[int, int] = (24, 20), form: str = "JPEG") -> bytes:
    """An encoded picture of noise around one colour."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, 3) + rng.integers(-30, 30, (size[1], size[0], 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, form)
    return file.getvalue()
