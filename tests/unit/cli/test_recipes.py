"""``laion recipes``: templates become partitions when somebody asks for them, and only then."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.cli.common import err, out
from laion_assets.cli.main import main
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.registration import register_built, registered
from laion_assets.orchestration.runs.home import dagster_instance
from laion_assets.training.recipe import load_recipes
from tests.unit.delta.tables_made import made

Run = Callable[..., tuple[int, str, str]]
ONE, OTHER = "sample-filtered-4k", "vit-h-14-2b"


@pytest.fixture
def laion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str, str]:
        for console in (out, err):
            monkeypatch.setattr(console, "width", 200)
        monkeypatch.setattr(sys, "argv", ["laion", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def instance(laion: Run) -> Iterator[dg.DagsterInstance]:
    with dagster_instance() as made_here:
        yield made_here


def partitions_of(printed: str) -> set[str]:
    """The recipes that a list says are partitions."""
    lines = [line.split() for line in printed.splitlines()]
    return {words[0] for words in lines if words and words[0] in load_recipes() and words[-2] == "yes"}


def test_published_recipes_are_templates_and_listing_them_makes_no_dagster_home(laion: Run, tmp_path: Path) -> None:
    for arguments in (("recipes",), ("recipes", "list")):
        code, printed, complaint = laion(*arguments)
        assert (code, complaint) == (0, "")
        assert all(name in printed for name in load_recipes())
        assert partitions_of(printed) == set()
    assert not (tmp_path / "home").exists()


def test_what_is_added_is_a_partition_and_what_is_removed_is_a_template_again(
    laion: Run, instance: dg.DagsterInstance
) -> None:
    assert registered(instance, "recipe") == []
    assert laion("recipes", "add", ONE, OTHER, ONE)[:2] == (
        0,
        f"{ONE} is a partition; `laion train` builds it\n{OTHER} is a partition; `laion train` builds it\n",
    )
    assert laion("recipes", "add", ONE)[1] == f"{ONE} is a partition already\n"
    assert sorted(registered(instance, "recipe")) == [ONE, OTHER]
    assert partitions_of(laion("recipes")[1]) == {ONE, OTHER}
    assert laion("recipes", "remove", OTHER)[:2] == (0, f"{OTHER} is a template again\n")
    assert registered(instance, "recipe") == [ONE]
    assert partitions_of(laion("recipes")[1]) == {ONE}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "nobody"), "there is no recipe 'nobody'; `laion recipes` lists them"),
        (("add", ONE, "nobody"), "there is no recipe 'nobody'"),
        (("remove", ONE), f"no partition: {ONE}; `laion recipes` shows which are"),
        (("remove", "nobody"), "no partition: nobody"),
    ],
)
def test_a_wrong_name_is_one_line_and_changes_nothing(
    laion: Run, arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    code, printed, complaint = laion("recipes", *arguments)
    assert (code, printed, len(complaint.splitlines())) == (2, "", 1)
    assert said in complaint
    assert not (tmp_path / "home").exists()


def test_a_new_dagster_home_learns_from_the_commits_what_was_asked_for(
    laion: Run, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    made(lake, "training_sets", f"recipe={OTHER}")
    made(lake, "benchmark_images", "benchmark=seen")
    made(lake, "crawl_snapshots", "crawl=CC-1")
    register_built(instance, lake)
    assert {name: registered(instance, name) for name in ("crawl", "recipe", "benchmark")} == {
        "crawl": ["CC-1"],
        "recipe": [OTHER],
        "benchmark": ["seen"],
    }
    register_built(instance, lake)
    assert registered(instance, "recipe") == [OTHER]


def test_what_was_built_stays_a_partition(laion: Run, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    made(open_lake(str(tmp_path / "lake")), "training_sets", f"recipe={OTHER}")
    assert partitions_of(laion("recipes")[1]) == {OTHER}
    laion("recipes", "add", ONE, OTHER)
    code, _, complaint = laion("recipes", "remove", ONE, OTHER)
    assert code == 2
    assert f"{OTHER}: built in this lake" in complaint
    assert sorted(registered(instance, "recipe")) == [ONE, OTHER]


def test_a_damaged_log_keeps_nothing_else_from_being_known(
    laion: Run, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    made(lake, "training_sets", f"recipe={OTHER}")
    made(lake, "clip_checkpoints", f"recipe={ONE}")
    torn = max((tmp_path / "lake/clip_checkpoints/_delta_log").glob("*.json"))
    torn.write_text(torn.read_text()[:20])
    register_built(instance, open_lake(str(tmp_path / "lake")))
    assert registered(instance, "recipe") == [OTHER]


def test_a_recipe_whose_file_is_gone_is_named_and_can_be_removed(
    laion: Run, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    laion("recipes", "add", ONE)
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("LAION_RECIPES", str(tmp_path / "none"))
    assert f"partitions without a file that says what they are: {ONE}" in laion("recipes")[1]
    assert laion("recipes", "remove", ONE)[0] == 0
    assert registered(instance, "recipe") == []
