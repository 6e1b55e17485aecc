"""``kill -9`` of ``laion train`` at any moment, and two of it at once: nothing is lost, and nothing done twice."""

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from rich.console import Console

from laion_assets.cli.display import build_display
from laion_assets.common.digests import file_sha256
from laion_assets.delta.lake import Lake
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.settings import Settings
from laion_assets.training.driver import Training
from tests.pipeline.conftest import (
    MakeSettings,
    kill_9,
    laion,
    paused_laion,
    rows,
    running,
    wait_until,
)
from tests.pipeline.trainings import SAMPLES, learn_nothing, run_one, samples_of, train, write_recipes

NAME, OTHER = "some", "other"
EPOCHS = 16
"""So many that a training killed after its first ones is never over."""
SELECTED = {"selection": {"source": "unique_pairs"}}
RECIPES = {
    NAME: {**SELECTED, "epochs": EPOCHS, "samples_seen": EPOCHS * SAMPLES},
    OTHER: {**SELECTED, "seed": 1},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The DAGSTER_HOME of the killed process and of the one after it."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    configuration = Path(__file__).resolve().parents[2] / "infra" / "local" / "dagster.yaml"
    (folder / "dagster.yaml").write_text(configuration.read_text())
    return folder


@pytest.fixture
def settings(lake_copy: Callable[..., Settings], tmp_path: Path) -> Settings:
    """A lake whose recipes nobody trained."""
    return lake_copy(**write_recipes(tmp_path, RECIPES))


@pytest.fixture
def train_again(home: Path) -> Iterator[Callable[..., Outcome]]:
    """Go on, as the next ``laion train`` with the same DAGSTER_HOME would."""
    with dg.DagsterInstance.from_config(str(home)) as instance:

        def again(settings: Settings, name: str = NAME) -> Outcome:
            outcome = train(settings, instance, name)
            left = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            assert left == [], "the killed run is to end, and to give its place in its pool back"
            return outcome

        yield again


@pytest.fixture
def expected_set(settings: Settings, make_settings: MakeSettings, tmp_path: Path) -> pl.DataFrame:
    """The training set of an undisturbed run."""
    shutil.copytree(settings.lake, tmp_path / "undisturbed" / "lake")
    own = make_settings(tmp_path / "undisturbed" / "lake", recipes=settings.recipes, benchmarks=settings.benchmarks)
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_one(own, instance, "training_sets", {"recipe": NAME}) is None
    return rows(own.open_lake(), "training_sets")


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was not to be done again")


def finished_shards(lake: Lake) -> dict[str, tuple[int, int]]:
    """Every shard whose record is there or that is published, with the file it is and its size."""
    found = [record.with_suffix(".tar") for record in (lake.staging / "training_sets").rglob("[0-9]*.json")]
    found += (lake.root / "files" / "training_sets").rglob("*.tar")
    names = {tar: tar.as_posix()[tar.as_posix().index("files/training_sets/") :] for tar in found}
    return {name: (tar.stat().st_ino, tar.stat().st_size) for tar, name in names.items()}


def left_over(lake: Lake) -> list[Path]:
    """Unfinished files that nobody will go on from."""
    return [path for path in lake.staging.rglob("*") if path.is_file() and "hosts" not in path.parts]


def assert_trained(lake: Lake, recipe: str) -> pl.DataFrame:
    """Every epoch has the steps and samples of an undisturbed training, and its weights; gives the rows."""
    found = rows(lake, "clip_checkpoints").filter(recipe=recipe)
    epochs = range(1, RECIPES[recipe].get("epochs", 2) + 1)
    samples = RECIPES[recipe].get("samples_seen", 4 * SAMPLES) // len(epochs)
    assert found["epoch"].to_list() == list(epochs)
    assert found["samples_seen"].to_list() == [epoch * samples for epoch in epochs]
    assert found["steps"].to_list() == [epoch * samples // SAMPLES for epoch in epochs]
    assert found["loss"].is_finite().all()
    for path, sha256 in found.select("path", "sha256").iter_rows():
        assert file_sha256(lake.root / path) == sha256
    return found


@pytest.mark.parametrize(
    ("target", "when", "call", "finished", "published"),
    [
        # In the midst of the shards: the third record is there, and the others are not.
        ("laion_assets.training.shards:write_file", "after", 3, 3, 0),
        pytest.param("laion_assets.delta.writing:write_deltalake", "before", 1, None, 0, marks=pytest.mark.slow),
        pytest.param("laion_assets.delta.writing:write_deltalake", "after", 1, None, 1, marks=pytest.mark.slow),
    ],
    ids=["while shards are written", "before the commit", "after the commit"],
)
def test_killed_while_a_training_set_is_made(
    target: str,
    when: str,
    call: int,
    finished: int | None,
    published: int,
    settings: Settings,
    home: Path,
    train_again: Callable[..., Outcome],
    expected_set: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marker = tmp_path / "stopped"
    with running(paused_laion(target, when, call, marker, "train", NAME), settings, home) as process:
        wait_until(marker.exists, process)
        kill_9(process)
    lake = settings.open_lake()
    before = finished_shards(lake)
    assert len(before) == (finished or expected_set.height)
    assert len(lake.ledger("training_sets").commits) == published
    monkeypatch.setattr(Training, "run", learn_nothing)
    outcome = train_again(settings)
    assert (outcome.built, outcome.failures) == (2 - published, [])
    lake = settings.open_lake()
    assert rows(lake, "training_sets").equals(expected_set), "paths, sizes and digests too"
    after = finished_shards(lake)
    assert {tar: after[tar] for tar in before} == before, "what was finished was taken over"
    assert len(samples_of(lake, NAME)) == expected_set["samples"].sum()
    assert published or left_over(lake) == []


def kill_after_an_epoch(settings: Settings, home: Path) -> Lake:
    """Kill a training of many epochs after its first ones; gives the lake it leaves."""
    staging = settings.open_lake().staging / "clip_checkpoints"

    def epochs_done() -> int:
        return len(list(staging.rglob("epoch-[0-9]*.json")))

    with running(laion("train", NAME), settings, home) as process:
        wait_until(lambda: epochs_done() > 0, process)
        kill_9(process, children=False)
    assert 0 < epochs_done() < EPOCHS
    return settings.open_lake()


@pytest.mark.slow
def test_a_training_in_another_process_says_at_its_end_from_which_epoch_it_went_on(
    settings: Settings, home: Path
) -> None:
    kill_after_an_epoch(settings, home)
    elsewhere = settings.model_copy(update={"executor": "multiprocess"})
    with running(laion("train", NAME), elsewhere, home) as process:
        said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    first = assert_trained(settings.open_lake(), NAME)["resumed_from"][-1]
    assert said.count(f"gone on from epoch {first}") == 1


@pytest.mark.slow
def test_killed_in_the_midst_of_a_training_it_goes_on_from_the_last_whole_epoch(
    settings: Settings, home: Path, train_again: Callable[..., Outcome]
) -> None:
    """Here the training process is left to itself: it must not outlive the one that started it."""
    lake = kill_after_an_epoch(settings, home)
    assert lake.ledger("clip_checkpoints").commits == {}
    shards = finished_shards(lake)
    screen = Console(file=io.StringIO(), width=200)
    with build_display(screen):
        outcome = train_again(settings)
    assert (outcome.built, outcome.failures) == (1, []), "the training set was done"
    lake = settings.open_lake()
    found = assert_trained(lake, NAME)
    resumed = found["resumed_from"].to_list()
    first = resumed[-1]
    assert 1 <= first < EPOCHS
    assert resumed == [None] * first + [first] * (EPOCHS - first)
    assert screen.file.getvalue().splitlines() == [f"{NAME} goes on from epoch {first} of {EPOCHS}"]  # type: ignore[attr-defined]
    assert finished_shards(lake) == shards
    assert left_over(lake) == []
    assert train_again(settings).built == 0


@pytest.mark.slow
@pytest.mark.parametrize(("when", "published"), [("before", 0), ("after", 1)])
def test_killed_around_the_commit_of_the_checkpoints_nothing_is_trained_again(
    when: str,
    published: int,
    settings: Settings,
    home: Path,
    train_again: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marker = tmp_path / "stopped"
    # The second commit: the first is that of the training set.
    command = paused_laion("laion_assets.delta.writing:write_deltalake", when, 2, marker, "train", OTHER)
    with running(command, settings, home) as process:
        wait_until(marker.exists, process)
        kill_9(process)
    assert len(settings.open_lake().ledger("clip_checkpoints").commits) == published
    monkeypatch.setattr(Training, "_attempt", refuse)
    outcome = train_again(settings, OTHER)
    assert (outcome.built, outcome.failures) == (1 - published, [])
    lake = settings.open_lake()
    assert_trained(lake, OTHER)
    assert published or left_over(lake) == []


@pytest.mark.slow
def test_two_recipes_trained_at_once_lose_nothing(settings: Settings, home: Path, expected_set: pl.DataFrame) -> None:
    """Both make their tables, and each commits beside the other."""
    commands = [laion("train", name) for name in (NAME, OTHER)]
    with running(commands[0], settings, home) as one, running(commands[1], settings, home) as other:
        said = [process.communicate(timeout=240)[0] for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
    lake = settings.open_lake()
    sets = rows(lake, "training_sets")
    assert sets.filter(recipe=NAME).equals(expected_set)
    assert sets.filter(recipe=OTHER)["samples"].sum() == expected_set["samples"].sum()
    for name in (NAME, OTHER):
        assert_trained(lake, name)
    assert left_over(lake) == []


@pytest.mark.slow
def test_a_recipe_that_is_being_worked_on_is_left_to_who_works_on_it(
    settings: Settings, home: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    marker = tmp_path / "stopped"
    command = paused_laion("laion_assets.training.shards:write_file", "after", 1, marker, "train", NAME)
    with running(command, settings, home) as process:
        wait_until(marker.exists, process)
        error = run_one(settings, instance, "training_sets", {"recipe": NAME})
        assert error is not None
        assert "another process is building this partition now" in error
        assert run_one(settings, instance, "training_sets", {"recipe": OTHER}) is None
        kill_9(process)
    assert set(rows(settings.open_lake(), "training_sets")["recipe"]) == {OTHER}
