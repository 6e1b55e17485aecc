"""Training sets on a whole lake: what they hold, what they stay, and what is left out of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster import AssetKey

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.states import State
from laion_assets.lake.takedowns import request_takedown
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.models import ModelRequest
from laion_assets.orchestration.planning.states import checkpoint_state, contaminated, training_set_state
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.training import arrangement
from laion_assets.training.driver import Training
from laion_assets.training.virtual import read_virtual
from laion_assets.webdataset.samples import read_pictures
from tests.pipeline.conftest import MakeSettings, Quiet, evaluations, rows, versions
from tests.pipeline.test_conservation import lose_while_appending
from tests.pipeline.trainings import (
    SAMPLES,
    assert_holds,
    learn_nothing,
    left_out,
    run_one,
    samples_of,
    source_versions,
    train,
    write_benchmarks,
    write_copies,
    write_recipes,
)

NAME = "some"
SET = {"recipe": NAME}
RELEASED = {"source": "scored_pairs", "where": "released"}
LakeWith = Callable[..., Settings]


@pytest.fixture(autouse=True)
def nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "run", learn_nothing)


@pytest.fixture
def lake_with(lake_copy: Callable[..., Settings], tmp_path: Path) -> LakeWith:
    """``lake_with(selection, without=[table, ...], **recipe)``: settings of a lake with one recipe, called ``some``."""

    def make(selection: dict[str, Any], *, without: tuple[str, ...] = (), **recipe: Any) -> Settings:
        changes = write_recipes(tmp_path, {NAME: {"selection": selection, **recipe}})
        return lake_copy(without=without, **changes)

    return make


@pytest.fixture
def change(make_settings: MakeSettings, tmp_path: Path) -> Callable[..., Settings]:
    """The same lake with another selection in its recipe, or with other settings."""

    def changed(selection: dict[str, Any], recipe: dict[str, Any] | None = None, **changes: Any) -> Settings:
        written = write_recipes(tmp_path, {NAME: {"selection": selection, **(recipe or {})}})
        return make_settings(tmp_path / "lake", **{**written, **changes})

    return changed


def stricter(lake: Lake) -> FilterOptions:
    """A policy that keeps about half of the pairs."""
    median = rows(lake, "filtered_pairs")["similarity"].median()
    limits = dict.fromkeys(("threshold_en", "threshold_multi", "threshold_nolang"), median)
    return FilterOptions(policy="laion", min_bytes=0, **limits)


def released(lake: Lake) -> set[int]:
    return set(rows(lake, "filtered_pairs")["pair_id"])


def test_a_training_set_holds_each_selected_pair_once_with_where_it_came_from(
    lake_with: LakeWith, instance: dg.DagsterInstance
) -> None:
    settings = lake_with({"source": "unique_pairs"}, validation_fraction=0.3)
    outcome = train(settings, instance, NAME)
    assert (outcome.built, outcome.failures) == (2, [])
    lake = settings.open_lake()
    pairs = rows(lake, "unique_pairs")
    stored = rows(lake, "images").filter(status="success")
    known = pairs.join(stored, on=["crawl", "bucket", "url_id", "url"], suffix="_of_image")
    samples = samples_of(lake, NAME)
    commit = lake.commit("training_sets", SET)
    assert commit is not None
    assert commit.counts["pairs selected"] == pairs.height
    assert commit.counts["samples"] == len(samples) == len({sample.key for sample in samples})
    out = left_out(lake, NAME)
    assert out == {"no_picture": pairs.height - known.height, "remainder": known.height - len(samples)}
    assert out["no_picture"] > 0
    assert out["remainder"] < 2 * SAMPLES

    by_id = {row["pair_id"]: row for row in known.iter_rows(named=True)}
    pictures: dict[str, bytes] = {}
    for sample in samples:
        pair = by_id[int(sample.key)]
        assert sample.text == pair["text"]
        names = ("pair_id", "url", "sha256", "crawl", "path", "record_offset", "link_position", "page_url")
        assert {name: sample.json[name] for name in names} == {name: pair[name] for name in names}
        assert sample.json["recipe"] == NAME
        tar, key = pair["shard_path"], pair["sample_key"]
        if f"{tar}/{key}" not in pictures:
            found = read_pictures(lake.root / tar, stored.filter(shard_path=tar)["sample_key"].to_list())
            pictures |= {f"{tar}/{k}": content for k, content in found.items()}
        assert sample.image == pictures[f"{tar}/{key}"]

    shards = rows(lake, "training_sets")
    assert set(shards["samples"]) == {SAMPLES}
    assert shards["split"].unique().sort().to_list() == ["train", "validation"]
    of_split = {
        split: {s.json["sha256"] for s in samples if s.key in keys}
        for split, keys in _keys_by_split(lake, shards).items()
    }
    assert of_split["train"].isdisjoint(of_split["validation"]), "no picture is in both"
    for split in of_split:
        folder = (lake.root / shards.filter(split=split)["shard_path"][0]).parent
        sizes = {path.name: SAMPLES for path in folder.glob("*.tar")}
        assert pl.read_json(folder / "sizes.json").row(0, named=True) == sizes
        assert len(sizes) == shards.filter(split=split).height

    read = ("unique_pairs", "images", "takedowns")
    expected = {table: lake.sizes(table)["version"] for table in read} | {"benchmark_images": -1}
    assert source_versions(lake, "training_sets", NAME) == expected
    assert source_versions(lake, "clip_checkpoints", NAME) == expected


def test_a_recipe_may_learn_from_the_tars_that_are_there(
    lake_with: LakeWith, change: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    chosen = {"source": "unique_pairs"}
    settings = lake_with(chosen, shards="virtual")
    assert train(settings, instance, NAME).failures == []
    lake = settings.open_lake()
    shards = [lake.root / path for path in rows(lake, "training_sets").sort("shard_path")["shard_path"]]
    listed = [
        (sample["__key__"], sample["txt"].decode()) for shard in shards for sample in read_virtual(shard, lake.root)
    ]
    assert not list((lake.root / "files" / "training_sets").rglob("*.tar"))
    copied = change(chosen)
    assert train(copied, instance, NAME).failures == []
    assert [(sample.key, sample.text) for sample in samples_of(copied.open_lake(), NAME)] == listed


def _keys_by_split(lake: Lake, shards: pl.DataFrame) -> dict[str, set[str]]:
    import tarfile

    found: dict[str, set[str]] = {}
    for split, path in shards.select("split", "shard_path").iter_rows():
        with tarfile.open(lake.root / path) as tar:
            found.setdefault(split, set()).update(name.split(".")[0] for name in tar.getnames())
    return found


def test_what_a_training_set_shows_in_dagster(lake_with: LakeWith, instance: dg.DagsterInstance) -> None:
    settings = lake_with({"source": "unique_pairs"})
    train(settings, instance, NAME)
    lake = settings.open_lake()
    event = instance.get_latest_materialization_event(AssetKey("training_sets"))
    assert event is not None
    assert event.dagster_event is not None
    assert event.dagster_event.partition == NAME
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}  # type: ignore[union-attr]
    samples = samples_of(lake, NAME)
    assert shown["samples"] == len(samples)
    assert shown["dagster/partition_row_count"] == len(samples) // SAMPLES
    assert shown["delta version"] == lake.sizes("training_sets")["version"]
    read = [line.strip("| ").split(" | ") for line in shown["read"].splitlines()[2:]]
    assert {name: int(version) for name, version, _ in read} == source_versions(lake, "training_sets", NAME)
    assert f"| no_picture | {left_out(lake, NAME)['no_picture']:,} |" in shown["pairs left out"]
    batches = [samples[start : start + SAMPLES] for start in range(0, len(samples), SAMPLES)]
    for name, value in (("picture", lambda s: s.json["sha256"]), ("caption", lambda s: s.text)):
        meet = sum(sum(value(s) == value(o) for o in batch) > 1 for batch in batches for s in batch)
        assert shown[f"same {name} in a batch"] == pytest.approx(meet / len(samples))
    assert shown["recipe"]["selection"]["source"] == "unique_pairs"
    assert evaluations(instance, "training_sets", "conservation") == [(NAME, True)]


def test_a_training_set_stays_what_it_was_until_it_is_selected_anew(
    lake_with: LakeWith,
    change: Callable[..., Settings],
    instance: dg.DagsterInstance,
    builder: Callable[[Settings], Builder],
) -> None:
    settings = lake_with(RELEASED)
    train(settings, instance, NAME)
    lake = settings.open_lake()
    selected, before = released(lake), versions(lake)
    pinned, table = source_versions(lake, "training_sets", NAME), rows(lake, "training_sets")
    assert_holds(lake, NAME, selected)
    again = train(settings, instance, NAME)
    assert (again.built, again.failures, versions(lake)) == (0, [], before)

    later = change(RELEASED, filter=stricter(lake))
    assert builder(later).build(CrawlRequest(crawls=CRAWLS)).failures == []
    kept = released(lake)
    assert 0 < len(kept) < len(selected)
    assert train(later, instance, NAME).built == 0
    assert rows(lake, "training_sets").equals(table)

    # Made again for another reason it still reads what it was made from.
    url = samples_of(lake, NAME)[0].json["url"]
    request_takedown(lake, "url", url, None)
    assert training_set_state(lake, later, NAME).reasons != ()
    outcome = train(later, instance, NAME)
    assert (outcome.built, outcome.failures) == (2, [])
    gone = set(rows(lake, "unique_pairs").filter(url=url)["pair_id"]) & selected
    assert_holds(lake, NAME, selected - gone, removed=len(gone))
    now = source_versions(lake, "training_sets", NAME)
    assert now == {**pinned, "takedowns": lake.sizes("takedowns")["version"]}

    assert train(later, instance, NAME, refresh=True).failures == []
    assert_holds(lake, NAME, kept - gone, **({"removed": len(gone & kept)} if gone & kept else {}))
    assert source_versions(lake, "training_sets", NAME)["filtered_pairs"] > pinned["filtered_pairs"]

    # A recipe may name the version itself.
    named = change({**RELEASED, "versions": {"filtered_pairs": pinned["filtered_pairs"]}})
    assert train(named, instance, NAME).failures == []
    assert_holds(lake, NAME, selected - gone, removed=len(gone))


def test_a_set_pinned_to_a_model_outlives_the_model_s_next_rows(
    lake_with: LakeWith,
    change: Callable[..., Settings],
    instance: dg.DagsterInstance,
    builder: Callable[[Settings], Builder],
    tmp_path: Path,
) -> None:
    """The model's tests were run last on rows that the set does not hold."""
    from tests.unit.sql.model_files import write_model

    header = "materialized: incremental_by_crawl\ndescription: Kept.\ntests:\n  - unique: [crawl, bucket, pair_id]"
    sql = "SELECT crawl, bucket, pair_id FROM {{ source('filtered_pairs') }}"
    write_model(tmp_path / "project", "kept", sql, header=header)
    models = {"models": str(tmp_path / "project")}
    lake_with({"source": "kept"})
    settings = change({"source": "kept"}, **models)

    def build_model(of: Settings) -> None:
        assert Builder(of, instance, Quiet()).build(ModelRequest(models=["kept"])).failures == []

    build_model(settings)
    assert train(settings, instance, NAME).failures == []
    lake = settings.open_lake()
    selected = released(lake)
    assert_holds(lake, NAME, selected)
    later = change({"source": "kept"}, filter=stricter(lake), **models)
    assert builder(later).build(CrawlRequest(crawls=CRAWLS)).failures == []
    build_model(later)
    gone = rows(lake, "unique_pairs").filter(pl.col("pair_id").is_in(selected)).row(0, named=True)
    request_takedown(lake, "pair_id", str(gone["pair_id"]), None)
    assert train(later, instance, NAME).failures == []
    assert_holds(lake, NAME, selected - {gone["pair_id"]}, removed=1)


