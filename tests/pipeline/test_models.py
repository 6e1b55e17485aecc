"""The SQL models on a whole lake: shipped ones, and small ones that fail, as Dagster runs."""

import dagster as dg
import polars as pl
import pytest
from dagster import AssetKey

from laion_assets.delta.states import State
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.partitions import CRAWLS as CRAWL_PARTITIONS
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.models import ModelRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.sql.build import model_states
from laion_assets.sql.project import load_project
from laion_assets.sql.session import connect
from tests.pipeline.conftest import Quiet, evaluations
from tests.unit.sql.model_files import declared, write_model, write_test

FILES = "SELECT crawl, count(*) AS files FROM {{ source('wat_files') }} GROUP BY crawl"
BY_CRAWL = "materialized: incremental_by_crawl\ndescription: Files.\ntests:\n  - unique: [crawl]"


@pytest.fixture
def build(instance):
    """``build(settings, *patterns)`` builds what is due of the models of some settings."""

    def run(settings, *patterns, force=False):
        project = load_project(settings.models)
        reporter = Quiet()
        request = ModelRequest(models=project.select(patterns), force=force)
        outcome = Builder(settings, instance, reporter).build(request)
        assert reporter.failures == outcome.failures
        return outcome

    return run


@pytest.fixture
def small(lake_copy, tmp_path):
    """Settings of a lake with a project of its own, and that project's folder."""
    folder = tmp_path / "project"
    settings = lake_copy(models=str(folder))
    write_model(folder, "listed", FILES, header=BY_CRAWL)
    write_model(folder, "more", "SELECT crawl, files * 2 AS twice FROM {{ ref('listed') }}", header=BY_CRAWL)
    write_model(folder, "total", "SELECT sum(twice) AS n FROM {{ ref('more') }}")
    return settings, folder


def shown(settings, query):
    with connect(settings.open_lake(), models=settings.models) as con:
        return con.sql(query).fetchall()


def states(settings):
    lake = settings.open_lake()
    return {key: state.state for key, state in model_states(declared(lake, settings.models), lake).items()}


@pytest.mark.slow
def test_every_shipped_model_is_built_tested_and_done(lake_copy, build):
    settings = lake_copy()
    project = load_project()
    outcome = build(settings)
    assert (outcome.failures, outcome.left_out) == ([], [])
    assert set(states(settings).values()) == {State.DONE}
    again = build(settings)
    assert again.built == 0
    lake = settings.open_lake()
    verdicts = pl.read_delta(lake.path("model_tests"))
    assert verdicts["passed"].all()
    built = {name: model for name, model in project.enabled.items() if model.only_with is None}  # nothing was scored
    assert set(verdicts["model"]) == {name for name, model in built.items() if model.test_names}


def test_what_a_model_shows_in_dagster(small, build, instance):
    settings, _ = small
    build(settings)
    event = instance.get_latest_materialization_event(AssetKey("listed"))
    metadata = event.asset_materialization.metadata
    lake = settings.open_lake()
    assert metadata["delta version"].value == lake.sizes("listed")["version"]
    assert metadata["dagster/partition_row_count"].value == 1
    assert metadata["dagster/row_count"].value == 2, "of both crawls: what the page of the asset shows"
    shown = metadata["first rows"].value
    assert f"(/laion/rows/listed/crawl={event.asset_materialization.partition})" in shown, "where, and not what"
    lineage = metadata["dagster/column_lineage"].value.deps_by_column
    assert [(d.asset_key.path[-1], d.column_name) for d in lineage["crawl"]] == [("wat_files", "crawl")]
    assert [c.name for c in metadata["dagster/column_schema"].value.columns] == ["crawl", "files"]
    assert sorted(evaluations(instance, "listed", "unique_crawl")) == [(crawl, True) for crawl in sorted(CRAWLS)]


