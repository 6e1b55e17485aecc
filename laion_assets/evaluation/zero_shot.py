"""Zero-shot classification: which class name, put into prompts, is nearest to a picture.

Prompt ensembling of Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
section 3.1.4: a class's vector is the mean of its prompts' unit vectors, made a unit vector again. Computed step by
step as CLIP_benchmark's `metrics/zeroshot_classification.py` does, so that predictions agree to the last sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, samples
from laion_assets.evaluation.model import LoadedModel, Progress, image_batches, image_features, text_features

if TYPE_CHECKING:
    import torch

_TOP: Final = 5


@dataclass(frozen=True, kw_only=True)
class ZeroShotScore:
    """How well a model names pictures it was not trained to name."""

    top1: float
    """Part of the pictures whose class came first."""
    top5: float | None
    """Part of the pictures whose class was among the first five; None with fewer than five classes, where
    CLIP_benchmark says NaN."""
    mean_per_class_recall: float
    """Mean of the classes' own top-1, over the classes that have pictures (scikit-learn's balanced accuracy)."""
    standard_error: float
    """Of `top1`, had the pictures been drawn at random: sqrt(top1 (1 - top1) / samples)."""
    chance: float
    """What guessing scores: 1 / classes."""
    samples: int
    classes: int
    """Class names; not each need have pictures."""


def zero_shot(
    loaded: LoadedModel, benchmark: Benchmark, *, batch_size: int = 64, progress: Progress | None = None
) -> ZeroShotScore:
    """Score a model on a classification benchmark. Pictures are streamed: memory holds a few batches.

    Args:
        loaded: The model.
        benchmark: What to score it on.
        batch_size: Pictures a forward pass.
        progress: Called after each batch with its number of pictures.

    Raises:
        BenchmarkError: the benchmark is of another task, or a sample is broken.
    """
    if benchmark.task != "zeroshot_classification":
        raise BenchmarkError(f"{benchmark.name}: expected a classification benchmark, found {benchmark.task}")
    classes = len(benchmark.classnames)
    classifier = zero_shot_classifier(loaded, benchmark.classnames, benchmark.templates)
    pictures, recalled = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    first = among_five = 0
    for batch, images in image_batches(loaded, samples(benchmark), batch_size):
        logits = (100.0 * image_features(loaded, images, batch_size) @ classifier).cpu()
        labels = np.array([sample.label for sample in batch], np.int64)
        # Equal class names tie, and argmax and topk settle ties differently: each is used where CLIP_benchmark does.
        ranked = logits.topk(_TOP if classes >= _TOP else 1, dim=1).indices.numpy() == labels[:, None]
        first += int(ranked[:, 0].sum())
        among_five += int(ranked.sum())
        pictures += np.bincount(labels, minlength=classes)
        recalled += np.bincount(labels[logits.argmax(dim=1).numpy() == labels], minlength=classes)
        if progress is not None:
            progress(len(batch))
    total, shown = int(pictures.sum()), pictures > 0
    top1 = first / total
    return ZeroShotScore(
        top1=top1,
        top5=among_five / total if classes >= _TOP else None,
        mean_per_class_recall=float((recalled[shown] / pictures[shown]).mean()),
        standard_error=math.sqrt(top1 * (1 - top1) / total),
        chance=1 / classes,
        samples=total,
        classes=classes,
    )


def zero_shot_classifier(loaded: LoadedModel, classnames: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """Unit vectors of classes, each the mean over all prompts.

    Returns:
        float32 [dimension, classes] on the model's device.
    """
    import torch

    vectors = []
    for name in classnames:
        prompts = [template.format(c=name) for template in templates]
        mean = text_features(loaded, prompts, batch=len(prompts)).mean(dim=0)
        vectors.append(mean / mean.norm())
    return torch.stack(vectors, dim=1)