def test_a_table_that_was_not_there_yet_stays_away_from_a_pinned_set(
    lake_with: LakeWith, instance: dg.DagsterInstance, builder: Callable[[Settings], Builder]
) -> None:
    settings = lake_with({"source": "scored_pairs", "where": "NOT released"}, without=("filtered_pairs",))
    assert train(settings, instance, NAME).failures == []
    lake = settings.open_lake()
    everything = set(rows(lake, "clip_embeddings")["pair_id"])
    assert_holds(lake, NAME, everything)
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    request_takedown(lake, "domain", "nobody.example", None)
    assert train(settings, instance, NAME).built == 0, "nothing of it is concerned"
    gone = min(released(lake))  # which the predicate of now would not select
    request_takedown(lake, "pair_id", str(gone), None)
    assert train(settings, instance, NAME).failures == []
    assert_holds(lake, NAME, everything - {gone}, removed=1)


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (
            RELEASED | {"versions": {"filtered_pairs": 999}},
            r"filtered_pairs has the versions 0 to \d+, and its version",
        ),
        (
            RELEASED | {"versions": {"calibrations": 0}},
            "the recipe pins calibrations, which it does not read; it reads",
        ),
        (RELEASED | {"versions": {"takedowns": 0}}, "the recipe pins takedowns: removal requests and evaluation sets"),
        (RELEASED | {"where": "relesed"}, '(?s)selection from scored_pairs is wrong: .*"relesed" not found'),
        (RELEASED | {"where": "released;"}, "selection from scored_pairs is wrong"),
    ],
)
def test_a_wrong_selection_is_one_clear_error(
    selection: dict[str, Any], said: str, lake_with: LakeWith, instance: dg.DagsterInstance
) -> None:
    settings = lake_with(selection)
    outcome = train(settings, instance, NAME)
    [(table, partition, error)] = outcome.failures
    assert (table, partition, outcome.built) == ("training_sets", f"recipe={NAME}", 0)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(error)
    assert outcome.left_out == [("clip_checkpoints", f"recipe={NAME}")]
    assert rows(settings.open_lake(), "training_sets").is_empty()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("wat_files", "cannot select from wat_files: it has no column bucket, pair_id"),
        ("no_such_table", "selects from 'no_such_table', and there is no such table or enabled SQL model"),
        ("funnel", "cannot select from funnel: it has no column bucket, pair_id"),
    ],
)
def test_a_source_that_is_no_list_of_pairs_is_refused(
    source: str, said: str, lake_with: LakeWith, instance: dg.DagsterInstance
) -> None:
    settings = lake_with({"source": source})
    with pytest.raises(LakeError, match=said):
        train(settings, instance, NAME)


