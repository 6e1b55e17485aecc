"""Two recipes trained and measured on a whole lake: one by the real command line and open_clip_train."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import open_clip
import polars as pl
import pytest
import torch
from dagster import AssetKey
from safetensors.torch import load_file

from laion_assets.cli import main
from laion_assets.common.digests import file_sha256
from laion_assets.delta.lake import Lake
from laion_assets.delta.states import State
from laion_assets.evaluation import EVALUATOR_VERSION
from laion_assets.evaluation.options import EvaluationOptions
from laion_assets.orchestration.planning.recipes import EvaluationRequest
from laion_assets.orchestration.planning.states import checkpoint_state, contaminated, training_set_state
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.settings import Settings
from laion_assets.training.driver import Training
from tests.pipeline.conftest import (
    REPOSITORY,
    Built,
    MakeSettings,
    Quiet,
    environment,
    evaluations,
    ran,
    rows,
    versions,
)
from tests.pipeline.trainings import (
    SAMPLES,
    learn_nothing,
    run_one,
    source_versions,
    train,
    write_benchmarks,
    write_recipes,
)
from tests.unit.training.tiny import MODEL

FILTERED, UNFILTERED = "filtered", "unfiltered"
CLASSIFIED = ("sample-seen", "sample-sketch")
RETRIEVED = "sample-retrieval"
RECIPES = {
    FILTERED: {"selection": {"source": "scored_pairs", "where": "released"}, "arm": FILTERED},
    UNFILTERED: {"selection": {"source": "scored_pairs"}, "arm": UNFILTERED},
    "untrained": {"selection": {"source": "scored_pairs"}},
}


@dataclass(frozen=True)
class Trained:
    """A lake with a recipe that open_clip_train trained, and one that learned nothing, both measured."""

    settings: Settings
    instance: dg.DagsterInstance
    said: str
    """What `laion train` printed."""
    measured: Outcome

    @property
    def lake(self) -> Lake:
        """The lake, opened afresh."""
        return self.settings.open_lake(create=False)


@pytest.fixture(scope="module")
def trained(
    undisturbed: Built, make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    """Not to be written to."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(undisturbed.settings.lake, folder / "lake")
    settings = make_settings(folder / "lake", **write_recipes(folder, RECIPES))
    write_benchmarks(folder / "benchmarks", *CLASSIFIED, RETRIEVED)
    run = ran(settings, folder / "dagster", "train", FILTERED)
    assert run.returncode == 0, run.stdout + run.stderr
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as own:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "run", learn_nothing)
            assert train(settings, own, UNFILTERED).failures == []
        measured = Builder(settings, own, Quiet()).build(EvaluationRequest(recipes=[FILTERED, UNFILTERED]))
        assert measured.failures == []
        yield Trained(settings, own, run.stdout, measured)


@pytest.fixture
def copied(trained: Trained, make_settings: MakeSettings, tmp_path: Path) -> Settings:
    """Settings of a copy of it, benchmarks and recipes included, to be written to."""
    source = Path(trained.settings.lake).parent
    shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("dagster"))
    kept = {"training": trained.settings.training, "evaluation": trained.settings.evaluation}
    folders = {name: str(tmp_path / "copy" / name) for name in ("recipes", "benchmarks")}
    return make_settings(tmp_path / "copy" / "lake", **folders, **kept)


def checkpoints(lake: Lake, recipe: str) -> list[dict[str, Any]]:
    return list(rows(lake, "clip_checkpoints").filter(recipe=recipe).iter_rows(named=True))


def scores(lake: Lake, table: str) -> pl.DataFrame:
    return rows(lake, table)


