import math
from pathlib import Path

import pytest

from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, BenchmarkSample, write_benchmark
from laion_assets.evaluation.model import LoadedModel, load_model
from laion_assets.evaluation.zero_shot import zero_shot, zero_shot_classifier
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS
from tests.unit.evaluation.conftest import Metrics, labelled, picture


def test_scores_are_those_of_clip_benchmark(classification: Benchmark, weights: str, clip_benchmark: Metrics):
    score = zero_shot(load_model(MODEL, weights, model_configs=MODEL_CONFIGS), classification)
    theirs = clip_benchmark(classification, weights)
    assert (score.samples, score.classes) == (300, 192)
    assert round(score.top1 * 300) == round(theirs["acc1"] * 300)
    assert score.top5 is not None
    assert round(score.top5 * 300) == round(theirs["acc5"] * 300)
    assert score.mean_per_class_recall == pytest.approx(theirs["mean_per_class_recall"], abs=1e-12)
    if "trained" in weights:
        assert score.top1 > 2 * score.chance, "too little learned to tell two evaluators apart"


def test_every_prediction_is_that_of_clip_benchmark(classification: Benchmark, trained_weights: str):
    """The logits of both, compared row by row; batches as `zero_shot` makes them."""
    import torch
    from clip_benchmark.datasets.builder import build_wds_dataset
    from clip_benchmark.metrics.zeroshot_classification import run_classification
    from clip_benchmark.metrics.zeroshot_classification import zero_shot_classifier as theirs
    from torch.utils.data import DataLoader

    from laion_assets.evaluation.benchmark import samples
    from laion_assets.evaluation.model import image_batches, image_features

    loaded = load_model(MODEL, trained_weights, model_configs=MODEL_CONFIGS)
    names, templates = list(classification.classnames), list(classification.templates)
    classifier = zero_shot_classifier(loaded, names, templates)
    expected = theirs(loaded.model, loaded.tokenizer, names, templates, loaded.device, amp=False)
    torch.testing.assert_close(classifier, expected, atol=1e-6, rtol=0)
    dataset = build_wds_dataset("it", loaded.preprocess, "test", str(classification.folder)).batched(64)
    logits, truth = run_classification(
        loaded.model, expected, DataLoader(dataset, batch_size=None, num_workers=0), loaded.device, amp=False
    )
    ours, labels = [], []
    for batch, images in image_batches(loaded, samples(classification), 64):
        ours.append(100.0 * image_features(loaded, images) @ classifier)
        labels += [sample.label for sample in batch]
    assert truth.tolist() == labels
    assert torch.equal(torch.cat(ours).cpu().argmax(dim=1), logits.argmax(dim=1))


def test_fewer_than_five_classes_have_no_top_five(
    tmp_path: Path, loaded: LoadedModel, random_weights: str, clip_benchmark: Metrics
):
    names, templates = ("circle", "star", "cross"), ("a {c}",)
    benchmark = write_benchmark(
        tmp_path / "three", labelled(20), task="zeroshot_classification", classnames=names, templates=templates
    )
    score, theirs = zero_shot(loaded, benchmark), clip_benchmark(benchmark, random_weights)
    assert score.top5 is None
    assert math.isnan(theirs["acc5"])
    assert round(score.top1 * 20) == round(theirs["acc1"] * 20)
    assert score.chance == pytest.approx(1 / 3)
    assert score.standard_error == pytest.approx(math.sqrt(score.top1 * (1 - score.top1) / 20))


def test_five_classes_have_a_top_five_of_one(tmp_path: Path, loaded: LoadedModel):
    benchmark = write_benchmark(
        tmp_path / "five",
        labelled(11, classes=5),
        task="zeroshot_classification",
        classnames=tuple("abcde"),
        templates=("a {c}",),
    )
    assert zero_shot(loaded, benchmark, batch_size=4).top5 == 1


def test_progress_counts_every_sample(tmp_path: Path, loaded: LoadedModel):
    benchmark = write_benchmark(
        tmp_path / "b", labelled(20), task="zeroshot_classification", classnames=tuple("abc"), templates=("{c}",)
    )
    counts: list[int] = []
    zero_shot(loaded, benchmark, batch_size=8, progress=counts.append)
    assert counts == [8, 8, 4]


def test_a_broken_picture_ends_the_evaluation_and_is_named(tmp_path: Path, loaded: LoadedModel):
    rows = [*labelled(4), BenchmarkSample("s0009", picture(1)[:90], label=1)]
    benchmark = write_benchmark(
        tmp_path / "b", rows, task="zeroshot_classification", classnames=tuple("abc"), templates=("{c}",), per_tar=2
    )
    with pytest.raises(BenchmarkError, match=r"2\.tar, sample s0009: the picture cannot be decoded"):
        zero_shot(loaded, benchmark)


def test_a_retrieval_benchmark_is_refused(loaded: LoadedModel, retrieval_benchmark: Benchmark):
    with pytest.raises(BenchmarkError, match="expected a classification benchmark"):
        zero_shot(loaded, retrieval_benchmark)
