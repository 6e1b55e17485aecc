"""What the training loop is served: each sample once a pass, by however many loaders, in an order of the seed's own."""

from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest
import torch

from laion_assets.training.loading import _picture, data_source
from laion_assets.training.schedule import Schedule
from tests.unit.images.files import corners, saved, tiff
from tests.unit.training.tiny import SAMPLES, write_shards


def served(shards: list[Path], *, epochs: int, passes: int, ranks: int = 1, workers: int = 0, seed: int = 0):
    """The texts that each epoch served, over all ranks, in order."""
    schedule = Schedule(
        shards=tuple(map(str, shards)),
        samples_per_shard=SAMPLES,
        samples_seen=SAMPLES * len(shards) * passes,
        epochs=epochs,
        loaders=ranks * max(1, workers),
        loader_batch_size=8,
        seed=seed,
    )
    found: list[list[int]] = [[] for _ in range(epochs)]
    for rank in range(ranks):
        args = Namespace(rank=rank, workers=workers, batch_size=8, world_size=ranks)
        preprocess = lambda image: torch.tensor(image.size)  # noqa: E731
        data = data_source(schedule)(args, (preprocess, None), 0, lambda text: torch.tensor([int(text)]))["train"]
        for epoch in range(epochs):
            data.set_epoch(epoch)
            batches = list(data.dataloader)
            assert len(batches) == data.dataloader.num_batches
            assert {len(texts) for _, texts in batches} == {8}
            found[epoch] += [int(text) for _, texts in batches for text in texts]
        assert data.dataloader.num_samples * epochs == schedule.samples_seen
    return found


@pytest.mark.parametrize(("epochs", "passes", "ranks", "workers"), [(1, 1, 1, 0), (4, 3, 1, 0), (2, 2, 2, 2)])
def test_every_sample_is_served_once_a_pass(tmp_path, epochs, passes, ranks, workers):
    shards = write_shards(tmp_path, 4)
    everything = Counter(text for epoch in served(
        shards, epochs=epochs, passes=passes, ranks=ranks, workers=workers
    ) for text in epoch)  # fmt: skip
    assert everything == Counter(dict.fromkeys(range(4 * SAMPLES), passes))


def test_equal_seeds_give_an_equal_order_and_every_pass_another(tmp_path):
    shards = write_shards(tmp_path, 4)
    one, same, other = (served(shards, epochs=2, passes=2, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one[0] != other[0]
    assert one[0] != one[1]
    assert one[0] != sorted(one[0])


def test_a_shard_with_too_few_samples_is_an_error(tmp_path):
    shards = write_shards(tmp_path, 2)
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[: len(content) // 2 // 10240 * 10240])
    with pytest.raises(Exception, match=r"expected 16 samples, found \d+|unexpected end|truncated"):
        served(shards, epochs=1, passes=1)


def test_a_shard_that_is_missing_is_an_error(tmp_path):
    shards = write_shards(tmp_path, 2)
    shards[0].unlink()
    with pytest.raises(FileNotFoundError):
        served(shards, epochs=1, passes=1)


def test_a_picture_that_cannot_be_decoded_is_an_error(tmp_path):
    shards = write_shards(tmp_path, 2)
    content = shards[0].read_bytes()
    shards[0].write_bytes(content.replace(b"IDAT", b"XDAT"))
    with pytest.raises(Exception, match=r"image|PNG|cannot"):
        served(shards, epochs=1, passes=1)


def test_pictures_of_older_lakes_are_served_upright():
    """They were stored with their EXIF orientation, which nothing after it looked at."""
    turned = saved(corners().rotate(90, expand=True), "PNG", exif=b"Exif\0\0" + tiff(6))
    assert _picture(".png", turned).tobytes() == corners().tobytes()
    assert _picture(".txt", b"a text") is None