# -- the checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_for_each_epoch_with_what_was_learned(trained: Trained) -> None:
    lake = trained.lake
    found = checkpoints(lake, FILTERED)
    recipe = trained.settings.recipe(FILTERED)
    assert [row["epoch"] for row in found] == [1, 2]
    assert [row["final"] for row in found] == [False, True]
    assert [row["steps"] for row in found] == [2, 4]
    assert [row["samples_seen"] for row in found] == [2 * SAMPLES, 4 * SAMPLES]
    assert [row["samples_unique"] for row in found] == [2 * SAMPLES, 4 * SAMPLES]
    numbers = ("loss", "learning_rate", "logit_scale", "samples_per_second", "gmacs_per_sample", "wall_seconds")
    assert all(math.isfinite(row[name]) and row[name] >= 0 for row in found for name in numbers)
    assert all(0 < row["loss"] < 4 and row["logit_scale"] > 10 for row in found)
    last = found[-1]
    assert (last["model"], last["arm"], last["device"], last["resumed_from"]) == (MODEL, FILTERED, "1 x cpu", None)
    assert (last["seed"], last["global_batch_size"], last["precision"]) == (0, recipe.global_batch_size, "fp32")
    assert last["training_set_version"] <= lake.sizes("training_sets")["version"]
    sets = rows(lake, "training_sets").filter(recipe=FILTERED)
    assert sets["samples"].sum() >= 4 * SAMPLES
    for row in found:
        assert file_sha256(lake.root / row["path"]) == row["sha256"]
    assert found[0]["sha256"] != found[1]["sha256"]


def test_the_versions_of_a_checkpoint_are_those_of_the_tables(trained: Trained) -> None:
    lake = trained.lake
    read = ("benchmark_images", "clip_embeddings", "filtered_pairs", "images", "takedowns", "unique_pairs")
    expected = {table: lake.sizes(table)["version"] for table in read}
    for table in ("training_sets", "clip_checkpoints"):
        assert source_versions(lake, table, FILTERED) == expected


def test_plain_open_clip_loads_what_was_published(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = trained.lake
    row = checkpoints(lake, FILTERED)[-1]
    weights = lake.root / row["path"]
    configuration = weights.parent / f"{MODEL}.json"
    assert json.loads(configuration.read_text()) == json.loads(row["config_json"])
    open_clip.add_model_config(configuration)
    model, _, _ = open_clip.create_model_and_transforms(MODEL, pretrained=str(weights))
    stored = load_file(weights)
    assert model.state_dict().keys() == stored.keys()
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    folder, _, _ = open_clip.create_model_and_transforms(f"local-dir:{weights.parent}")
    assert all(torch.equal(value, stored[name]) for name, value in folder.state_dict().items())


def test_what_is_published_beside_weights_and_shards_says_nothing_of_this_machine(trained: Trained) -> None:
    root = trained.lake.root
    files = [file for folder in ("checkpoints", "training_sets") for file in (root / "files" / folder).rglob("*.*")]
    beside = {file: file.read_text() for file in files if file.suffix in (".json", ".md")}
    assert {"README.md", "open_clip_config.json", "scores.json", "sizes.json"} <= {file.name for file in beside}
    assert [file for file, text in beside.items() if str(root.parent) in text or str(Path.cwd()) in text] == []


def test_the_model_card_says_what_it_was_made_from_and_what_it_scored(trained: Trained) -> None:
    lake = trained.lake
    rows_ = checkpoints(lake, FILTERED)
    folder = (lake.root / rows_[-1]["path"]).parent
    card = (folder / "README.md").read_text()
    assert "Selected from `scored_pairs` where `released`" in card
    assert "## Licence" in card
    for table, version in source_versions(lake, "clip_checkpoints", FILTERED).items():
        assert f"| `{table}` | {version} |" in card
    assert all(f"`{row['sha256'][:16]}…`" in card for row in rows_)
    assert "Not measured yet" not in card
    noted = json.loads((folder / "scores.json").read_text())
    measured = [("zero_shot_scores", name) for name in CLASSIFIED] + [("retrieval_scores", RETRIEVED)]
    assert set(noted) == {f"{table} / epoch 2 / {name}" for table, name in measured}
    seen = scores(lake, "zero_shot_scores").filter(recipe=FILTERED, benchmark="sample-seen").row(0, named=True)
    assert noted["zero_shot_scores / epoch 2 / sample-seen"]["top1"] == seen["top1"]
    assert f"| zero_shot_scores / epoch 2 / sample-seen | top1 {seen['top1']:.4f}" in card


def test_what_a_training_shows_in_dagster(trained: Trained) -> None:
    wanted = dg.AssetRecordsFilter(asset_key=AssetKey("clip_checkpoints"), asset_partitions=[FILTERED])
    [event] = trained.instance.fetch_materializations(wanted, limit=1).records
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}  # type: ignore[union-attr]
    last = checkpoints(trained.lake, FILTERED)[-1]
    assert shown["loss"] == last["loss"]
    assert shown["samples seen"] == 4 * SAMPLES
    assert shown["dagster/partition_row_count"] == 2
    assert shown["weights"] == str(trained.lake.root / last["path"])
    assert shown["curves"].startswith("![loss and throughput by epoch](data:image/svg+xml;base64,")
    assert [line.split(" | ")[0] for line in shown["read"].splitlines()[2:]] == ["| training_sets"]
    assert (FILTERED, True) in evaluations(trained.instance, "clip_checkpoints", "conservation")


