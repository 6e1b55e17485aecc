"""Two models of the sample's architecture, and benchmarks of a few hundred pictures that are awkward on purpose."""

import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from laion_assets.clip.training import TrainingOptions, TrainingPairs, train
from laion_assets.evaluation.benchmark import Benchmark, BenchmarkSample, write_benchmark
from laion_assets.evaluation.model import LoadedModel, load_model
from laion_assets.sample.benchmarks import CLASSNAMES, TEMPLATES, labels
from laion_assets.sample.captions import write_captions
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS, training_pairs
from laion_assets.sample.world import COLOUR, SHAPE, draw_scenes, render

Metrics = Callable[..., dict[str, float]]


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    import open_clip
    import torch
    from safetensors.torch import save_file

    open_clip.add_model_config(MODEL_CONFIGS)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(open_clip.create_model(MODEL).state_dict(), path)
    return str(path)


@pytest.fixture(scope="session")
def trained_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that have learned a little: well above chance, far from right."""
    pairs = training_pairs(1_000, seed=5, captions_per_picture=1)
    options = TrainingOptions(samples=3_000, batch_size=100, warmup_steps=5, threads=1)
    return str(
        train(
            TrainingPairs(pairs.images, spoken(pairs.attributes), pairs.image_indices),
            model=MODEL,
            model_configs=MODEL_CONFIGS,
            options=options,
            output=tmp_path_factory.mktemp("weights") / "trained.safetensors",
        )
    )


def spoken(attributes: np.ndarray) -> list[str]:
    """English captions of shape and colour, the wording drawn."""
    mentions = np.zeros(attributes.shape, dtype=bool)
    mentions[:, [SHAPE, COLOUR]] = True
    return write_captions(attributes, mentions, ["en"] * len(attributes), np.random.default_rng(len(attributes)))


@pytest.fixture(scope="session", params=["random", "trained"])
def weights(request: pytest.FixtureRequest) -> str:
    path: str = request.getfixturevalue(f"{request.param}_weights")
    return path


@pytest.fixture(scope="session")
def loaded(random_weights: str) -> LoadedModel:
    return load_model(MODEL, random_weights, model_configs=MODEL_CONFIGS)


def picture(seed: int, form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (24, 20)) -> bytes:
    """An encoded picture of coarse noise."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size)
    return encoded(image, form, mode, seed)


def encoded(image: Image.Image, form: str, mode: str, seed: int) -> bytes:
    if mode == "RGBA":
        image = image.convert("RGBA")
        alpha = np.random.default_rng(seed).integers(0, 256, image.size[::-1], dtype=np.uint8)
        image.putalpha(Image.fromarray(alpha))
    file = io.BytesIO()
    image.convert(mode).save(file, form)
    return file.getvalue()


def labelled(count: int, classes: int = 3) -> Iterator[BenchmarkSample]:
    return (BenchmarkSample(f"s{row:04d}", picture(row), label=row % classes) for row in range(count))


def captioned(count: int) -> Iterator[BenchmarkSample]:
    texts = [f"picture {row}" for row in range(count)]
    return (BenchmarkSample(f"s{row:04d}", picture(row), captions=(texts[row], "again")) for row in range(count))


def shown(n: int, seed: int) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """Pictures of scenes in every format and mode that a benchmark comes in; labels; attributes."""
    scenes = draw_scenes(n, purpose="evaluation", seed=seed)
    kinds = itertools.cycle([("JPEG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("JPEG", "L")])
    images = []
    for row, (pixels, (form, mode)) in enumerate(zip(render(scenes, 40), kinds, strict=False)):
        size = (40 + row % 7, 40 - row % 5)
        images.append(encoded(Image.fromarray(pixels).resize(size), form, mode, row))
    return images, labels(scenes), scenes.attributes


@pytest.fixture(scope="session")
def classification(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """300 pictures in three tars, a class name that two classes share, classes without pictures."""
    images, truth, _ = shown(300, seed=1)
    names = list(CLASSNAMES)
    names[int(truth[0])] = names[int(truth[1])]
    rows = (BenchmarkSample(f"s{row:04d}", images[row], label=int(truth[row])) for row in range(len(images)))
    folder = tmp_path_factory.mktemp("benchmarks") / "classification"
    return write_benchmark(
        folder, rows, task="zeroshot_classification", classnames=names, templates=TEMPLATES[:2], per_tar=130
    )


@pytest.fixture(scope="session")
def retrieval_benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """200 pictures, some of them twice, with one to four captions, many of them alike."""
    images, _, attributes = shown(200, seed=2)
    images[50:60] = images[60:70]
    rows = []
    for row, image in enumerate(images):
        texts = spoken(np.repeat(attributes[row : row + 1], 1 + row % 4, axis=0))
        rows.append(BenchmarkSample(f"s{row:04d}", image, captions=tuple(texts)))
    return write_benchmark(
        tmp_path_factory.mktemp("benchmarks") / "retrieval", rows, task="zeroshot_retrieval", per_tar=90
    )


@pytest.fixture
def clip_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Metrics:
    """What CLIP_benchmark's command line says of a benchmark, run in this process."""

    def evaluate(benchmark: Benchmark, weights: str) -> dict[str, float]:
        import open_clip
        from clip_benchmark.cli import main
        from clip_benchmark.metrics import zeroshot_classification

        # It makes a float of an array of one element, which numpy 2.4 refuses; nothing else is changed.
        monkeypatch.setattr(
            zeroshot_classification, "float", lambda value: float(np.asarray(value).item()), raising=False
        )
        open_clip.add_model_config(MODEL_CONFIGS)
        output = tmp_path / "clip_benchmark.json"
        command = f"clip_benchmark eval --dataset wds/it --dataset_root {benchmark.folder} --task {benchmark.task}"
        command += f" --model {MODEL} --pretrained {weights} --no_amp --num_workers 0 --batch_size 64 --quiet"
        monkeypatch.setattr(sys, "argv", [*command.split(), "--output", str(output), "--recall_k", "1", "5", "10"])
        main()
        metrics: dict[str, float] = json.loads(output.read_text())["metrics"]
        return metrics

    return evaluate