def test_a_failing_test_stops_what_is_built_on_it_in_this_run_and_in_later_ones(small, build, instance):
    settings, folder = small
    build(settings)
    before = shown(settings, "FROM listed ORDER BY ALL"), shown(settings, "FROM total")
    bad = write_test(folder, "no_late_crawl", f"SELECT * FROM {{{{ ref('listed') }}}} WHERE crawl = '{CRAWLS[1]}'")
    failed = build(settings)
    [(model, place, error)] = failed.failures
    assert (model, place) == ("listed", f"crawl={CRAWLS[1]}")
    assert "no_late_crawl" in error
    assert CRAWLS[1] in error  # the row that broke it
    assert {name for name, _ in failed.left_out} == {"more", "total"}
    assert (CRAWLS[1], False) in evaluations(instance, "listed", "no_late_crawl")
    assert (shown(settings, "FROM listed ORDER BY ALL"), shown(settings, "FROM total")) == before
    later = build(settings, "more", force=True)  # a run of its own, which has the verdict from the lake alone
    assert [(model, place) for model, place, _ in later.failures] == [("more", f"crawl={CRAWLS[1]}")]
    assert "listed" in later.failures[0][2]
    assert later.built == 1
    bad.unlink()
    assert build(settings).failures == []
    assert set(states(settings).values()) == {State.DONE}


def test_a_crawl_that_failed_holds_up_that_crawl_alone_and_all_that_is_built_on_it(small, build):
    settings, folder = small
    write_model(folder, "most", "SELECT crawl, twice * 2 AS n FROM {{ ref('more') }}", header=BY_CRAWL)
    write_test(folder, "no_late_crawl", f"SELECT * FROM {{{{ ref('listed') }}}} WHERE crawl = '{CRAWLS[1]}'")
    outcome = build(settings)
    late = f"crawl={CRAWLS[1]}"
    assert [failure[:2] for failure in outcome.failures] == [("listed", late)]
    assert sorted(outcome.left_out) == [("more", late), ("most", late), ("total", "all")]
    assert shown(settings, "SELECT DISTINCT crawl FROM most") == [(CRAWLS[0],)]


def test_a_range_of_crawls_in_one_run_is_built_and_judged_crawl_by_crawl(small, instance):
    settings, folder = small
    instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), list(CRAWLS))
    first, last = sorted(CRAWLS)

    def run():
        return (
            build_definitions(settings)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                asset_selection=[AssetKey("listed")],
                tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
                raise_on_error=False,
            )
        )

    assert run().success
    assert [row[0] for row in shown(settings, "FROM listed ORDER BY ALL")] == [first, last]
    of_listed = [m for m in run().asset_materializations_for_node("listed") if m.asset_key == AssetKey("listed")]
    assert {made.partition for made in of_listed} == {first, last}
    write_test(folder, "no_late_crawl", f"SELECT * FROM {{{{ ref('listed') }}}} WHERE crawl = '{last}'")
    assert not run().success
    lake = settings.open_lake()
    verdicts = pl.read_delta(lake.path("model_tests")).filter(pl.col("test") == "no_late_crawl")
    assert sorted(verdicts.select("scope", "passed").rows()) == [(first, True), (last, False)]


def test_a_model_is_stale_when_the_lake_was_built_further(lake_copy, build, builder, tmp_path):
    folder = tmp_path / "project"
    write_model(folder, "kept", "SELECT count(*) AS n FROM {{ source('filtered_pairs') }}")
    settings = lake_copy(models=str(folder))
    build(settings)
    [[median]] = shown(settings, "SELECT median(similarity) FROM filtered_pairs")
    [[pairs]] = shown(settings, f"SELECT count(*) FROM filtered_pairs WHERE similarity >= {median}::FLOAT")
    limits = dict.fromkeys(("threshold_en", "threshold_multi", "threshold_nolang"), median)
    stricter = settings.model_copy(update={"filter": FilterOptions(policy="laion", min_bytes=0, **limits)})
    assert builder(stricter).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert states(settings) == {("kept", "all"): State.STALE}
    [[before]] = shown(settings, "SELECT n FROM kept")
    assert build(settings).built == 1
    assert shown(settings, "SELECT n FROM kept") == [(pairs,)]
    assert 0 < pairs < before


def test_a_step_is_launched_from_the_ui_without_the_command_line(small, instance):
    settings, _ = small
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), list(CRAWLS))
    result = job.execute_in_process(
        instance=instance, asset_selection=[AssetKey("listed"), AssetKey("more")], partition_key=CRAWLS[0]
    )
    assert result.success
    assert isinstance(result, dg.ExecuteInProcessResult)
    assert [row[0] for row in shown(settings, "FROM more")] == [CRAWLS[0]]
