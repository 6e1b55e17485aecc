"""Virtual shards stand for copied ones: the same samples in the same order, and damage is named."""

import io
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from laion_assets.training.loading import data_source
from laion_assets.training.schedule import Schedule
from laion_assets.training.virtual import read_virtual
from laion_assets.webdataset.reader import TarError
from laion_assets.webdataset.samples import read_samples
from tests.unit.training.test_shards import Made, contents
from tests.unit.training.tiny import recipe, training, write_config


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def files(made: Made, rows) -> list[Path]:
    return [made.folder / row["shard_path"] for row in rows if row["split"] == "train"]


def test_they_list_what_copies_hold_in_the_same_order(made):
    copied, listed = made.write("copied"), made.write("listed", virtual=True)
    for one, other in zip(copied, listed, strict=True):
        counted = ("split", "samples", "unique_images")
        assert [one[name] for name in counted] == [other[name] for name in counted]
        samples = [
            (key, {kind: content for kind, content in members.items() if kind != "json"})
            for key, members in read_samples(made.folder / one["shard_path"])
        ]
        found = [
            (sample["__key__"], {kind: content for kind, content in sample.items() if not kind.startswith("__")})
            for sample in read_virtual(made.folder / other["shard_path"], made.root)
        ]
        assert found == samples
    assert len(copied) > 2


def test_they_hold_no_picture(made):
    pictures = {content for tar in made.root.rglob("*.tar") for _, sample in read_samples(tar)
                for kind, content in sample.items() if kind != "json"}  # fmt: skip
    rows = made.write("listed", virtual=True)
    for row in rows:
        stored = (made.folder / row["shard_path"]).read_bytes()
        assert not any(picture in stored for picture in pictures)
    assert not list((made.folder / "listed").rglob("*.tar"))
    assert not list((made.folder / "listed").rglob("sizes.json"))


def test_what_is_finished_is_taken_over_and_what_is_damaged_is_not(made):
    rows = made.write(virtual=True)
    before = contents(made.folder / "shards")
    first, second = (made.folder / row["shard_path"] for row in rows[:2])
    stamp = second.stat().st_mtime_ns
    first.write_bytes(first.read_bytes()[:-1])
    assert made.write(virtual=True) == rows
    assert contents(made.folder / "shards") == before
    assert second.stat().st_mtime_ns == stamp


def served(shards: list[Path], root: str) -> list[tuple[bytes, str]]:
    """What the training loop is given in two passes: pixels and texts, in order."""
    schedule = Schedule(
        shards=tuple(map(str, shards)),
        samples_per_shard=8,
        samples_seen=8 * len(shards) * 2,
        epochs=2,
        loaders=1,
        loader_batch_size=8,
        seed=3,
        root=root,
    )
    texts: list[str] = []

    def tokenize(batch: str) -> torch.Tensor:
        texts.append(batch)
        return torch.tensor([len(texts) - 1])

    args = Namespace(rank=0, workers=0, batch_size=8, world_size=1)
    preprocess = lambda image: torch.tensor(np.asarray(image))  # noqa: E731
    data = data_source(schedule)(args, (preprocess, None), 0, tokenize)["train"]
    found: list[tuple[bytes, str]] = []
    for epoch in range(2):
        data.set_epoch(epoch)
        for images, numbers in data.dataloader:
            found += [(image.numpy().tobytes(), texts[n]) for image, n in zip(images, numbers.tolist(), strict=True)]
    return found


def test_the_training_loop_is_given_the_same_samples_in_the_same_order(made):
    copied = served(files(made, made.write("copied")), "")
    assert served(files(made, made.write("listed", virtual=True)), str(made.root)) == copied
    assert len({text for _, text in copied}) * 2 == len(copied)


def test_a_picture_that_changed_since_is_named(made):
    [shard, *_] = files(made, made.write(virtual=True))
    sample = next(iter(read_virtual(shard, made.root)))
    [picture] = [content for kind, content in sample.items() if kind in ("jpg", "png", "webp")]
    [tar] = [tar for tar in made.root.rglob("*.tar") if picture in tar.read_bytes()]
    content = bytearray(tar.read_bytes())
    content[content.index(picture) + len(picture) // 2] ^= 1
    tar.write_bytes(content)
    with pytest.raises(TarError, match=rf"{tar} is not what it was .* sample {sample['__key__']} differs"):
        list(read_virtual(shard, made.root))


def test_a_tar_or_list_that_is_gone_is_named(made):
    [shard, *_] = files(made, made.write(virtual=True))
    [tar, *_] = sorted(made.root.rglob("*.tar"))
    tar.rename(tar.with_suffix(".away"))
    with pytest.raises(TarError, match=f"{tar} cannot be opened"):
        served(files(made, made.write("shards", virtual=True, arrangement=made.arrangement)), str(made.root))
    tar.with_suffix(".away").rename(tar)
    shard.unlink()
    with pytest.raises(FileNotFoundError):
        list(read_virtual(shard, made.root))


def test_recipes_that_copy_keep_the_digests_they_had(tmp_path):
    copied, virtual = (recipe(str(tmp_path), shards=how) for how in ("copied", "virtual"))
    assert "shards" not in copied.of_training_set()
    assert virtual.of_training_set() == copied.of_training_set() | {"shards": "virtual"}
    assert copied.of_training() == virtual.of_training(), "weights do not depend on where pictures lie"
    assert "shards" not in copied.of_training()


@pytest.mark.integration
def test_open_clip_train_learns_from_them_what_it_learns_from_copies(tmp_path):
    def encode(number: int) -> bytes:
        out = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(out, ("JPEG", "PNG", "WEBP")[number % 3])
        return out.getvalue()

    made, losses = Made(tmp_path, encode), {}
    for how in ("copied", "virtual"):
        small = recipe(write_config(tmp_path / "configs"), samples_per_shard=8, samples_seen=64, global_batch_size=8)
        shards = files(made, made.write(how, virtual=how == "virtual"))
        root = str(made.root) if how == "virtual" else ""
        losses[how] = [record.loss for record in training(tmp_path / how, small, shards, root=root, workers=0).run()]
    assert losses["virtual"] == pytest.approx(losses["copied"], rel=1e-5)
