"""A lake with one broken model, from the command line: it is named wherever models are asked for, and stops nothing."""

import json
import shutil
from pathlib import Path

import pytest

from laion_assets.common.shipped import shipped
from tests.pipeline.places import FIRST, Place


@pytest.fixture(scope="module")
def place(first_crawl: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the lake of one crawl, for these tests alone."""
    return Place(Path(shutil.copytree(first_crawl.folder, tmp_path_factory.mktemp("broken") / "place")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model that is sound, one that is not, and one built on that."""
    folder = tmp_path_factory.mktemp("models") / "models" / "marts"
    folder.mkdir(parents=True)
    header = "/*\nmaterialized: table\ndescription: A model.\n*/\n"
    (folder / "sound.sql").write_text(
        f"{header}SELECT crawl, count(*) AS n FROM {{{{ source('images') }}}} GROUP BY ALL"
    )
    (folder / "wrong.sql").write_text(f"{header}SELECT\n  nothing\nFROM {{{{ source('images') }}}}")
    (folder / "on_it.sql").write_text(f"{header}SELECT * FROM {{{{ ref('wrong') }}}}")
    return {"LAION_MODELS": str(folder.parents[1])}


@pytest.mark.parametrize(
    "command",
    [
        ("build", FIRST),
        ("sql", "SELECT 1"),
        ("report",),
        ("tables",),
        ("recipes",),
        ("lineage", "images"),
        ("models", "run", "--select", "sound"),
        ("models", "compile", "sound"),
        ("models", "show", "sound"),
        ("models", "test", "--select", "sound"),
    ],
    ids=" ".join,
)
def test_what_does_not_ask_for_it_goes_on(place: Place, models: dict[str, str], command: tuple[str, ...]) -> None:
    ran = place.run(*command, **models)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "command",
    [
        ("models", "list"),
        ("models", "run"),
        ("models", "test"),
        ("models", "docs"),
        ("models", "list", "--select", "wrong"),
        ("models", "run", "--select", "sound,wrong"),
        ("models", "run", "--select", "on_it"),
        ("models", "compile", "wrong"),
        ("models", "show", "on_it"),
        ("doctor", "--only", "models"),
    ],
    ids=" ".join,
)
def test_whoever_asks_for_it_is_told_file_and_line(
    place: Place, models: dict[str, str], command: tuple[str, ...]
) -> None:
    ran = place.run(*command, **models)
    assert ran.returncode == 1
    told = (ran.stdout + ran.stderr).replace("\n", "").replace(" ", "")
    assert f"{models['LAION_MODELS']}/models/marts/wrong.sql:6:" in told
    assert "Traceback" not in told


def test_the_status_says_which_line_is_wrong_and_goes_on(place: Place, models: dict[str, str]) -> None:
    ran = place.run("status", **models)
    assert ran.returncode == 0
    assert f"broken {models['LAION_MODELS']}/models/marts/wrong.sql:6:" in ran.stderr
    assert "waits SQL models: on_it" in ran.stdout


def test_the_list_shows_what_is_broken_and_what_waits(place: Place, models: dict[str, str]) -> None:
    lines = {line.split()[1]: line for line in place.run("models", "list", **models).stdout.splitlines()[3:-1]}
    assert " broken " in lines["wrong"]
    assert " waits " in lines["on_it"]
    assert " broken " not in lines["sound"]


def test_all_others_are_built(place: Place, models: dict[str, str]) -> None:
    ran = place.run("models", "run", "--force", **models)
    assert "1 partitions built, 0 failed" in ran.stdout
    found = place.good("sql", "SELECT n > 0 AS some FROM sound", "--format", "json", **models)
    assert json.loads(found) == {"some": True}


def test_a_recipe_that_is_wrong_is_named_and_stops_nothing(place: Place, tmp_path: Path) -> None:
    for file in shipped("recipes").glob("*.yaml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mine.yaml").write_text("recipes: {mine: {modle: x}}")
    ours = {"LAION_RECIPES": str(tmp_path)}
    for command in (("build", FIRST), ("status",), ("sql", "SELECT 1"), ("report",)):
        assert place.run(*command, **ours).returncode == 0, command
    for command in (("recipes",), ("train", "mine"), ("doctor", "--only", "recipes"), ("gc",)):
        ran = place.run(*command, **ours)
        assert ran.returncode in (1, 2), command
        assert "mine.yaml" in (ran.stdout + ran.stderr).replace("\n", ""), command