def test_a_selection_smaller_than_a_shard_says_so(lake_with: LakeWith, instance: dg.DagsterInstance) -> None:
    settings = lake_with({"source": "unique_pairs", "where": "false"})
    [(table, _, error)] = train(settings, instance, NAME).failures
    assert table == "clip_checkpoints"
    assert "has no shard: its selection is smaller than one shard of 16 samples" in error


@pytest.mark.parametrize(
    "kind", ["url", *(pytest.param(k, marks=pytest.mark.slow) for k in ("domain", "sha256", "pair_id"))]
)
def test_a_pair_that_was_taken_down_is_left_out_before_the_tables_below_know(
    kind: str, lake_with: LakeWith, instance: dg.DagsterInstance
) -> None:
    settings = lake_with({"source": "scored_pairs"})
    lake = settings.open_lake()
    pairs = rows(lake, "unique_pairs").join(
        rows(lake, "images").filter(status="success"), on=["crawl", "bucket", "url_id", "url"], suffix="_of_image"
    )
    pairs = pairs.with_columns(domain=pl.col("url").str.extract("://([^/:]+)"))
    value = str(pairs.row(3, named=True)[kind])
    gone = set(pairs.filter(pl.col(kind).cast(pl.String) == value)["pair_id"])
    request_takedown(lake, kind, value, "asked for")
    assert train(settings, instance, NAME).failures == []
    assert_holds(lake, NAME, set(rows(lake, "clip_embeddings")["pair_id"]) - gone, removed=len(gone))


