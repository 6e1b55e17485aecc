"""Recipes in files: what they mean, and what is wrong with them in one line."""

from pathlib import Path

import pytest

from laion_assets.training.recipe import RECIPES, RecipeError, load_recipes, recipe_named

GOOD = """
model: ViT-B-32
samples_per_shard: 64
global_batch_size: 32
learning_rate: 0.001
precision: fp32
recipes:
  short: {samples_seen: 128}
  long: {samples_seen: 1_280, epochs: 10, seed: 3, selection: {where: "released"}}
"""


def read(folder: Path, text: str, name: str = "a.yaml"):
    (folder / name).write_text(text)
    return load_recipes(folder)


def test_a_file_shares_what_stands_at_its_top(tmp_path):
    found = read(tmp_path, GOOD)
    assert list(found) == ["short", "long"]
    short, long = found.values()
    assert (short.model, short.steps, short.epochs) == ("ViT-B-32", 4, 1)
    assert (long.seed, long.selection.where, long.steps_per_epoch) == (3, "released", 4)


def test_the_shipped_recipes_are_read_and_fit_a_machine():
    found = load_recipes(RECIPES)
    arms = {arm: [r for r in found.values() if r.arm == arm] for arm in ("filtered", "unfiltered")}
    for recipes in arms.values():
        seen = sorted(recipe.samples_seen for recipe in recipes)
        assert len(seen) == 5, "five compute points"
        assert seen[-1] / seen[0] >= 10**1.5, "over one and a half decades"
    assert [r.samples_seen for r in arms["filtered"]] == [r.samples_seen for r in arms["unfiltered"]]
    assert {r.model for r in found.values()} >= {"ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("samples_seen: 128", "samples_seen: 130"),
            "short: recipe: samples_seen: expected a multiple .* 64, .* 128 or 192",
        ),
        (("global_batch_size: 32", "global_batch_size: 48"), "global_batch_size: expected a part of the 128 samples"),
        (("learning_rate: 0.001", "learning_rate: fast"), "learning_rate: .*number"),
        (
            ("learning_rate: 0.001", "learnng_rate: 0.001"),
            "unknown key learnng_rate, perhaps you mean learning_rate;",
        ),
        (("seed: 3", "seed: -3"), "long: seed: .*greater than or equal to 0"),
        (("where:", "whre:"), "selection.whre"),
        (("short:", "'sh ort':"), "name: letters, digits"),
        (("{samples_seen: 128}", "many"), "expected a mapping, found 'many'"),
        (("recipes:", "recipe:"), "expected a key `recipes`"),
        (("learning_rate: 0.001", "learning_rate: [0.001"), "expected YAML"),
        (
            ("precision: fp32", "precision: fp12"),
            r"yaml:\d+: recipe short: precision: expected 'fp32', .*, found 'fp12'",
        ),
        (("precision: fp32", "warmup_steps: 5"), "warmup_steps: expected at most the 4 steps"),
        (("precision: fp32", "decontamination: {hamming: 40}"), "hamming must be 0 to 16"),
        (("precision: fp32", "augmentation: {scale: [1]}"), "augmentation.scale"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_recipe(tmp_path, change, words):
    with pytest.raises(RecipeError, match=words) as caught:
        read(tmp_path, GOOD.replace(*change))
    assert "a.yaml" in str(caught.value)


def test_two_recipes_of_one_name_are_refused(tmp_path):
    read(tmp_path, GOOD)
    with pytest.raises(RecipeError, match=r"b\.yaml:\d+: there are two recipes named short"):
        read(tmp_path, GOOD, "b.yaml")


def test_a_folder_or_recipe_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(RecipeError, match="LAION_RECIPES: expected a folder"):
        load_recipes(tmp_path / "none")
    with pytest.raises(RecipeError, match="no recipe 'x'; `laion recipes`"):
        recipe_named({}, "x")


def test_the_models_own_configuration_is_found_beside_the_file(tmp_path):
    found = read(tmp_path, GOOD.replace("model: ViT-B-32", "model: own\nmodel_configs: configs"))
    assert found["short"].model_configs == str(tmp_path / "configs")
    assert found["short"].config_digest is None
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.json").write_text("{}")
    assert found["short"].config_digest is not None


def test_names_and_words_shape_neither_set_nor_weights(tmp_path):
    one = read(tmp_path, GOOD)["short"]
    two = read(tmp_path, GOOD.replace("short: {", "short: {description: other, arm: b, "))["short"]
    assert one.of_training_set() == two.of_training_set()
    assert one.of_training() == two.of_training()
    three = read(tmp_path, GOOD.replace("samples_seen: 128", "samples_seen: 128, seed: 1"))["short"]
    assert one.of_training_set() != three.of_training_set()