def test_the_command_line_says_what_came_of_it(trained: Trained) -> None:
    last = checkpoints(trained.lake, FILTERED)[-1]
    assert "5 partitions built" in trained.said, "three benchmarks, the training set, the checkpoints"
    said = f"{FILTERED}: 64 samples seen, loss {last['loss']:.4f}, weights {trained.lake.root / last['path']}"
    assert said in trained.said


def test_training_and_measuring_again_does_nothing(trained: Trained) -> None:
    before = versions(trained.lake)
    again = train(trained.settings, trained.instance, FILTERED, UNFILTERED)
    assert (again.built, again.failures) == (0, [])
    builder = Builder(trained.settings, trained.instance, Quiet())
    measured = builder.build(EvaluationRequest(recipes=[FILTERED, UNFILTERED]))
    # Dagster sees the two tables over all recipes whole; they are due when a score changed.
    assert (measured.built, measured.failures) == (0, [])
    assert versions(trained.lake) == before
    assert contaminated(trained.lake, trained.settings, [FILTERED, UNFILTERED]) == []
    assert training_set_state(trained.lake, trained.settings, FILTERED).state is State.DONE
    assert checkpoint_state(trained.lake, trained.settings, FILTERED).state is State.DONE


# -- the scores -------------------------------------------------------------------------------------------------------


def test_each_benchmark_is_measured_by_its_own_task_and_each_recipe(trained: Trained) -> None:
    lake = trained.lake
    assert trained.measured.built == 2 * 2 * (len(CLASSIFIED) + 1) + 2, "a partition of each table for every benchmark"
    classified, retrieved = scores(lake, "zero_shot_scores"), scores(lake, "retrieval_scores")
    both = (FILTERED, UNFILTERED)
    assert {*classified.select("recipe", "benchmark").iter_rows()} == {(r, b) for r in both for b in CLASSIFIED}
    assert {*retrieved.select("recipe", "benchmark").iter_rows()} == {(r, RETRIEVED) for r in both}
    assert classified["samples"].to_list() == [20] * 4
    assert retrieved["images"].to_list() == [10] * 2
    known = dict(rows(lake, "benchmark_images").select("benchmark", "dataset_sha256").unique().iter_rows())
    for row in [*classified.iter_rows(named=True), *retrieved.iter_rows(named=True)]:
        final = checkpoints(lake, row["recipe"])[-1]
        assert (row["epoch"], row["checkpoint_sha256"]) == (2, final["sha256"])
        assert row["dataset_sha256"] == known[row["benchmark"]]
        assert (row["evaluator_version"], row["precision"]) == (EVALUATOR_VERSION, "fp32")
        measures = [name for name in row if name.startswith(("top", "image_recall", "text_recall"))]
        assert all(0 <= row[name] <= 1 for name in measures)
    assert {key for key, _ in evaluations(trained.instance, "zero_shot_scores", "conservation")} != {None}


def test_what_cannot_be_estimated_says_why(trained: Trained) -> None:
    lake = trained.lake
    shifted = rows(lake, "robustness")
    assert {*shifted.select("recipe", "benchmark").iter_rows()} == {
        (recipe, "sample-sketch") for recipe in (FILTERED, UNFILTERED)
    }
    top1 = {(r["recipe"], r["benchmark"]): r["top1"] for r in scores(lake, "zero_shot_scores").iter_rows(named=True)}
    for row in shifted.iter_rows(named=True):
        assert row["in_distribution_benchmark"] == "sample-seen"
        assert row["in_distribution_accuracy"] == top1[row["recipe"], "sample-seen"]
        assert row["shifted_accuracy"] == top1[row["recipe"], "sample-sketch"]
        assert row["effective_robustness"] is None
        assert "not estimable" in row["reason"]
    laws = rows(lake, "scaling_laws")
    names = {*laws.select("benchmark", "arm").iter_rows()}
    assert names == {(name, arm) for name in (*CLASSIFIED, RETRIEVED) for arm in (FILTERED, UNFILTERED)}
    assert laws["error_model"].null_count() == laws.height
    assert all(laws["reason"])
    assert set(laws["points"]) == {1}


