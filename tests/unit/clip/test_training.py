import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from laion_assets.clip.encoder import cosine_similarity, load_encoder
from laion_assets.clip.options import EncoderOptions
from laion_assets.clip.training import (
    TrainingError,
    TrainingOptions,
    TrainingPairs,
    _batches,
    train,
    train_in_process,
)

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "white": (245, 245, 245)}
OPTIONS = TrainingOptions(samples=64 * 40, batch_size=64, warmup_steps=5, threads=1)


@pytest.fixture(scope="module")
def pairs() -> TrainingPairs:
    rng = np.random.default_rng(0)
    images, captions, indices = [], [], []
    for number in range(120):
        name, colour = list(COLOURS.items())[number % 4]
        images.append((np.array(colour) + rng.integers(-25, 25, (16, 16, 3))).clip(0, 255).astype(np.uint8))
        for caption in (f"a {name} picture", f"something {name}"):
            captions.append(caption)
            indices.append(number)
    return TrainingPairs(np.stack(images), captions, np.array(indices))


def test_a_trained_encoder_prefers_the_right_text(pairs: TrainingPairs, model_configs: str, tmp_path: Path):
    seen: list[int] = []
    output = tmp_path / "new" / "colours.safetensors"
    train(pairs, model="tiny", model_configs=model_configs, options=OPTIONS, output=output, progress=seen.append)
    assert seen[-1] == OPTIONS.samples
    encoder = load_encoder(EncoderOptions(model="tiny", pretrained=str(output), model_configs=model_configs))
    texts, _ = encoder.encode_texts([f"a {name} picture" for name in COLOURS])
    images, _ = encoder.encode_images([solid(colour) for colour in COLOURS.values()])
    assert (images @ texts.T).argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert cosine_similarity(images, texts).min() > 0.5


def solid(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, "JPEG")
    return file.getvalue()


def test_the_same_options_give_the_same_file_and_another_seed_another(
    pairs: TrainingPairs, model_configs: str, tmp_path: Path
):
    few = replace(OPTIONS, samples=64 * 4)
    names = ("one", "two", "three")
    for name, options in zip(names, (few, few, replace(few, seed=1)), strict=True):
        train(
            pairs, model="tiny", model_configs=model_configs, options=options, output=tmp_path / f"{name}.safetensors"
        )
    one, two, three = ((tmp_path / f"{name}.safetensors").read_bytes() for name in names)
    assert one == two
    assert one != three


def test_training_in_a_process_of_its_own_gives_what_training_here_gives(
    pairs: TrainingPairs, model_configs: str, tmp_path: Path
):
    few = replace(OPTIONS, samples=64 * 4)
    seen: list[int] = []
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    train(pairs, model="tiny", model_configs=model_configs, options=few, output=here)
    train_in_process(pairs, model="tiny", model_configs=model_configs, options=few, output=there, progress=seen.append)
    assert here.read_bytes() == there.read_bytes()
    assert seen[-1] == few.samples
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.safetensors", "there.safetensors"]


def test_a_process_that_fails_says_why_and_leaves_nothing(pairs: TrainingPairs, model_configs: str, tmp_path: Path):
    output = tmp_path / "weights.pt"
    with pytest.raises(TrainingError, match=r"the training process ended with 1: .* ends in \.safetensors"):
        train_in_process(pairs, model="tiny", model_configs=model_configs, options=OPTIONS, output=output)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_exist_is_named(pairs: TrainingPairs, model_configs: str, tmp_path: Path):
    with pytest.raises(TrainingError, match="no_such_model"):
        train(pairs, model="no_such_model", model_configs=None, options=OPTIONS, output=tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_writes_no_weights(pairs: TrainingPairs, model_configs: str, tmp_path: Path):
    wild = replace(OPTIONS, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        train(pairs, model="tiny", model_configs=model_configs, options=wild, output=tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_larger_pictures_are_resized_as_the_encoder_does(pairs: TrainingPairs, model_configs: str, tmp_path: Path):
    larger = TrainingPairs(np.repeat(np.repeat(pairs.images, 2, 1), 2, 2), pairs.captions, pairs.image_indices)
    few = replace(OPTIONS, samples=64 * 2)
    output = tmp_path / "x.safetensors"
    assert train(larger, model="tiny", model_configs=model_configs, options=few, output=output) == output


def test_no_batch_holds_a_picture_twice_and_every_pass_holds_each_once():
    indices = np.repeat(np.arange(64), 3)
    batches = _batches(indices, pictures=64, batch_size=16, seed=3)
    rows = [next(batches) for _ in range(8)]
    for images, captions in rows:
        assert len(set(images.tolist())) == 16
        assert (indices[captions.numpy()] == images.numpy()).all()
    assert sorted(number for images, _ in rows[:4] for number in images.tolist()) == list(range(64))


def test_pairs_come_back_from_their_file(pairs: TrainingPairs, tmp_path: Path):
    odd = TrainingPairs(pairs.images[:2], ['猫 "quoted"', "л\n"], np.array([1, 0]))
    odd.write(tmp_path / "pairs.npz")
    back = TrainingPairs.read(tmp_path / "pairs.npz")
    assert list(back.captions) == list(odd.captions)
    np.testing.assert_array_equal(back.images, odd.images)
    np.testing.assert_array_equal(back.image_indices, odd.image_indices)


@pytest.mark.parametrize(
    ("images", "captions", "indices", "said"),
    [
        (np.zeros((2, 8, 8), np.uint8), ["a"], [0], "images"),
        (np.zeros((2, 8, 8, 3), np.float32), ["a", "b"], [0, 1], "images"),
        (np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"], [0], "image_indices"),
        (np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"], [0, 2], "image_indices"),
        (np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"], [1, 1], "1 pictures have none"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(images, captions, indices, said: str):
    with pytest.raises(TrainingError, match=said):
        TrainingPairs(images, captions, np.array(indices))


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 10},
        {"batch_size": 1},
        {"threads": 0},
        {"warmup_steps": -1},
        {"learning_rate": 0.0},
        {"weight_decay": -0.1},
        {"beta2": 1.0},
    ],
)
def test_options_that_cannot_be_trained_with_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainingOptions(**wrong)  # type: ignore[arg-type]
