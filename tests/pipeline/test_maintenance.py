"""What is left of a lake after maintenance: everything that a training set or a checkpoint needs, and no more."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.delta.states import State
from laion_assets.lake.takedowns import request_takedown
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.planning.states import training_set_state
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.training.checkpoint import open_model
from laion_assets.training.driver import Training
from tests.pipeline.conftest import Built, MakeSettings, materialise, ran
from tests.pipeline.trainings import learn_nothing, samples_of, source_versions, train, write_recipes
from tests.unit.delta.aging import backdate_all, readable
from tests.unit.training.tiny import MODEL

pytestmark = pytest.mark.slow

NAME = "some"
BUCKET = {"crawl": CRAWLS[0], "bucket": 0}


@pytest.fixture(scope="module")
def once_trained(
    undisturbed: Built, make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], Settings]]:
    """A lake with a training set and checkpoints in which one bucket's pairs and pictures were built anew twice since,
    a hundred days ago; gives the settings of a copy of it."""
    folder = tmp_path_factory.mktemp("trained")
    changes = write_recipes(folder, {NAME: {"selection": {"source": "unique_pairs"}}})
    shutil.copytree(undisturbed.settings.lake, folder / "lake")
    settings = make_settings(folder / "lake", **changes)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as own:
        patch.setattr(Training, "run", learn_nothing)
        assert train(settings, own, NAME).failures == []
        for table in ("unique_pairs", "images") * 2:
            assert materialise(settings, own, table, BUCKET)
        backdate_all(lake_of(settings), 100)

        def copy(target: Path) -> Settings:
            shutil.copytree(folder / "lake", target)
            return make_settings(target, **changes)

        yield copy


@pytest.fixture
def trained(once_trained: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    return once_trained(tmp_path / "lake")


def lake_of(settings: Settings) -> Lake:
    return settings.open_lake(create=False)


def maintain(settings: Settings, instance: dg.DagsterInstance, **config: object) -> dict[str, dg.MetadataValue]:
    """Run the job as the daemon would; gives what it says on Dagster's pages."""
    job = build_definitions(settings).resolve_job_def("maintenance")
    result = job.execute_in_process(
        instance=instance, run_config={"ops": {"remove_forgotten": {"config": config}}} if config else None
    )
    assert result.success
    [record] = instance.fetch_materializations(dg.AssetKey("maintenance"), limit=1).records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.metadata)


def gc(settings: Settings, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ran(settings, home, "gc", *arguments)


def test_what_was_trained_can_be_made_again_and_the_rest_is_gone(
    trained: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "run", learn_nothing)
    lake = lake_of(trained)
    origin = source_versions(lake, "training_sets", NAME)
    before = {sample.key: sample.text for sample in samples_of(lake, NAME)}
    assert maintain(trained, instance, dry_run=True)["bytes removed"].value == 0
    said = maintain(trained, instance)
    assert said["bytes removed"].value > 0
    assert said["complete"].value is True
    assert "| images |" in said["by table"].value
    for table in ("unique_pairs", "images"):
        newest = lake.table(table).version()
        assert origin[table] < newest
        assert [v for v in range(1, newest + 1) if readable(lake, table, v)][-2:] == [origin[table], newest]

    weights = pl.scan_delta(lake.path("clip_checkpoints")).filter("final").collect()["path"][0]
    open_model(MODEL, lake.root / weights, trained.recipe(NAME).model_configs)

    removed = int(next(iter(before)))
    request_takedown(lake, "pair_id", str(removed), None)
    assert training_set_state(lake_of(trained), trained, NAME).state is State.STALE
    assert train(trained, instance, NAME).failures == []
    again = {sample.key: sample.text for sample in samples_of(lake_of(trained), NAME)}
    assert str(removed) not in again
    assert source_versions(lake_of(trained), "training_sets", NAME)["unique_pairs"] == origin["unique_pairs"]
    assert len(again.keys() & before.keys()) > 0.8 * len(before)
    assert all(before[key] == again[key] for key in again.keys() & before.keys())


def test_gc_shows_then_removes_then_has_nothing_to_do(trained: Settings, tmp_path: Path) -> None:
    lake = lake_of(trained)
    files = len(list(lake.storage.files()))
    shown = gc(trained, tmp_path / "home")
    assert shown.returncode == 0, shown.stderr
    assert "`laion gc --delete` removes them" in shown.stdout
    assert f"pinned by training_sets recipe={NAME}:" in shown.stdout
    assert len(list(lake.storage.files())) == files

    removed = json.loads(gc(trained, tmp_path / "home", "--delete", "--json").stdout)
    assert sum(removed["removed"]["files"].values()) == sum(area["files_to_free"] for area in removed["areas"]) > 0
    assert len(list(lake.storage.files())) == files - sum(removed["removed"]["files"].values())
    assert "nothing to remove" in gc(trained, tmp_path / "home").stdout


def test_a_removed_pair_in_a_pinned_version_is_told_of_until_it_is_let_go(
    trained: Settings, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "run", learn_nothing)
    lake = lake_of(trained)
    pair = lake.rows("unique_pairs", BUCKET, ["pair_id"])["pair_id"][0]
    request_takedown(lake, "pair_id", str(pair), "asked to")
    assert materialise(trained, instance, "unique_pairs", BUCKET)
    backdate_all(lake, 100)
    told = gc(trained, tmp_path / "home")
    assert "1 rows of unique_pairs that removal requests name stay readable in pinned versions" in " ".join(
        told.stderr.split()
    )
    let_go = gc(trained, tmp_path / "home", "--delete", "--unpin", NAME)
    assert let_go.returncode == 0, let_go.stderr
    assert let_go.stderr == ""
    for path in (lake.root / "unique_pairs").rglob("*.parquet"):
        assert pair not in pl.read_parquet(path, columns=["pair_id"], hive_partitioning=False)["pair_id"]

    outcome = train(trained, instance, NAME)
    assert [table for table, *_ in outcome.failures][:1] == ["training_sets"]
    assert "select anew with `laion train RECIPE --refresh`" in outcome.failures[0][2]
    assert train(trained, instance, NAME, refresh=True).failures == []


def test_lineage_says_of_an_old_version_that_its_files_are_gone(
    trained: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake = lake_of(trained)
    gone = lake.table("unique_pairs").version() - 1
    pair = lake.rows("unique_pairs", BUCKET, ["pair_id"])["pair_id"][0]
    maintain(trained, instance)
    told = ran(trained, tmp_path, "lineage", "unique_pairs", "--pair-id", str(pair), "--version", str(gone))
    assert told.returncode == 0
    assert f"the files of version {gone} were vacuumed away" in told.stdout