def test_every_epoch_is_measured_if_asked_for(copied: Settings, instance: dg.DagsterInstance) -> None:
    options = EvaluationOptions(batch_size=512, device="cpu", all_epochs=True)
    settings = copied.model_copy(update={"evaluation": options})
    outcome = Builder(settings, instance, Quiet()).build(EvaluationRequest(recipes=[FILTERED], benchmarks=[RETRIEVED]))
    assert outcome.failures == []
    found = scores(settings.open_lake(), "retrieval_scores").filter(recipe=FILTERED)
    assert found["epoch"].to_list() == [1, 2]
    own = [row["sha256"] for row in checkpoints(settings.open_lake(), FILTERED)]
    assert found["checkpoint_sha256"].to_list() == own


def test_a_benchmark_that_changed_is_not_measured_on(copied: Settings, instance: dg.DagsterInstance) -> None:
    folder = copied.benchmark_folder
    before = versions(copied.open_lake())
    shutil.rmtree(folder / "sample-seen")
    write_benchmarks(folder.parent / "other", "sample-seen", size=21)
    shutil.move(folder.parent / "other" / "sample-seen", folder / "sample-seen")
    place = {"recipe": FILTERED, "benchmark": "sample-seen"}
    error = run_one(copied, instance, "zero_shot_scores", place)
    assert error is not None
    assert error.startswith("benchmark sample-seen changed since its pictures were registered")
    assert "build its benchmark_images again" in error
    assert versions(copied.open_lake()) == before

    # So it is done, and what hangs on it knows.
    assert run_one(copied, instance, "benchmark_images", {"benchmark": "sample-seen"}) is None
    builder = Builder(copied, instance, Quiet())
    assert contaminated(copied.open_lake(), copied, [FILTERED]) == [FILTERED]
    assert builder.build(EvaluationRequest(recipes=[FILTERED], benchmarks=["sample-seen"])).failures == []
    measured = scores(copied.open_lake(), "zero_shot_scores").filter(recipe=FILTERED, benchmark="sample-seen")
    assert measured["samples"].to_list() == [21]


@pytest.mark.parametrize("lost", [False, True], ids=["replaced", "lost"])
def test_weights_that_are_not_those_of_the_row_are_not_measured(
    lost: bool, copied: Settings, instance: dg.DagsterInstance
) -> None:
    lake = copied.open_lake()
    first, last = (lake.root / row["path"] for row in checkpoints(lake, FILTERED))
    last.unlink()
    if not lost:
        shutil.copy(first, last)
    before = versions(lake)
    error = run_one(copied, instance, "retrieval_scores", {"recipe": FILTERED, "benchmark": RETRIEVED})
    assert error is not None
    assert error.startswith(f"{last} is missing or is not what clip_checkpoints says: train {FILTERED} again")
    assert versions(lake) == before


def test_scores_of_weights_that_were_replaced_count_no_more(
    copied: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay until they are measured again, and are left out of what is said over all recipes."""
    monkeypatch.setattr(Training, "run", learn_nothing)
    assert run_one(copied, instance, "clip_checkpoints", {"recipe": FILTERED}) is None
    lake = copied.open_lake()
    for table in ("robustness", "scaling_laws"):
        assert run_one(copied, instance, table, {}) is None
    assert set(rows(lake, "robustness")["recipe"]) == {UNFILTERED}
    assert set(rows(lake, "scaling_laws")["arm"]) == {UNFILTERED}
    outcome = Builder(copied, instance, Quiet()).build(EvaluationRequest(recipes=[FILTERED], benchmarks=[RETRIEVED]))
    assert outcome.failures == []
    assert set(rows(lake, "scaling_laws")["arm"]) == {FILTERED, UNFILTERED}


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``laion`` in this process, on the trained lake: exit code, output, errors."""

    def run(*arguments: str, **changes: str) -> tuple[int, str, str]:
        variables = environment(trained.settings, tmp_path / "dagster") | changes
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["laion", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "nobody"], "there is no recipe 'nobody'; `laion recipes` lists them"),
        (["train", FILTERED, "nobody"], "there is no recipe 'nobody'"),
        (["evaluate", "nobody"], "'nobody' is no recipe, and no file of weights that a recipe of this lake published"),
        (["evaluate", "untrained"], "untrained: not trained yet; `laion train untrained` does it"),
        (["evaluate", FILTERED, "--benchmark", "imagenet"], "there is no benchmark 'imagenet' in"),
    ],
)
def test_a_wrong_name_is_one_line(
    arguments: list[str], said: str, command: Callable[..., tuple[int, str, str]], trained: Trained
) -> None:
    before = versions(trained.lake)
    code, out, err = command(*arguments)
    assert (code, out.strip()) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert versions(trained.lake) == before


