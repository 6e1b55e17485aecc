"""Selections: the pairs that a recipe's table and predicate name, each once, at the versions asked for."""

import shutil

import polars as pl
import pytest

from laion_assets.delta.build import lake_build
from laion_assets.delta.errors import CheckOutcome, LakeError
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import lake_at
from laion_assets.release.selection import RELEASING
from laion_assets.sql.build import build_model, record_verdict
from laion_assets.sql.project import load_project
from laion_assets.sql.selection import SELECTED, open_selection, selected_from, training_stage
from laion_assets.tables.catalogue import TABLES
from tests.unit.sql.model_files import PROVENANCE, declared, write_model
from tests.unit.sql.shipped_lake import NEW, OLD, PAIRS, shipped_lake

ALWAYS = {read.table for read in TABLES["training_sets"].reads}


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Two crawls up to filtered_pairs. Not to be written to."""
    return shipped_lake(str(tmp_path_factory.mktemp("lake") / "lake"))


@pytest.fixture
def own_lake(lake, tmp_path) -> Lake:
    """A copy of it, to be written to."""
    return lake_at(str(shutil.copytree(lake.root, tmp_path / "lake")))


SHIPPED = load_project()


def selected(lake, source, where="true", versions=None, project=SHIPPED, columns="pair_id, bucket"):
    """What is selected, and the version of every table that was read."""
    with lake_build(lake, "training_sets", {"recipe": "some"}, PROVENANCE) as build:
        open_selection(build, project, source, where, versions or {})
        return build.con.sql(f"SELECT {columns} FROM {SELECTED} ORDER BY ALL").fetchall(), build.read_versions


def selected_of(lake, source, where, only):
    """What is selected of one part of a release."""
    place = {"release": "some", **only}
    with lake_build(lake, "release_files", place, PROVENANCE) as build:
        open_selection(build, SHIPPED, source, where, {}, by=RELEASING, only=only)
        found = build.con.sql(f"SELECT pair_id, bucket FROM {SELECTED} ORDER BY ALL").fetchall()
        return found, build.con.sql("SELECT count(*) FROM unique_pairs").fetchone()[0]


def ids(wanted):
    return sorted((pair.pair_id, pair.bucket) for pair in PAIRS if wanted(pair))


@pytest.mark.parametrize(
    ("source", "where", "wanted"),
    [
        ("unique_pairs", "true", lambda pair: True),
        ("unique_pairs", "text LIKE '%car%' AND bucket = 0", lambda pair: "car" in pair.text and pair.bucket == 0),
        ("filtered_pairs", "true", lambda pair: pair.released),
        ("filtered_pairs", "similarity > 0.4 OR subset = 'multi'", lambda p: p.released and p.pair_id in (1, 4, 7)
         and (p.similarity > 0.4 or p.language == "de")),
        # Two encoders scored the English pairs: there are two rows of each, and each is selected once.
        ("scored_pairs", "true", lambda pair: pair.similarity is not None),
        ("scored_pairs", "released", lambda pair: pair.released),
        ("scored_pairs", "released -- and no others", lambda pair: pair.released),
        ("scored_pairs", "false", lambda pair: False),
    ],
)  # fmt: skip
def test_each_pair_that_the_predicate_names_is_selected_once(lake, source, where, wanted):
    assert selected(lake, source, where)[0] == ids(wanted)


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("unique_pairs", "true"),
        ("unique_pairs", "text LIKE '%car%' -- and no others"),
        ("filtered_pairs", "similarity > 0.2"),
        ("unique_pairs", "pair_id > (SELECT avg(pair_id) FROM unique_pairs)"),
        ("scored_pairs", "released"),
    ],
)
def test_the_parts_of_a_selection_are_all_of_it(lake, source, where):
    parts = [{"crawl": crawl, "bucket": bucket} for crawl in (OLD, NEW) for bucket in (0, 1)]
    found = [selected_of(lake, source, where, only) for only in parts]
    assert sorted(pair for part, _ in found for pair in part) == selected(lake, source, where)[0]
    assert len([part for part, _ in found if part]) > 1


def test_a_part_is_read_alone_where_the_predicate_looks_at_no_other(lake):
    only = {"crawl": OLD, "bucket": 1}
    of_part = len([pair for pair in PAIRS if (pair.crawl, pair.bucket) == (OLD, 1)])
    assert selected_of(lake, "unique_pairs", "true", only)[1] == of_part
    assert selected_of(lake, "unique_pairs", "pair_id IN (SELECT 1)", only)[1] == len(PAIRS)


def test_a_pair_leads_to_its_picture_and_its_record(lake):
    names = "pair_id, crawl, url, text, language, sha256, path, width"
    found, _ = selected(lake, "unique_pairs", "pair_id IN (1, 3) AND bucket = 1", columns=names)
    [kept, gone] = [pair for pair in PAIRS if pair.bucket == 1 and pair.pair_id in (1, 3)]
    assert found == [
        (1, OLD, kept.url, kept.text, "de", kept.sha256, "x", 10),
        (3, OLD, gone.url, gone.text, "en", None, "x", None),
    ]


def test_what_a_selection_is_built_from_follows_its_source():
    def reads(source):
        return {read.table: read.periods for read in training_stage(SHIPPED, source).reads}

    assert set(reads("unique_pairs")) == ALWAYS
    assert set(reads("filtered_pairs")) == {*ALWAYS, "filtered_pairs"}
    assert set(reads("scored_pairs")) == {*ALWAYS, "clip_embeddings", "filtered_pairs"}
    assert set(reads("laion_thresholds")) == {*ALWAYS, "laion_thresholds"}, "a table is read, not what it is made of"
    assert {reads("scored_pairs")[table] for table in ("unique_pairs", "clip_embeddings", "filtered_pairs")} == {"all"}


def test_edges_are_those_of_all_sources_and_a_bad_source_stops_none():
    found = selected_from(["scored_pairs", "laion_thresholds", "concepts", "nowhere", "wat_files"], SHIPPED)
    assert found == {"clip_embeddings": True, "filtered_pairs": True, "laion_thresholds": True}
    assert selected_from(["unique_pairs"], SHIPPED) == {}


@pytest.mark.parametrize(
    ("source", "where", "versions", "said"),
    [
        ("nowhere", "true", {}, "'nowhere', and there is no such table or enabled SQL model"),
        ("laion_thresholds", "true", {}, "holds nothing yet; `laion models run --select laion_thresholds` builds"),
        ("filtered_pairs", "true", {"filtered_pairs": 0}, "which holds nothing at version 0; `laion build` builds it"),
        ("wat_files", "true", {}, "it has no column bucket, pair_id"),
        ("calibrations", "true", {}, "it has no column crawl, bucket, pair_id"),
        ("funnel", "true", {}, "it has no column bucket, pair_id"),
        ("filtered_pairs", "similarty > 0.3", {}, "(?s)selection from filtered_pairs is wrong: .*similarty"),
        ("filtered_pairs", "similarity >", {}, "(?s)selection from filtered_pairs is wrong: .*syntax error"),
        ("filtered_pairs", "true; DROP VIEW images", {}, "(?s)selection from filtered_pairs is wrong: .*syntax error"),
        ("filtered_pairs", "count(*) > 1", {}, "(?s)selection from filtered_pairs is wrong: .*WHERE"),
        ("filtered_pairs", "true", {"images": 999}, r"images has the versions 0 to \d+, and its version 999"),
        ("filtered_pairs", "true", {"clip_embeddings": 1}, "not read; it reads filtered_pairs, images, unique_pairs$"),
        ("filtered_pairs", "true", {"benchmark_images": 0}, "pins benchmark_images: removal requests and evaluation"),
    ],
)  # fmt: skip
def test_what_cannot_be_selected_says_why(lake, source, where, versions, said):
    with pytest.raises(LakeError, match=said):
        selected(lake, source, where, versions)


def test_an_earlier_version_gives_what_was_there_then(own_lake):
    place = {"crawl": OLD, "bucket": 0}
    names = [c.name for c in own_lake.tables["filtered_pairs"].columns if c.name not in place]
    earlier = own_lake.sizes("filtered_pairs")["version"]
    rows = own_lake.rows("filtered_pairs", place, names)
    with lake_build(own_lake, "filtered_pairs", place, PROVENANCE) as build:
        build.add(rows.filter(pl.col("pair_id") == 1))
        build.rows_in = 1
        build.publish()
    now = ids(lambda pair: pair.released and (pair.crawl, pair.bucket, pair.pair_id) != (OLD, 0, 2))
    assert selected(own_lake, "filtered_pairs")[0] == now
    found, read = selected(own_lake, "filtered_pairs", versions={"filtered_pairs": earlier})
    assert found == ids(lambda pair: pair.released)
    assert read["filtered_pairs"] == earlier
    assert read["unique_pairs"] == own_lake.sizes("unique_pairs")["version"]
    # Of a view's tables any may have been empty, or not there at all, which -1 stands for.
    for version in (0, -1):
        assert selected(own_lake, "scored_pairs", "released", {"filtered_pairs": version})[0] == []


@pytest.fixture
def model(own_lake, tmp_path):
    """``model(limit)`` builds a table model that keeps the pairs with a higher pair_id; gives its project."""

    def build(limit):
        header = "materialized: incremental_by_crawl\ntests:\n  - unique: [crawl, bucket, pair_id]"
        sql = f"SELECT crawl, bucket, pair_id FROM {{{{ source('filtered_pairs') }}}} WHERE pair_id > {limit}"
        write_model(tmp_path / "project", "kept", sql, header=header)
        project = declared(own_lake, tmp_path / "project")
        for crawl in (OLD, NEW):
            build_model(own_lake, project, "kept", {"crawl": crawl}, "run")
        return project

    return build


def test_a_model_s_earlier_rows_are_not_judged_by_the_verdict_on_its_present_ones(own_lake, model):
    model(0)
    earlier = own_lake.sizes("kept")["version"]
    project = model(3)
    assert selected(own_lake, "kept", project=project)[0] == ids(lambda p: p.released and p.pair_id > 3)
    found, _ = selected(own_lake, "kept", versions={"kept": earlier}, project=project)
    assert found == ids(lambda pair: pair.released)


def test_a_model_whose_tests_failed_is_not_selected_from(own_lake, model):
    project = model(0)
    commit = own_lake.commit("kept", {"crawl": NEW})
    failed = (CheckOutcome("unique_crawl_bucket_pair_id", False, "two rows", 2),)
    record_verdict(own_lake, project.models["kept"], {"crawl": NEW}, failed, commit.content_digest, "run")
    with pytest.raises(LakeError, match="whose tests failed"):
        selected(own_lake, "kept", project=project)
    with pytest.raises(LakeError, match="whose tests failed"):
        selected(own_lake, "kept", versions={"kept": own_lake.sizes("kept")["version"]}, project=project)
