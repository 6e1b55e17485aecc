"""Which of the selected pairs become samples, without a lake: relations in, a frame and counts out."""

from pathlib import Path

import polars as pl
import pytest

from laion_assets.consent.removals import load_removals
from laion_assets.images.fingerprint import fingerprint
from laion_assets.training.errors import TrainingError
from laion_assets.training.shards import write_shards
from laion_assets.training.train import training_token
from laion_assets.training.training_set import choose_samples, shards_token, source_tars, training_set_rows
from laion_assets.webdataset.samples import read_pictures
from tests.unit.training.source_tars import connect, made_pairs, picture, sha256_of
from tests.unit.training.tiny import recipe, write_config

COPIED = 4


class Selection:
    """Twenty pairs, one of them of an evaluation picture and one that somebody wants removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = recipe(
            write_config(folder / "configs"), samples_per_shard=6, samples_seen=24, global_batch_size=6
        )
        pairs = made_pairs(folder, [[f"text {n}"] for n in range(20)])
        self.con = connect(pairs.with_columns(final_url="url", perceptual_hash=pl.col("url_id"), **self.told(pairs)))
        found = fingerprint(picture(COPIED))
        benchmarks = {
            "benchmark": ["seen"],
            "sample_key": ["0"],
            "sha256": [sha256_of(COPIED)],
            "perceptual_hash": [found.perceptual_hash],
            "colour_layout": [found.colour_layout],
        }
        self.con.register("benchmarks", pl.DataFrame(benchmarks).to_arrow())
        self.removals = load_removals(pl.DataFrame({"kind": ["url"], "value": ["https://pictures.example/7.jpg"]}))

    @staticmethod
    def told(pairs):
        """What an import tells: of pair 9 both digests, of the others none."""
        nine = pl.when(pl.col("url_id") == 9)
        return {f"{of}_sha256": nine.then(pl.lit(digit * 64)) for of, digit in (("expected", "a"), ("original", "b"))}

    def choose(self):
        return choose_samples(
            self.con,
            selected="pairs",
            recipe=self.recipe,
            removals=self.removals,
            benchmarks="benchmarks",
            pictures=lambda places: iter(
                ((places[0][0], key), content)
                for key, content in read_pictures(self.folder / places[0][0], [key for _, key in places]).items()
            ),
            folder=self.folder,
        )


@pytest.fixture
def selection(tmp_path):
    made = Selection(tmp_path)
    yield made
    made.con.close()


def test_every_selected_pair_is_a_sample_or_left_out_for_one_reason(selection):
    chosen = selection.choose()
    assert (chosen.selected, chosen.samples) == (20, 18)
    assert chosen.left_out == {"removed": 1, "copy_of_evaluation_picture": 1}
    assert chosen.counts["copies: same file"] == 1
    assert chosen.selected == chosen.samples + sum(chosen.drops.values())


def test_rows_describe_the_shards_that_were_written(selection):
    chosen = selection.choose()
    assert source_tars(selection.con, chosen.arrangement) == [f"images/{n:05d}.tar" for n in range(3)]
    folder = selection.folder
    written = list(
        write_shards(selection.con, chosen.arrangement, root=folder, output=folder / "set", relative_to=folder)
    )
    rows = training_set_rows(selection.recipe, written, chosen, {"images": 3})
    assert rows["samples"].to_list() == [6, 6, 6]
    assert rows.row(0, named=True)["excluded_benchmark"] == 1
    assert training_set_rows(selection.recipe, [], chosen, {}).schema == rows.schema


def test_work_is_found_again_by_its_content_alone(selection, tmp_path):
    chosen = selection.choose()
    token = shards_token(selection.con, selection.recipe, chosen.arrangement)
    assert token == shards_token(selection.con, selection.recipe, chosen.arrangement)
    other = selection.recipe.model_copy(update={"seed": selection.recipe.seed + 1})
    assert token != shards_token(selection.con, other, chosen.arrangement)
    shards = pl.DataFrame({"sha256": ["b", "a"]})
    assert training_token(selection.recipe, shards, 1) == training_token(selection.recipe, shards.reverse(), 1)
    assert training_token(selection.recipe, shards, 1) != training_token(selection.recipe, shards, 2)
    with pytest.raises(TrainingError, match="has no shard"):
        training_token(selection.recipe, shards.clear(), -1)


@pytest.mark.parametrize("digest", ["a" * 64, "b" * 64])
def test_a_pair_is_removed_by_what_an_import_tells_of_its_picture(selection, digest):
    selection.removals = load_removals(pl.DataFrame({"kind": ["sha256"], "value": [digest]}))
    assert selection.choose().left_out == {"removed": 1, "copy_of_evaluation_picture": 1}