def test_training_what_is_trained_is_one_line(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command("train", FILTERED, UNFILTERED)
    assert (code, err) == (0, "")
    said = f"nothing to do: {FILTERED}, {UNFILTERED} are trained (0 partitions built, 0 failed)"
    assert out.splitlines()[0] == said


def test_the_status_covers_trainings_and_scores(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command("status", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    counts = {
        table: {state: number for state, number in found.items() if number}
        for table, found in {**told["trainings"], **told["scores"]}.items()
    }
    assert counts == {
        "training_sets": {"done": 2},  # of the recipe that nobody asked for there is nothing to say
        "clip_checkpoints": {"done": 2},
        "zero_shot_scores": {"done": 6},  # of every benchmark, empty where its task is the other one
        "retrieval_scores": {"done": 6},
        "robustness": {"done": 1},
        "scaling_laws": {"done": 1},
    }
    code, out, _ = command("status")
    assert code == 0
    [row] = [line.split() for line in out.splitlines() if line.split()[:1] == [UNFILTERED]]
    assert row == [UNFILTERED, *"✓✓✓✓"]


def test_the_status_says_which_score_is_missing_and_which_training_is_stale(
    command: Callable[..., tuple[int, str, str]], copied: Settings, tmp_path: Path
) -> None:
    lake = {"LAION_LAKE": copied.lake, "LAION_BENCHMARKS": copied.benchmarks or ""}
    other = {name: {**recipe, "samples_seen": 8 * SAMPLES} for name, recipe in RECIPES.items() if name == FILTERED}
    recipes = write_recipes(tmp_path / "others", {**RECIPES, **other})["recipes"]
    told = json.loads(command("status", "--json", **lake, LAION_RECIPES=recipes)[1])
    stale = {(p["table"], p["partition"]) for p in told["partitions"] if p["state"] == "stale"}
    assert ("clip_checkpoints", f"recipe={FILTERED}") in stale
    assert ("clip_checkpoints", f"recipe={UNFILTERED}") not in stale
    gone = json.loads(command("status", "--json", **lake, LAION_RECIPES=str(REPOSITORY / "recipes"))[1])
    assert gone["trainings"]["clip_checkpoints"]["done"] == 2, "a recipe whose file is gone trained what it trained"


def test_what_is_missing_is_one_line(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, changes, said in (
        (["evaluate", FILTERED], {"LAION_BENCHMARKS": str(tmp_path / "empty")}, "holds no benchmark: put evaluation"),
        (["train", FILTERED], {"LAION_RECIPES": str(tmp_path / "none")}, "LAION_RECIPES: expected a folder of recipes"),
        (["train", FILTERED], {"LAION_LAKE": str(tmp_path / "lake")}, "there is no lake at"),
        (["evaluate", FILTERED], {"LAION_LAKE": str(tmp_path / "lake")}, "there is no lake at"),
    ):
        code, _, err = command(*arguments, **changes)
        assert (code, len(err.strip().splitlines())) == (2, 1), err
        assert said in err
    assert not (tmp_path / "lake").exists()


def test_what_there_is_is_listed(command: Callable[..., tuple[int, str, str]], trained: Trained) -> None:
    code, out, _ = command("recipes")
    listed = {line.split()[0]: line.split()[-1] for line in out.splitlines() if line.split()[:1]}
    assert code == 0
    assert (listed[FILTERED], listed[UNFILTERED], listed["untrained"]) == ("done", "done", "no")
    code, out, _ = command("benchmarks")
    assert code == 0
    for name in CLASSIFIED:
        [line] = [line for line in out.splitlines() if line.lstrip(" │").startswith(f"{name} ")]
        assert "classification" in line
        assert "20 pictures" in line
    code, out, err = command("evaluate", str(trained.lake.root / checkpoints(trained.lake, FILTERED)[-1]["path"]))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"nothing to do: {FILTERED} is measured (0 partitions built, 0 failed)"
    for name in (*CLASSIFIED, RETRIEVED):
        assert f"{name} " in out
