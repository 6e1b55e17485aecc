"""A wrong recipe stops what is asked of it; the others can be trained, and everything else goes on."""

from pathlib import Path

import pytest

from laion_assets.orchestration.code_location import build_definitions
from laion_assets.settings import Settings
from laion_assets.training.recipe import RecipeError, load_recipes, open_recipes

SHARED = "model: RN50\nlearning_rate: 0.1\nglobal_batch_size: 2\nsamples_per_shard: 2\n"
SOUND = f"{SHARED}recipes:\n  sound: {{samples_seen: 2}}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.yaml").write_text(SOUND)
    lake, recipes = str(tmp_path / "lake"), str(tmp_path / "recipes")
    return Settings(_env_file=None, lake=lake, recipes=recipes)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("recipes: [", "expected YAML"),
        ("\xff\xfe", "expected"),
        ("just: this", "key `recipes`"),
        (
            SOUND.replace("sound: {", "wrong: {samples_sen: 1, "),
            "b.yaml:6: recipe wrong: unknown key samples_sen, perhaps you mean samples_seen",
        ),
        (
            SOUND.replace("sound: {", "wrong: {seed: x, "),
            "6: recipe wrong: seed: expected a valid integer, found 'x'",
        ),
        (
            SOUND.replace("RN50", "[1]").replace("sound", "wrong"),
            "b.yaml:1: recipe wrong: model: expected a valid str",
        ),
        (SOUND.replace("sound: {samples_seen: 2}", "wrong: {}"), "b.yaml:6: recipe wrong: samples_seen: is missing"),
        ("a: 1\nrecipes: {wrong: [}", "b.yaml:2: expected YAML: "),
        (SOUND.replace("sound: {samples_seen: 2}", "wrong: 7"), "mapping"),
        (SOUND.replace("sound: {samples_seen: 2}", "wrong: {samples_seen: 3}"), "samples_seen"),
    ],
)
def test_a_wrong_file_of_recipes_stops_what_is_in_it(settings: Settings, content: str, said: str) -> None:
    (Path(settings.recipes) / "b.yaml").write_text(content, encoding="latin-1")
    assert list(settings.known_recipes) == ["sound"]
    [fault] = settings.recipe_faults
    assert "b.yaml" in fault
    assert said in fault
    assert settings.recipe("sound").samples_seen == 2
    with pytest.raises(RecipeError, match=r"b\.yaml"):
        settings.recipe("wrong")
    with pytest.raises(RecipeError, match=r"b\.yaml"):
        load_recipes(Path(settings.recipes))
    assert build_definitions(settings).resolve_asset_graph().get_all_asset_keys()


def test_of_two_recipes_of_one_name_neither_is_meant(settings: Settings) -> None:
    (Path(settings.recipes) / "b.yaml").write_text(SOUND)
    found, faults = open_recipes(Path(settings.recipes))
    assert found == {}
    assert len(faults) == 1


def test_whoever_asks_for_a_recipe_is_told_of_no_other(settings: Settings) -> None:
    for name in ("mine", "other"):
        (Path(settings.recipes) / f"{name}.yaml").write_text(f"recipes:\n  {name}: {{selecton: 1}}\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml:2: recipe mine: unknown key selecton") as caught:
        settings.recipe("mine")
    assert "other.yaml" not in str(caught.value)
    with pytest.raises(RecipeError, match="there is no recipe 'nobody'; `laion recipes` lists them"):
        settings.recipe("nobody")


def test_a_file_that_cannot_be_read_is_one_line(settings: Settings) -> None:
    (Path(settings.recipes) / "b.yaml").symlink_to("/nowhere")
    assert list(settings.known_recipes) == ["sound"]
    assert "cannot be read" in settings.recipe_faults[0]


def test_a_folder_that_is_not_there_is_said_where_a_recipe_is_asked_for(settings: Settings, tmp_path: Path) -> None:
    gone = settings.model_copy(update={"recipes": str(tmp_path / "gone")})
    assert gone.known_recipes == {}
    with pytest.raises(RecipeError, match="LAION_RECIPES"):
        gone.recipe("sound")