def test_a_pair_is_left_out_when_the_address_its_url_led_to_is_taken_down(
    lake_with: LakeWith, instance: dg.DagsterInstance
) -> None:
    settings = lake_with({"source": "scored_pairs"})
    lake = settings.open_lake()
    led_on = pl.col("final_url") != pl.col("url")
    images = rows(lake, "images").filter(led_on, status="success")
    request_takedown(lake, "url", images["final_url"][0].replace("http://", "https://"), "asked for")
    gone = rows(lake, "unique_pairs").join(images.filter(pl.col("final_url") == images["final_url"][0]), on="url")
    assert train(settings, instance, NAME).failures == []
    embedded = set(rows(lake, "clip_embeddings")["pair_id"])
    removed = embedded & set(gone["pair_id"])
    assert removed
    assert_holds(lake, NAME, embedded - removed, removed=len(removed))


def test_copies_of_evaluation_pictures_are_left_out_once_their_benchmark_is_registered(
    lake_with: LakeWith, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = lake_with(RELEASED)
    assert train(settings, instance, NAME).failures == []
    lake = settings.open_lake()
    selected, pinned = released(lake), source_versions(lake, "training_sets", NAME)
    planted = _jpegs(samples_of(lake, NAME), 6)
    write_copies(tmp_path / "benchmarks", "planted", [picture for _, picture in planted])
    write_benchmarks(tmp_path / "benchmarks", "sample-noise")
    assert contaminated(lake, settings, [NAME]) == []
    for benchmark in ("planted", "sample-noise"):
        instance.add_dynamic_partitions("benchmark", [benchmark])
        assert run_one(settings, instance, "benchmark_images", {"benchmark": benchmark}) is None
    assert contaminated(lake, settings, [NAME]) == [NAME]
    assert training_set_state(lake, settings, NAME).reasons == ("benchmark_images changed",)
    assert checkpoint_state(lake, settings, NAME).state is State.DONE

    assert run_one(settings, instance, "training_sets", SET) is None
    assert contaminated(lake, settings, [NAME]) == []
    assert checkpoint_state(lake, settings, NAME).reasons == ("training_sets changed",)
    copied = pl.col("sha256").is_in([digest for digest, _ in planted])
    gone = set(rows(lake, "filtered_pairs").filter(copied)["pair_id"])
    assert len(gone) >= len(planted)
    assert_holds(lake, NAME, selected - gone, copy_of_evaluation_picture=len(gone))
    assert set(rows(lake, "training_sets")["excluded_benchmark"]) == {len(gone)}
    commit = lake.commit("training_sets", SET)
    assert commit is not None
    assert commit.counts["copies: same file"] == 1
    assert commit.counts["copies: near and of the same colours"] == len(planted) - 1
    now = source_versions(lake, "training_sets", NAME)
    assert now == {**pinned, "benchmark_images": lake.sizes("benchmark_images")["version"]}
    outcome = train(settings, instance, NAME)
    assert (outcome.built, outcome.failures) == (1, []), "the checkpoint alone"
    assert checkpoint_state(lake, settings, NAME).state is State.DONE


def _jpegs(samples: list[Any], count: int) -> list[tuple[str, bytes]]:
    """Different pictures that are stored as they were downloaded."""
    from hashlib import sha256

    stored = {s.json["sha256"]: s.image for s in samples if sha256(s.image).hexdigest() == s.json["sha256"]}
    return list(stored.items())[:count]


def test_a_lost_shard_or_epoch_is_caught_before_the_commit(
    lake_with: LakeWith, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = lake_with({"source": "unique_pairs"})
    lake = settings.open_lake()
    for table, built in (("training_sets", 0), ("clip_checkpoints", 1)):
        with monkeypatch.context() as patch:
            if table == "training_sets":
                lose_while_appending(patch)
            else:
                patch.setattr(Training, "run", lambda training: learn_nothing(training)[1:])
            outcome = train(settings, instance, NAME)
        [(failed, _, error)] = outcome.failures
        assert (failed, outcome.built) == (table, built)
        assert "was not published: conservation" in error
        assert rows(lake, table).is_empty()
        assert evaluations(instance, table, "conservation") == [(NAME, False)]
    assert train(settings, instance, NAME).failures == []
    assert rows(lake, "clip_checkpoints")["epoch"].to_list() == [1, 2]


def test_a_lost_pair_is_caught_before_a_training_set_is_published(
    lake_with: LakeWith, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = lake_with({"source": "unique_pairs"})
    real = arrangement._take_in

    def take_in(connection: Any, pairs: str) -> Any:
        found = real(connection, pairs)
        connection.execute("DELETE FROM _arrange_pairs WHERE pair_id = (SELECT min(pair_id) FROM _arrange_pairs)")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(arrangement, "_take_in", take_in)
        [(table, _, error)] = train(settings, instance, NAME).failures
    assert table == "training_sets"
    assert "do not account for all of them" in error
    assert rows(settings.open_lake(), "training_sets").is_empty()


def test_shards_that_are_damaged_or_gone_are_not_trained_on(lake_with: LakeWith, instance: dg.DagsterInstance) -> None:
    settings = lake_with({"source": "unique_pairs"})
    assert run_one(settings, instance, "training_sets", SET) is None
    lake = settings.open_lake()
    shards = [lake.root / path for path in rows(lake, "training_sets")["shard_path"]]
    shards[0].unlink()
    content = bytearray(shards[1].read_bytes())
    content[600] ^= 1
    shards[1].write_bytes(content)
    [(table, _, error)] = train(settings, instance, NAME).failures
    assert table == "clip_checkpoints"
    assert "2 shards are not as written" in error
    assert "`laion train some` makes it again" in error
    assert run_one(settings, instance, "training_sets", SET) is None
    assert train(settings, instance, NAME).failures == []
