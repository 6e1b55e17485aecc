import hashlib
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laion_assets.training.arrangement import SPLITS, Arrangement, ShardOptions, arrange, batch_collisions
from tests.unit.training.source_tars import PAIR_SCHEMA, connect

OPTIONS = ShardOptions(samples_per_shard=10, seed=3, validation_fraction=0.2)


def pairs_of(rows: list[tuple[int, str, int, bool]]) -> pl.DataFrame:
    """Pairs from (pair id, text, picture, whether it is stored)."""
    return pl.DataFrame(
        [
            {
                "pair_id": pair_id,
                "url_id": number,
                "url": f"https://pictures.example/{number}.jpg",
                "text": text,
                "sha256": hashlib.sha256(b"%d" % number).hexdigest() if stored else None,
                "shard_path": "images/00000.tar" if stored else None,
                "sample_key": f"{number:09d}" if stored else None,
                "crawl": "CC-MAIN-2024-10",
            }
            for pair_id, text, number, stored in rows
        ],
        schema={k: v for k, v in PAIR_SCHEMA.items() if k not in ("similarity", "fetched_at")},
    )


def arranged(pairs: pl.DataFrame, options: ShardOptions, folder: Path) -> tuple[Arrangement, dict[str, pl.DataFrame]]:
    arrangement = arrange(connect(pairs), pairs="pairs", options=options, output=folder)
    return arrangement, {split: pl.read_parquet(arrangement.file(split)) for split in SPLITS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrangement")


rows = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.integers(0, 12),
        st.integers(0, 9).map(bool),
    ),
    max_size=60,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, size=st.integers(1, 7), fraction=st.sampled_from([0.0, 0.3, 0.9]), shuffled=st.randoms())
