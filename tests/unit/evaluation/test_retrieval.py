from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.evaluation import retrieval as module
from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, write_benchmark
from laion_assets.evaluation.model import LoadedModel, load_model
from laion_assets.evaluation.retrieval import recalls, retrieval
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS
from tests.unit.evaluation.conftest import Metrics, captioned


def test_scores_are_those_of_clip_benchmark(retrieval_benchmark: Benchmark, weights: str, clip_benchmark: Metrics):
    score = retrieval(load_model(MODEL, weights, model_configs=MODEL_CONFIGS), retrieval_benchmark)
    theirs = clip_benchmark(retrieval_benchmark, weights)
    assert (score.images, score.captions) == (200, 500)
    for k in (1, 5, 10):
        assert round(score.image_recall[k] * 500) == round(theirs[f"image_retrieval_recall@{k}"] * 500)
        assert round(score.text_recall[k] * 200) == round(theirs[f"text_retrieval_recall@{k}"] * 200)
    if "trained" in weights:
        assert score.image_recall[10] > 1.5 * 10 / 200, "too little learned to tell two evaluators apart"
    assert score.image_recall[1] <= score.image_recall[5] <= score.image_recall[10]
    assert (score.text_recall[1], score.text_recall[5], score.text_recall[10]) == tuple(score.text_recall.values())


def naive(images: np.ndarray, texts: np.ndarray, owners: list[int], k: int) -> tuple[float, float]:
    by_text = [owner in np.argsort(-(images @ text))[:k] for text, owner in zip(texts, owners, strict=True)]
    by_image = [
        any(owners[caption] == row for caption in np.argsort(-(texts @ image))[:k]) for row, image in enumerate(images)
    ]
    return float(np.mean(by_text)), float(np.mean(by_image))


@settings(max_examples=60, deadline=None)
@given(
    captions=st.lists(st.integers(1, 4), min_size=1, max_size=15),
    ks=st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 2**32 - 1),
    at_once=st.sampled_from([1, 7, 40, 1 << 24]),
)
def test_recall_is_what_its_definition_says(captions: list[int], ks: list[int], seed: int, at_once: int):
    import torch

    rng = np.random.default_rng(seed)
    owners = [row for row, count in enumerate(captions) for _ in range(count)]
    images = rng.standard_normal((len(captions), 6)).astype(np.float32)
    texts = (images[owners] + rng.standard_normal((len(owners), 6))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SIMILARITIES_AT_ONCE", at_once)
        by_text, by_image = recalls(*map(torch.from_numpy, (images, texts)), torch.tensor(owners), ks)
    for k in ks:
        assert (by_text[k], by_image[k]) == pytest.approx(naive(images, texts, owners, k))


def test_more_than_there_are_is_all_of_them(tmp_path: Path, loaded: LoadedModel):
    benchmark = write_benchmark(tmp_path / "r", captioned(4), task="zeroshot_retrieval")
    score = retrieval(loaded, benchmark)
    assert (score.image_recall[5], score.image_recall[10], score.text_recall[10]) == (1, 1, 1)


def test_similarities_in_parts_give_the_same_result(
    loaded: LoadedModel, retrieval_benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
):
    whole = retrieval(loaded, retrieval_benchmark)
    monkeypatch.setattr(module, "_SIMILARITIES_AT_ONCE", 200 * 64)
    assert retrieval(loaded, retrieval_benchmark) == whole


def test_progress_counts_every_picture(loaded: LoadedModel, retrieval_benchmark: Benchmark):
    counts: list[int] = []
    retrieval(loaded, retrieval_benchmark, batch_size=90, progress=counts.append)
    assert counts == [90, 90, 20]


def test_a_classification_benchmark_is_refused(loaded: LoadedModel, classification: Benchmark):
    with pytest.raises(BenchmarkError, match="expected a retrieval benchmark"):
        retrieval(loaded, classification)
