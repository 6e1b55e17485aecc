"""A model loaded for scoring, and its vectors exactly as CLIP_benchmark computes them.

`clip.encoder` reads the same checkpoints but serves a lake: it rounds vectors to float16, leaves out a text's padding
and counts what does not decode. A score that is to be compared with published ones has none of that.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from laion_assets.clip.cpu import prepare_cpu
from laion_assets.clip.device import resolve_device, resolve_precision
from laion_assets.clip.open_clip_models import load_open_clip
from laion_assets.clip.options import EncoderOptions
from laion_assets.evaluation.benchmark import BenchmarkError, BenchmarkSample
from laion_assets.images.decode import rgb_picture

if TYPE_CHECKING:
    import torch

Progress = Callable[[int], object]
"""Called with the number of samples that were scored since the last call."""

_BATCHES_AHEAD: Final = 2
"""Batches of pictures decoded while the model computes."""


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model in evaluation mode, and what prepares its input."""

    model: Any
    preprocess: Callable[[Any], torch.Tensor]
    """A PIL picture to float32 [3, height, width]."""
    tokenizer: Callable[[list[str]], torch.Tensor]
    """n texts to int64 [n, context length]."""
    device: str
    """torch's name of it."""
    precision: str
    """What the forward passes compute in: `fp32`, `amp_bf16` or `amp_fp16`."""


def load_model(
    model: str, weights: str, *, model_configs: str | None, device: str = "auto", precision: str = "fp32"
) -> LoadedModel:
    """Load a checkpoint for scoring.

    Args:
        model: open_clip's name of the architecture, or `hf-hub:owner/name`.
        weights: open_clip's tag of the weights, or a weights file; empty for an `hf-hub:` model. A tag trained with
            QuickGELU gets it whatever the architecture's name says, where CLIP_benchmark must be given the name that
            ends in `-quickgelu`.
        model_configs: Folder of further open_clip model configurations (JSON), or None.
        device: torch's name of the device, or `auto`: the first GPU if there is one, else the CPU.
        precision: `fp32`, as CLIP_benchmark with `--no_amp`; `amp_bf16`, `amp_fp16`, or `auto`.

    Raises:
        EncoderError: model, weights or device do not exist, or do not fit each other.
        ValueError: an argument has no meaning.
    """
    options = EncoderOptions(
        model=model, pretrained=weights, model_configs=model_configs, device=device, precision=precision
    )
    prepare_cpu()
    import torch

    device = resolve_device(options.device)
    loaded, preprocess, tokenizer, _ = load_open_clip(options, device)
    return LoadedModel(loaded, preprocess, tokenizer, device, resolve_precision(precision, torch.device(device).type))


def image_features(loaded: LoadedModel, images: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Vectors of preprocessed pictures.

    Args:
        loaded: The model.
        images: float32 [n, 3, height, width].
        batch: Pictures a forward pass.

    Returns:
        float32 [n, dimension] on the model's device, each row of length 1, not rounded.
    """
    return _features(loaded, loaded.model.encode_image, images, batch)


def text_features(loaded: LoadedModel, texts: Sequence[str], batch: int = 64) -> torch.Tensor:
    """Vectors of texts, each cut off where the model's context ends.

    Args:
        loaded: The model.
        texts: At least one.
        batch: Texts a forward pass.

    Returns:
        float32 [n, dimension] on the model's device, each row of length 1, not rounded.
    """
    return _features(loaded, loaded.model.encode_text, loaded.tokenizer(list(texts)), batch)


def image_batches(
    loaded: LoadedModel, samples: Iterable[BenchmarkSample], batch_size: int
) -> Iterator[tuple[list[BenchmarkSample], torch.Tensor]]:
    """Samples in batches, their pictures decoded on threads, a bounded number of batches ahead of their use.

    Yields:
        At most `batch_size` samples, in the order given, and their pictures, float32 [n, 3, height, width].

    Raises:
        BenchmarkError: a picture cannot be decoded. The message names tar and key.
    """
    import torch

    rows = iter(samples)
    ahead: deque[list[tuple[BenchmarkSample, Future[torch.Tensor]]]] = deque()
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1), "decode") as decoders:
        try:
            while True:
                while len(ahead) <= _BATCHES_AHEAD and (part := list(itertools.islice(rows, batch_size))):
                    ahead.append([(sample, decoders.submit(_prepare, loaded, sample)) for sample in part])
                if not ahead:
                    return
                batch = ahead.popleft()
                yield [sample for sample, _ in batch], torch.stack([image.result() for _, image in batch])
        finally:
            decoders.shutdown(cancel_futures=True)


def _prepare(loaded: LoadedModel, sample: BenchmarkSample) -> torch.Tensor:
    try:
        # As RGB first of all, and without transparency, as webdataset does: otherwise they are resized differently.
        with rgb_picture(sample.image, over_white=False) as picture:
            return loaded.preprocess(picture)
    except Exception as error:  # decoders raise anything
        raise BenchmarkError(
            f"{sample.tar or 'given'}, sample {sample.key}: the picture cannot be decoded: {error}; "
            "fetch or convert the benchmark again"
        ) from error


def _features(
    loaded: LoadedModel, forward: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, batch: int
) -> torch.Tensor:
    import torch
    from torch.nn.functional import normalize

    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            with _autocast(loaded):
                features = forward(rows[start : start + batch].to(loaded.device, non_blocking=True))
            parts.append(normalize(features.float(), dim=-1))
    return torch.cat(parts)


def _autocast(loaded: LoadedModel) -> AbstractContextManager[object]:
    import torch

    if loaded.precision == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if loaded.precision == "amp_bf16" else torch.float16
    return torch.autocast(torch.device(loaded.device).type, dtype=dtype)