def test_every_pair_is_a_sample_once_or_dropped_under_a_name_whatever_their_order(
    rows, size, fraction, shuffled, folder
):
    options = ShardOptions(samples_per_shard=size, validation_fraction=fraction)
    arrangement, splits = arranged(pairs_of(rows), options, folder)
    samples = pl.concat(splits.values())
    with_picture = [row for row in rows if row[3]]
    ids = {row[0] for row in with_picture}

    assert arrangement.pairs_in == len(rows)
    assert arrangement.drops.get("no_picture", 0) == len(rows) - len(with_picture)
    assert arrangement.drops.get("duplicate_id", 0) == len(with_picture) - len(ids)
    assert samples.height + arrangement.drops.get("remainder", 0) == len(ids)
    assert all(arrangement.drops.values())
    assert {split: frame.height for split, frame in splits.items()} == arrangement.samples
    assert samples["pair_id"].n_unique() == samples.height
    assert set(samples.select("pair_id", "text", "url_id").iter_rows()) <= {row[:3] for row in with_picture}
    assert not set(splits["train"]["sha256"]) & set(splits["validation"]["sha256"])
    for split, frame in splits.items():
        assert arrangement.shards(split) * size == frame.height
        assert frame["_number"].to_list() == list(range(frame.height))
        assert frame["_shard"].to_list() == [number // size for number in range(frame.height)]

    again = list(rows)
    shuffled.shuffle(again)
    same, same_splits = arranged(pairs_of(again), options, folder / "again")
    assert (same.samples, same.drops) == (arrangement.samples, arrangement.drops)
    assert all(same_splits[split].equals(splits[split]) for split in SPLITS)


def test_captions_of_a_picture_stand_a_share_of_the_split_apart(folder):
    captions = [1 + number % 5 for number in range(1500)]
    rows = [(number * 10 + at, f"{number}, {at}", number, True) for number, c in enumerate(captions) for at in range(c)]
    _, splits = arranged(pairs_of(rows), ShardOptions(samples_per_shard=1), folder)
    places = defaultdict(list)
    for number, picture in enumerate(splits["train"]["url_id"]):
        places[picture].append(number)
    for picture, at in places.items():
        count = captions[picture]
        around = [(after - before) % len(rows) for before, after in zip(at, at[1:] + at[:1], strict=True)]
        assert count == len(at)
        assert count == 1 or min(around) > 0.8 * len(rows) / count


@pytest.mark.parametrize("captions", [1, 2, 4])
def test_equal_captions_of_other_pictures_stand_apart_too(captions, folder):
    # Every twentieth picture has the same text, as often as it has captions.
    texts = ["Home" if number % 20 == 0 else f"text {number}" for number in range(2000)]
    rows = [(number * 10 + at, text, number, True) for number, text in enumerate(texts) for at in range(captions)]
    _, splits = arranged(pairs_of(rows), ShardOptions(samples_per_shard=1), folder)
    places = [number for number, text in enumerate(splits["train"]["text"]) if text == "Home"]
    apart = [after - before for before, after in pairwise(places)]
    assert len(places) == 100 * captions
    assert min(apart) >= 5  # at random, a quarter of them would stand nearer


def test_batches_meet_fewer_equal_pictures_and_captions_than_at_random(folder):
    # Each of 300 texts at two pictures, each picture with two texts.
    rows = [(number * 2 + at, f"text {(number + at) % 300}", number, True) for number in range(600) for at in range(2)]
    pairs = pairs_of(rows)
    connection = connect(pairs)
    arrangement = arrange(connection, pairs="pairs", options=ShardOptions(samples_per_shard=1), output=folder)
    found = batch_collisions(connection, arrangement, 64)
    assert found.same_image == 0
    expected = pl.read_parquet(arrangement.file("train")).with_columns(batch=pl.col("_number") // 64)
    shared = expected.filter(pl.len().over("batch", "text") > 1)
    assert found.same_caption == pytest.approx(shared.height / expected.height)
    assert batch_collisions(connection, arrangement, 1200).same_image == 1
    assert batch_collisions(connection, arrangement, 64, split="validation") == (0, 0)
    with pytest.raises(ValueError, match="at least 1"):
        batch_collisions(connection, arrangement, 0)


def test_another_seed_gives_another_order_and_other_validation_pictures(folder):
    pairs = pairs_of([(number, f"{number}", number, True) for number in range(400)])
    one, other = (
        arranged(pairs, ShardOptions(samples_per_shard=1, seed=seed, validation_fraction=0.25), folder)[1]
        for seed in (1, 2)
    )
    assert one["train"]["pair_id"].to_list() != other["train"]["pair_id"].to_list()
    assert 60 < one["validation"].height < 140
    assert set(one["validation"]["pair_id"]) != set(other["validation"]["pair_id"])


def test_of_pairs_with_one_id_the_first_by_crawl_url_and_text_stays(folder):
    pairs = pairs_of([(7, text, number, True) for text, number in [("b", 1), ("a", 1), ("a", 2), ("c", 0)]])
    crawls = pl.Series(["CC-MAIN-2024-10", "CC-MAIN-2024-10", "CC-MAIN-2024-10", "CC-MAIN-2024-18"])
    arrangement, splits = arranged(pairs.with_columns(crawl=crawls), ShardOptions(samples_per_shard=1), folder)
    assert splits["train"].select("url_id", "text").rows() == [(1, "a")]
    assert arrangement.drops == {"duplicate_id": 3}


def test_pairs_that_cannot_be_arranged_are_refused(folder):
    pairs = pairs_of([(1, "text", 1, True)])
    for wrong, message in [
        (pairs.drop("sample_key"), "missing: .'sample_key'"),
        (pairs.with_columns(_shard=1), "rename .'_shard'"),
        (pairs.with_columns(text=pl.lit(None, pl.String)), "1 pairs to arrange have no pair_id or no text"),
    ]:
        with pytest.raises(ValueError, match=message):
            arranged(wrong, OPTIONS, folder)
    for wrong in ({"samples_per_shard": 0}, {"validation_fraction": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ShardOptions(**wrong)
