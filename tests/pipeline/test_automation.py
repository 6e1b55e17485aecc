"""Automation as ticks against an instance: what is asked for when, and how often at most."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.download import bucket
from laion_assets.orchestration.assets import embeddings, images, pairs
from laion_assets.orchestration.automation import condition
from laion_assets.orchestration.automation.attempts import Attempts
from laion_assets.orchestration.partitions import CRAWLS as CRAWL_PARTITIONS
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import AutomationOptions, Settings
from laion_assets.tables.catalogue import ALWAYS, TABLES
from tests.pipeline.conftest import Built, MakeSettings, digests, materialise, unfinished
from tests.pipeline.daemon import Clock, Daemon, described
from tests.unit.sql.model_files import write_model

LakeCopy = Callable[..., Settings]
OLD, NEW = sorted(CRAWLS)
STRICTER = FilterOptions(policy="laion", min_bytes=0, threshold_en=0.5, threshold_multi=0.5, threshold_nolang=0.5)


def small_project(folder: Path) -> Path:
    """Two models: one of each crawl, one over all."""
    write_model(
        folder,
        "kept",
        "SELECT crawl, count(*) AS n FROM {{ source('filtered_pairs') }} GROUP BY ALL",
        header="description: Kept.\nmaterialized: incremental_by_crawl",
    )
    write_model(folder, "all_kept", "SELECT sum(n)::BIGINT AS n FROM {{ ref('kept') }}")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The folder of a small project."""
    return small_project(tmp_path / "project")


@pytest.fixture
def daemon(lake_copy: LakeCopy, instance: dg.DagsterInstance, models: Path) -> Callable[..., Daemon]:
    """A daemon over a copy of the lake in which both crawls are built; its models are not."""

    def make(*, registered: tuple[str, ...] = (OLD, NEW), **options: Any) -> Daemon:
        instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), list(registered))
        return Daemon(lake_copy(**{"models": str(models), **options}), instance)

    return make


def states(lake: Lake) -> dict[tuple[str, str], tuple[str, str | None]]:
    """What the table ``partition_states`` says: (state, reasons) by (table, partition)."""
    rows = pl.read_delta(lake.path("partition_states")).sort("table_name", "partition")
    return {
        (table, partition): (state, reasons)
        for table, partition, state, reasons in rows.select("table_name", "partition", "state", "reasons").iter_rows()
    }


def shown(daemon: Daemon) -> dict[tuple[str, str], tuple[str, str | None]]:
    """What the asset ``partition_states`` shows when it is built now, of what is not done."""
    assert materialise(daemon.settings, daemon.instance, "partition_states", {})
    found = states(daemon.settings.open_lake())
    return {name: how for name, how in found.items() if how[0] != "done"}


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was not to be done again")


# -- from nothing to the last table -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("first", ["sensor", "automation"])
def test_both_crawls_are_built_to_the_last_table_whichever_is_turned_on_first(
    make_settings: MakeSettings,
    instance: dg.DagsterInstance,
    models: Path,
    undisturbed: Built,
    tmp_path: Path,
    first: str,
) -> None:
    settings = make_settings(tmp_path / "lake", models=str(models))
    daemon = Daemon(settings, instance)
    if first == "automation":
        assert daemon.look() == []
        assert not Path(settings.lake).exists(), "there is nothing to do, and so no lake to make"
    assert daemon.find_crawls() is None or instance.get_dynamic_partitions(str(CRAWL_PARTITIONS.name))
    daemon.work()
    assert unfinished(settings) == {}
    assert all(success for _, _, success in daemon.ran)
    lake = settings.open_lake()
    for table in ("candidate_pairs", "unique_pairs", "filtered_pairs", "calibrations"):
        assert digests(lake, table) == digests(undisturbed.lake, table), "as laion build makes it"
    assert {how for how, _ in states(lake).values()} == {"done"}
    assert {table for table, _ in states(lake)} == {*ALWAYS, "kept", "all_kept"}
    # Nothing was built twice, and a bucket went its whole way in one run.
    for table in ALWAYS:
        assert len(lake.ledger(table).commits) == sum(
            1 for e in lake.table(table).history() if e["operation"] == "WRITE"
        )
    chain = tuple(sorted(("unique_pairs", "images", "clip_embeddings", "filtered_pairs")))
    assert sum(assets == chain for assets, _, _ in daemon.ran) == len(CRAWLS) * settings.buckets


# -- once, and then a bounded number of times -------------------------------------------------------------------------


def test_what_is_up_to_date_is_left_alone(daemon: Callable[..., Daemon]) -> None:
    at_work = daemon()
    at_work.work()
    assert at_work.built == {"kept", "all_kept", "partition_states"}
    at_work.ran.clear()
    assert at_work.work() == 0


