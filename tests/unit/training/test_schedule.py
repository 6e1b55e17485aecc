"""The reading list of a training: every shard once a pass, whole batches for every loader, whatever the numbers."""

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from laion_assets.training.schedule import Schedule, ScheduleError

SIZES = st.integers(1, 6)


def schedule(shards: int, rounds: int, epochs: int, loaders: int, seed: int = 0) -> Schedule:
    """One in which every loader reads ``rounds`` shards an epoch."""
    return Schedule(
        shards=tuple(f"{n:05d}.tar" for n in range(shards)),
        samples_per_shard=8,
        samples_seen=8 * rounds * epochs * loaders,
        epochs=epochs,
        loaders=loaders,
        loader_batch_size=4,
        seed=seed,
    )


@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 9))
def test_every_pass_reads_every_shard_once(shards, rounds, epochs, loaders, seed):
    made = schedule(shards, rounds, epochs, loaders, seed)
    read = [made.shards[n] for epoch in range(epochs) for n in made.of_epoch(epoch)]
    assert len(read) == rounds * epochs * loaders
    for start in range(0, len(read), shards):
        served = Counter(read[start : start + shards])
        assert set(served.values()) == {1}
    assert made.distinct_samples(epochs) == 8 * len(set(read))


@given(SIZES, SIZES, SIZES, SIZES)
def test_loaders_share_an_epoch_evenly_and_nothing_is_left(shards, rounds, epochs, loaders):
    made = schedule(shards, rounds, epochs, loaders)
    for epoch in range(epochs):
        parts = [made.of_loader(epoch, loader) for loader in range(loaders)]
        assert {len(part) for part in parts} == {rounds}
        assert Counter(tar for part in parts for tar in part) == Counter(made.shards[n] for n in made.of_epoch(epoch))


@given(SIZES, SIZES, SIZES, SIZES)
def test_passes_differ_in_order_and_a_seed_decides_it(shards, rounds, epochs, loaders):
    assume(shards > 3)
    made, same, other = (schedule(shards, 2 * shards, epochs, loaders, seed) for seed in (1, 1, 2))
    assert made.of_epoch(0) == same.of_epoch(0)
    assert sorted(made.of_epoch(0)) == sorted(other.of_epoch(0))


def test_it_comes_back_from_its_file(tmp_path):
    made = schedule(5, 2, 3, 2)
    made.write(tmp_path / "schedule.json")
    assert Schedule.read(tmp_path / "schedule.json") == made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shards": ()}, "smaller than one shard"),
        ({"loaders": 3}, "loaders that divides 4"),
        ({"loader_batch_size": 7}, "samples_per_shard a multiple of 7"),
    ],
)
def test_what_cannot_be_dealt_is_refused(changes, words):
    values = {
        "shards": ("a", "b"), "samples_per_shard": 8, "samples_seen": 64, "epochs": 2, "loaders": 2,
        "loader_batch_size": 4, "seed": 0,
    }  # fmt: skip
    with pytest.raises(ScheduleError, match=words):
        Schedule(**{**values, **changes})
