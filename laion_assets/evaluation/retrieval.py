"""Retrieval: which picture is nearest to a caption, and which caption to a picture.

Image retrieval asks with a caption for its picture; text retrieval asks with a picture for any of its captions. Recall
at k is the part of the questions with a right answer among the k nearest, as CLIP papers have it (Radford et al. 2021,
section 3.1 and table 13). Equal to CLIP_benchmark's `metrics/zeroshot_retrieval.py` with `--recall_k`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, samples
from laion_assets.evaluation.model import LoadedModel, Progress, image_batches, image_features, text_features

if TYPE_CHECKING:
    import torch

_SIMILARITIES_AT_ONCE: Final = 1 << 24
"""Of captions with pictures; 64 MiB."""


@dataclass(frozen=True, kw_only=True)
class RetrievalScore:
    """How well a model finds pictures by captions, and captions by pictures."""

    image_recall: dict[int, float]
    """By k: part of the captions whose picture is among the k nearest pictures."""
    text_recall: dict[int, float]
    """By k: part of the pictures of whose captions one at least is among the k nearest captions."""
    images: int
    captions: int

    @property
    def recalls(self) -> dict[str, float]:
        """Both by name, such as `image_recall_at_1`."""
        by_name = (("image_recall", self.image_recall), ("text_recall", self.text_recall))
        return {f"{name}_at_{k}": value for name, recall in by_name for k, value in recall.items()}


def retrieval(
    loaded: LoadedModel,
    benchmark: Benchmark,
    *,
    ks: Sequence[int] = (1, 5, 10),
    batch_size: int = 64,
    progress: Progress | None = None,
) -> RetrievalScore:
    """Score a model on a retrieval benchmark. Memory holds every vector, but pictures and similarities in parts only.

    Args:
        loaded: The model.
        benchmark: What to score it on.
        ks: How many of the nearest count. More than there are to be found counts as all of them.
        batch_size: Pictures a forward pass; their captions make another.
        progress: Called after each batch with its number of pictures.

    Raises:
        BenchmarkError: the benchmark is of another task, or a sample is broken.
    """
    import torch

    if benchmark.task != "zeroshot_retrieval":
        raise BenchmarkError(f"{benchmark.name}: expected a retrieval benchmark, found {benchmark.task}")
    pictures, texts = [], []
    captions_each: list[int] = []
    for batch, images in image_batches(loaded, samples(benchmark), batch_size):
        captions = [caption for sample in batch for caption in sample.captions]
        pictures.append(image_features(loaded, images, batch_size).cpu())
        texts.append(text_features(loaded, captions, batch=len(captions)).cpu())
        captions_each.extend(len(sample.captions) for sample in batch)
        if progress is not None:
            progress(len(batch))
    owners = torch.repeat_interleave(torch.tensor(captions_each))
    image_recall, text_recall = recalls(torch.cat(pictures), torch.cat(texts), owners, ks)
    return RetrievalScore(
        image_recall=image_recall, text_recall=text_recall, images=len(captions_each), captions=len(owners)
    )


def recalls(
    images: torch.Tensor, texts: torch.Tensor, owners: torch.Tensor, ks: Sequence[int]
) -> tuple[dict[int, float], dict[int, float]]:
    """Recall at each k of image retrieval and of text retrieval.

    Args:
        images: Unit vectors, float32 [pictures, dimension].
        texts: Unit vectors, float32 [captions, dimension].
        owners: int64 [captions]: the picture each caption is of.
        ks: How many of the nearest count.

    Returns:
        By k: parts of the captions, and parts of the pictures.
    """
    import torch

    everyone = torch.arange(len(images))
    by_text, by_image = dict.fromkeys(ks, 0), dict.fromkeys(ks, 0)
    for part in _slices(len(texts), max(1, _SIMILARITIES_AT_ONCE // len(images))):
        similarities = texts[part] @ images.t()
        for k in ks:
            by_text[k] += _hits(similarities, k, owners[part], everyone)
    for part in _slices(len(images), max(1, _SIMILARITIES_AT_ONCE // len(texts))):
        similarities = (texts @ images[part].t()).t()  # in this order, so that ties fall as CLIP_benchmark's do
        for k in ks:
            by_image[k] += _hits(similarities, k, everyone[part], owners)
    return {k: by_text[k] / len(texts) for k in ks}, {k: by_image[k] / len(images) for k in ks}


def _hits(similarities: torch.Tensor, k: int, wanted: torch.Tensor, offered: torch.Tensor) -> int:
    """Rows with a right answer among the `k` nearest columns: one whose `offered` is what the row has `wanted`."""
    # Not the first k of one larger topk: among equals that may take others.
    nearest = similarities.topk(min(k, similarities.shape[1]), dim=1).indices
    return int((offered[nearest] == wanted[:, None]).any(dim=1).sum())


def _slices(total: int, length: int) -> list[slice]:
    return [slice(start, start + length) for start in range(0, total, length)]