def test_what_runs_or_is_queued_is_not_asked_for_again(daemon: Callable[..., Daemon]) -> None:
    at_work = daemon(filter=STRICTER)
    queued = at_work.queue(at_work.look())
    assert queued
    assert at_work.look() == []
    assert at_work.restart(at_work.settings).look() == [], "nor by a new code server"


@pytest.mark.parametrize("attempts", [1, 3])
def test_an_asset_that_always_fails_costs_a_bounded_number_of_runs(
    daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    monkeypatch.setattr(images, "plan_attempts", refuse)
    at_work = daemon(without=["images"], automation=AutomationOptions(attempts=attempts, retry_minutes=0))
    for _ in range(4 * attempts + 6):
        at_work.execute(at_work.look())
    buckets = at_work.settings.buckets
    failed = [key for key, success in at_work.runs_of("images") if not success]
    assert len(failed) == attempts * len(CRAWLS) * buckets
    assert all(failed.count(key) == attempts for key in set(failed))
    assert not at_work.runs_of("kept"), "it is built on what failed"
    assert at_work.look() == []
    assert "have failed too often" in str(at_work.skipped)


def test_attempts_lie_apart_and_begin_anew_when_the_inputs_change(
    daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "plan_embeddings", refuse)
    options = AutomationOptions(attempts=2, retry_minutes=10)
    at_work = daemon(without=["clip_embeddings", "filtered_pairs"], automation=options)
    now = Clock()
    monkeypatch.setattr(condition, "Attempts", functools.partial(Attempts, clock=now))
    at_work.execute(at_work.look())
    first = len(at_work.runs_of("clip_embeddings"))
    assert first == len(CRAWLS) * at_work.settings.buckets
    assert not [r for r in at_work.look() if "clip_embeddings" in described(r)[0]], "it failed a moment ago"
    now.seconds += 9 * 60
    assert not [r for r in at_work.look() if "clip_embeddings" in described(r)[0]]
    now.seconds += 61
    at_work.execute(at_work.look())
    assert len(at_work.runs_of("clip_embeddings")) == 2 * first
    now.seconds += 100 * 3600
    assert {described(r)[0] for r in at_work.look()} == {("partition_states",)}, "twice was asked for, and no more"
    stage = dataclasses.replace(TABLES["clip_embeddings"], code_version="next")
    monkeypatch.setitem(TABLES, "clip_embeddings", stage)
    repaired = at_work.restart(at_work.settings)
    assert len([r for r in repaired.look() if "clip_embeddings" in described(r)[0]]) == first


def test_a_partition_that_fails_holds_up_no_other(
    daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range stops at the first failure; what was to come after it is tried alone."""
    at_work = daemon(filter=STRICTER, automation=AutomationOptions(attempts=2, retry_minutes=0))
    whole = pairs.filter_pairs

    def fails(con: Any, **options: Any) -> Any:
        if f"crawl={OLD}__bucket=0" in str(options["output"]):
            raise ValueError("this bucket is broken")
        return whole(con, **options)

    monkeypatch.setattr(pairs, "filter_pairs", fails)
    at_work.work()
    assert sorted(at_work.runs_of("filtered_pairs")) == [
        (f"{OLD}|0", False),
        (f"{OLD}|0...{OLD}|1", False),
        (f"{OLD}|1", True),
        (f"{NEW}|0...{NEW}|1", True),
    ]
    found = states(at_work.settings.open_lake())
    assert found["filtered_pairs", f"crawl={OLD}/bucket=0"] == ("failed", "settings changed")
    assert found["filtered_pairs", f"crawl={OLD}/bucket=1"] == ("done", None)
    assert found["kept", f"crawl={NEW}"] == ("done", None)


def test_no_more_runs_are_asked_for_than_may_be_under_way(daemon: Callable[..., Daemon]) -> None:
    at_work = daemon(
        without=["images", "clip_embeddings", "filtered_pairs"], automation=AutomationOptions(runs_at_once=3)
    )
    requests = at_work.look()
    assert len(requests) == 3
    assert {key for assets, key in map(described, requests) if "images" in assets} == {
        f"{OLD}|0",
        f"{OLD}|1",
        f"{NEW}|0",
    }


# -- what is out of date, why, and what is done about it --------------------------------------------------------------


def test_another_threshold_makes_only_the_filter_run(
    daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = daemon(filter=STRICTER)
    monkeypatch.setattr(bucket, "download", refuse)
    monkeypatch.setattr(embeddings, "embed_tar", refuse)
    stale = shown(at_work)
    assert {table for table, _ in stale} == {"filtered_pairs", "kept", "all_kept"}
    assert {how for (table, _), how in stale.items() if table == "filtered_pairs"} == {("stale", "settings changed")}
    at_work.work()
    assert at_work.built == {"filtered_pairs", "kept", "all_kept", "partition_states"}
    assert all(success for _, _, success in at_work.ran)
    assert unfinished(at_work.settings) == {}
    assert {how for how, _ in states(at_work.settings.open_lake()).values()} == {"done"}


def test_a_new_encoder_makes_embeddings_thresholds_and_filter_run(
    daemon: Callable[..., Daemon], undisturbed: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "download", refuse)
    encoder = dataclasses.replace(undisturbed.settings.encoder, precision="amp_bf16")
    at_work = daemon(encoder=encoder)
    stale = shown(at_work)
    assert {how for (t, _), how in stale.items() if t == "clip_embeddings"} == {("stale", "settings changed")}
    inherited = [why for (t, _), (_, why) in stale.items() if t == "filtered_pairs"]
    assert all(why is not None and why.startswith("built on stale clip_embeddings") for why in inherited)
    at_work.work()
    assert at_work.built == {
        "clip_embeddings",
        "calibrations",
        "filtered_pairs",
        "kept",
        "all_kept",
        "partition_states",
    }
    assert unfinished(at_work.settings) == {}


def test_a_new_code_version_makes_that_stage_run(
    daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = TABLES["unique_pairs"]
    monkeypatch.setitem(TABLES, "unique_pairs", dataclasses.replace(stage, code_version="next"))
    at_work = daemon()
    stale = shown(at_work)
    reason = f"code version {stage.code_version}, now next"
    assert stale["unique_pairs", f"crawl={OLD}/bucket=0"] == ("stale", reason)
    at_work.work()
    # Its rows came out equal, so nothing that is built on them had to be built again.
    assert at_work.built == {"unique_pairs", "kept", "all_kept", "partition_states"}
    assert unfinished(at_work.settings) == {}


def test_a_crawl_that_comes_later_than_its_successors_makes_them_run_once_more(
    daemon: Callable[..., Daemon],
    make_settings: MakeSettings,
    instance: dg.DagsterInstance,
    undisturbed: Built,
    tmp_path: Path,
) -> None:
    settings = make_settings(tmp_path / "late", models=str(tmp_path / "none"))
    (tmp_path / "none" / "models").mkdir(parents=True)
    instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), [NEW])
    at_work = Daemon(settings, instance)
    at_work.work()
    lake = settings.open_lake()
    assert lake.ledger("unique_pairs").periods == {NEW}
    instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), [OLD])
    at_work.ran.clear()
    at_work.work()
    assert unfinished(settings) == {}
    assert digests(settings.open_lake(), "unique_pairs") == digests(undisturbed.lake, "unique_pairs")
    again = [key for key, _ in at_work.runs_of("unique_pairs") if NEW in key]
    assert again == [f"{NEW}|0...{NEW}|1"]
    assert not [key for key, _ in at_work.runs_of("candidate_pairs") if NEW in key]


# -- crawls -----------------------------------------------------------------------------------------------------------


def test_crawls_are_registered_once_from_the_first_that_is_wanted(
    make_settings: MakeSettings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    later = Daemon(make_settings(tmp_path / "lake", automation=AutomationOptions(first_crawl=NEW)), instance)
    later.find_crawls()
    assert instance.get_dynamic_partitions(str(CRAWL_PARTITIONS.name)) == [NEW]
    assert later.find_crawls() == "all 1 crawls are registered"
    Daemon(make_settings(tmp_path / "lake"), instance).find_crawls()
    assert sorted(instance.get_dynamic_partitions(str(CRAWL_PARTITIONS.name))) == [OLD, NEW]


@pytest.mark.parametrize("source", ["s3://commoncrawl", "https://data.commoncrawl.org"])
def test_nothing_of_the_real_common_crawl_is_taken_on_unasked(
    make_settings: MakeSettings, instance: dg.DagsterInstance, tmp_path: Path, source: str
) -> None:
    why = Daemon(make_settings(tmp_path / "lake", source=source), instance).find_crawls()
    assert "LAION_AUTOMATION__FIRST_CRAWL" in str(why)
    assert instance.get_dynamic_partitions(str(CRAWL_PARTITIONS.name)) == []


def test_a_source_that_is_not_there_is_asked_again_later(
    make_settings: MakeSettings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    why = Daemon(make_settings(tmp_path / "lake", source="http://127.0.0.1:9"), instance).find_crawls()
    assert "cannot be read, and is asked for again later" in str(why)
    why = Daemon(make_settings(tmp_path / "lake", source=str(tmp_path / "nowhere")), instance).find_crawls()
    assert "cannot be read" in str(why)


def test_a_name_that_cannot_be_a_partition_is_refused_and_the_others_are_taken(
    make_settings: MakeSettings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "collinfo.json").write_text('[{"id": "CC-1"}, {"id": "CC|2"}, {"id": "../3"}]')
    Daemon(make_settings(tmp_path / "lake", source=str(source)), instance).find_crawls()
    assert instance.get_dynamic_partitions(str(CRAWL_PARTITIONS.name)) == ["CC-1"]
