"""Models are built from pinned inputs, tested before they are published, and not built on when their tests failed."""

import json

import polars as pl
import pytest
from deltalake import DeltaTable

from laion_assets.delta import writing
from laion_assets.delta.build import lake_build
from laion_assets.delta.errors import (
    PartitionBusy,
    UpstreamMissing,
    UpstreamTestsFailed,
    ValidationFailed,
    without_texts,
)
from laion_assets.delta.inputs import Inputs
from laion_assets.delta.repair import mark_damaged
from laion_assets.delta.states import State
from laion_assets.lake.opening import lake_at, open_lake
from laion_assets.lake.takedowns import request_takedown
from laion_assets.sql.build import (
    build_model,
    model_state,
    open_inputs,
    partitions_of_model,
    record_verdict,
    run_tests,
    stage_rows,
    test_model,
)
from laion_assets.sql.session import connect
from laion_assets.sql.verdicts import failed_tests, verdict
from tests.unit.sql.model_files import PROVENANCE, declared, publish_files, write_model, write_test

test_published = test_model  # pytest would take the name for a test of its own
del test_model
test_published.__test__ = False

OLD, NEW = "CC-MAIN-2026-04", "CC-MAIN-2026-08"
BY_CRAWL = "materialized: incremental_by_crawl"
COUNTS = "SELECT crawl, count(*) AS files FROM {{ source('wat_files') }} GROUP BY crawl"


@pytest.fixture
def lake(tmp_path):
    lake = open_lake(str(tmp_path / "lake"))
    publish_files(lake, OLD, "a", "b")
    publish_files(lake, NEW, "c")
    return lake


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "project"


def rows(lake, table):
    return sorted(pl.read_delta(lake.path(table)).rows())


def test_a_model_that_needs_a_table_is_built_for_the_crawls_that_it_has(lake, folder):
    for needed in ("wat_files", "candidate_pairs"):
        write_model(folder, f"with_{needed}", COUNTS, header=f"{BY_CRAWL}\ndescription: It.\nonly_with: {needed}")
    project = declared(lake, folder)
    assert partitions_of_model(lake, project.models["with_wat_files"]) == [{"crawl": OLD}, {"crawl": NEW}]
    assert partitions_of_model(lake, project.models["with_candidate_pairs"]) == []


def build(lake, folder, name, partition=None):
    return build_model(lake, declared(lake, folder), name, partition or {}, "run")


def states(lake, folder):
    project = declared(lake, folder)
    judged = {}
    for name, model in project.enabled.items():
        for partition in partitions_of_model(lake, model):
            state = model_state(project, lake, name, partition, Inputs(lake, judged))
            judged[name, str(partition.get("crawl", "all"))] = state
    return judged


def test_a_table_sees_every_crawl_and_an_incremental_model_its_own(lake, folder):
    write_model(folder, "whole", COUNTS)
    write_model(folder, "parts", COUNTS, header=BY_CRAWL)
    build(lake, folder, "whole")
    build(lake, folder, "parts", {"crawl": OLD})
    assert rows(lake, "whole") == [(OLD, 2), (NEW, 1)]
    assert rows(lake, "parts") == [(OLD, 2)]
    build(lake, folder, "parts", {"crawl": NEW})
    assert rows(lake, "parts") == [(OLD, 2), (NEW, 1)]


def test_a_view_inside_an_incremental_model_shows_that_crawl_alone(lake, folder):
    write_model(folder, "every", "SELECT * FROM {{ source('wat_files') }}", header="materialized: view")
    write_model(folder, "parts", "SELECT crawl, count(*) AS n FROM {{ ref('every') }} GROUP BY ALL", header=BY_CRAWL)
    commit, _ = build(lake, folder, "parts", {"crawl": OLD})
    assert rows(lake, "parts") == [(OLD, 2)]
    assert commit.upstreams["wat_files"].partitions == 1


def test_the_crawl_is_filled_in(lake, folder):
    sql = "SELECT {{ crawl }} AS crawl, count(*) AS n FROM {{ source('wat_files') }}"
    write_model(folder, "parts", sql, header=BY_CRAWL)
    build(lake, folder, "parts", {"crawl": NEW})
    assert rows(lake, "parts") == [(NEW, 1)]


def test_rows_of_another_crawl_are_refused(lake, folder):
    write_model(folder, "parts", f"SELECT '{OLD}' AS crawl, 1 AS n", header=BY_CRAWL)
    with pytest.raises(ValidationFailed, match="rows of another crawl: 1 rows"):
        build(lake, folder, "parts", {"crawl": NEW})


def test_a_commit_says_what_was_read(lake, folder):
    write_model(folder, "whole", COUNTS)
    commit, _ = build(lake, folder, "whole")
    read = commit.upstreams["wat_files"]
    assert (read.version, read.partitions) == (lake.ledger("wat_files").version, 2)


def test_what_is_not_built_cannot_be_built_on(lake, folder):
    write_model(folder, "first", COUNTS)
    write_model(folder, "second", "SELECT * FROM {{ ref('first') }}")
    write_model(folder, "third", "SELECT crawl, url FROM {{ source('unique_pairs') }}", header=BY_CRAWL)
    with pytest.raises(UpstreamMissing, match=r"first \[all\] has not been built"):
        build(lake, folder, "second")
    with pytest.raises(UpstreamMissing, match="unique_pairs"):
        build(lake, folder, "third", {"crawl": OLD})


HEADER = """materialized: table
description: Paths.
columns:
  path:
    description: The path.
    tests: [not_null, unique, {accepted_values: [a, b, c]}]
  number:
    description: The number.
    tests: [{range: {min: 0, max: 1}}]
  crawl:
    description: The crawl.
    tests: [{relationships: {to: wat_files, column: crawl}}]
"""
PATHS = "SELECT path, crawl, file_number AS number FROM {{ source('wat_files') }}"


def test_every_kind_of_test_passes_where_it_should(lake, folder):
    write_model(folder, "paths", PATHS, header=HEADER)
    _, outcomes = build(lake, folder, "paths")
    assert {outcome.name: outcome.passed for outcome in outcomes} == {
        "not_null_path": True,
        "unique_path": True,
        "accepted_values_path": True,
        "range_number": True,
        "relationships_crawl": True,
    }


@pytest.mark.parametrize(
    ("row", "test", "sample"),
    [
        (f"NULL, '{NEW}', 0", "not_null_path", {"path": None}),
        (f"'a', '{NEW}', 0", "unique_path", {"path": "a", "copies": 2}),
        (f"'d', '{NEW}', 0", "accepted_values_path", {"path": "d"}),
        (f"'c', '{NEW}', 2", "range_number", {"path": "c", "number": 2}),
        (f"'c', '{NEW}', -1", "range_number", {"path": "c", "number": -1}),
        ("'c', 'nowhere', 0", "relationships_crawl", {"path": "c", "crawl": "nowhere"}),
    ],
)
def test_a_failing_test_says_which_rows_and_publishes_nothing(lake, folder, row, test, sample):
    file = write_model(folder, "paths", f"{PATHS} WHERE path <> 'c'", header=HEADER)
    build(lake, folder, "paths")
    before = rows(lake, "paths")
    file.write_text(f"{file.read_text()} UNION ALL SELECT {row}")
    with pytest.raises(ValidationFailed) as caught:
        build(lake, folder, "paths")
    [failed] = [check for check in caught.value.checks if not check.passed]
    assert (failed.name, failed.sample) == (test, (sample,))
    assert str(without_texts(sample)) in str(caught.value), "what it says outlives rows"
    assert rows(lake, "paths") == before
    recorded = pl.read_delta(lake.path("model_tests")).filter(~pl.col("passed"))
    assert recorded.select("model", "scope", "test", "failing_rows").rows() == [("paths", "all", test, failed.failing)]
    assert json.loads(recorded["sample"][0]) == [sample]


def test_a_singular_test_must_find_no_row(lake, folder):
    write_model(folder, "whole", COUNTS)
    write_test(folder, "no_small_crawl", "SELECT * FROM {{ ref('whole') }} WHERE files < 2", "Crawls are large.")
    with pytest.raises(ValidationFailed, match=r"no_small_crawl: rows that break: Crawls are large\.: 1 rows"):
        build(lake, folder, "whole")
    assert not lake.exists("whole")


def failing(lake, folder, *, header="materialized: table", partition=None):
    """A model whose rows were published, and whose test fails now; and one that is built on it."""
    file = write_model(folder, "first", COUNTS, header=header)
    write_model(folder, "second", "SELECT crawl, files FROM {{ ref('first') }}", header=header)
    project = declared(lake, folder)
    for place in partitions_of_model(lake, project.models["first"]):
        build_model(lake, project, "first", place, "run")
    write_test(folder, "large", "SELECT * FROM {{ ref('first') }} WHERE files < 2")
    with pytest.raises(ValidationFailed):
        build(lake, folder, "first", partition)
    return file


def test_what_failed_its_tests_is_not_built_on_in_a_later_run(lake, folder, tmp_path):
    failing(lake, folder)
    assert rows(lake, "first") == [(OLD, 2), (NEW, 1)]  # what was published before stands
    later = lake_at(str(tmp_path / "lake"))
    with pytest.raises(
        UpstreamTestsFailed, match=r"second is built on first \[all\], whose tests failed: large \(1 rows"
    ):
        build(later, folder, "second")
    assert not later.exists("second")
    publish_files(later, NEW, "c", "d")
    build(later, folder, "first")
    build(later, folder, "second")
    assert rows(later, "second") == [(OLD, 2), (NEW, 2)]


def test_a_failed_test_stops_its_own_crawl_alone(lake, folder):
    failing(lake, folder, header=BY_CRAWL, partition={"crawl": NEW})
    build(lake, folder, "second", {"crawl": OLD})
    with pytest.raises(UpstreamTestsFailed, match=f"first .crawl={NEW}."):
        build(lake, folder, "second", {"crawl": NEW})
    assert rows(lake, "second") == [(OLD, 2)]


def test_a_view_whose_tests_failed_is_not_built_on(lake, folder):
    write_model(folder, "first", COUNTS, header="materialized: view")
    write_model(folder, "second", "SELECT crawl, files FROM {{ ref('first') }}")
    write_test(folder, "large", "SELECT * FROM {{ ref('first') }} WHERE files < 2")
    with pytest.raises(ValidationFailed):
        build(lake, folder, "first")
    with pytest.raises(UpstreamTestsFailed, match="second is built on first"):
        build(lake, folder, "second")
    publish_files(lake, NEW, "c", "d")
    build(lake, folder, "first")
    build(lake, folder, "second")
    assert rows(lake, "second") == [(OLD, 2), (NEW, 2)]


def test_tests_run_on_what_is_published_too(lake, folder):
    failing(lake, folder)
    [outcome] = test_published(lake, declared(lake, folder), "first", {}, "")
    assert (outcome.passed, outcome.failing) == (False, 1)
    write_test(folder, "large", "SELECT * FROM {{ ref('first') }} WHERE files < 1")
    [outcome] = test_published(lake, declared(lake, folder), "first", {}, "")
    assert outcome.passed
    assert failed_tests(verdict(lake, "first", {})) == {}
    build(lake, folder, "second")


def test_a_model_is_stale_when_its_inputs_sql_or_verdict_say_so(lake, folder):
    header = "materialized: table\ntests:\n  - unique: [crawl]"
    file = write_model(folder, "whole", COUNTS, header=header)
    write_model(folder, "seen", "SELECT crawl FROM {{ ref('whole') }}", header="materialized: view")
    write_model(folder, "last", "SELECT crawl FROM {{ ref('seen') }}")

    def state(name):
        found = states(lake, folder)[name, "all"]
        return found.state, found.reasons, bool(found.inherited)

    assert state("whole") == (State.MISSING, (), False)
    build(lake, folder, "whole")
    build(lake, folder, "last")
    assert state("whole") == (State.DONE, (), False)
    assert state("last") == (State.DONE, (), False)
    publish_files(lake, NEW, "c", "d", "e")
    assert state("whole") == (State.STALE, ("wat_files changed",), False)
    assert state("last") == (State.STALE, (), True)
    build(lake, folder, "whole")
    assert state("whole") == (State.DONE, (), False)
    assert state("last") == (State.STALE, ("whole changed",), False)
    file.write_text(file.read_text().replace("A model.", "Described better."))
    assert state("whole") == (State.DONE, (), False)
    file.write_text(file.read_text().replace("count(*)", "count(*) + 1"))
    assert state("whole")[0] is State.STALE
    assert "code version" in state("whole")[1][0]
    build(lake, folder, "whole")
    file.write_text(file.read_text().replace("unique: [crawl]", "unique: [files]"))
    assert state("whole") == (State.STALE, ("tests changed",), False)


def test_equal_rows_make_nothing_stale(lake, folder):
    write_model(folder, "whole", COUNTS)
    write_model(folder, "last", "SELECT crawl FROM {{ ref('whole') }}")
    build(lake, folder, "whole")
    build(lake, folder, "last")
    publish_files(lake, NEW, "z")  # another path, as many files
    build(lake, folder, "whole")
    assert states(lake, folder)["last", "all"].state is State.DONE


def test_other_columns_take_the_place_of_those_before(lake, folder, tmp_path):
    file = write_model(folder, "parts", COUNTS, header=BY_CRAWL)
    for crawl in (OLD, NEW):
        build(lake, folder, "parts", {"crawl": crawl})
    version = lake.sizes("parts")["version"]
    file.write_text(file.read_text().replace("count(*) AS files", "count(*)::VARCHAR AS counted"))
    build(lake, folder, "parts", {"crawl": NEW})
    assert rows(lake, "parts") == [(NEW, "1")]
    assert states(lake, folder)["parts", OLD].state is State.MISSING
    assert states(lake, folder)["parts", NEW].state is State.DONE
    before = pl.read_delta(lake.path("parts"), version=version)
    assert sorted(before.rows()) == [(OLD, 2), (NEW, 1)]
    fresh = lake_at(str(tmp_path / "lake"))
    assert list(fresh.ledger("parts").commits) == [f"crawl={NEW}"]


def test_a_column_may_be_described_in_other_words(lake, folder):
    header = "materialized: table\ndescription: Files.\ncolumns:\n  files: Files of a crawl."
    file = write_model(folder, "whole", COUNTS, header=header)
    build(lake, folder, "whole")
    file.write_text(file.read_text().replace("Files of a crawl", "How many files a crawl has"))
    build(lake, folder, "whole")
    assert rows(lake, "whole") == [(OLD, 2), (NEW, 1)]


def test_a_table_that_another_tool_wrote_into_is_not_built_on(lake, folder):
    write_model(folder, "whole", COUNTS)
    write_model(folder, "last", "SELECT crawl FROM {{ ref('whole') }}")
    build(lake, folder, "whole")
    pl.DataFrame({"crawl": ["x"], "files": [1]}).write_delta(lake.path("whole"), mode="append")
    with pytest.raises(Exception, match="without validation"):
        build(lake, folder, "last")


def test_the_records_of_commits_are_a_source(lake, folder):
    sql = "SELECT crawl, table_name, \"rows\" AS n FROM {{ source('commits') }}"
    write_model(folder, "kept", sql)
    build(lake, folder, "kept")
    assert rows(lake, "kept") == [(OLD, "wat_files", 2), (NEW, "wat_files", 1)]
    with connect(lake, models=folder) as con:
        shown = con.sql("SELECT crawl, table_name, \"rows\" FROM commits WHERE table_name = 'wat_files'").fetchall()
    assert sorted(shown) == rows(lake, "kept")


def test_an_empty_result_empties_the_table(lake, folder):
    file = write_model(folder, "whole", COUNTS)
    build(lake, folder, "whole")
    file.write_text(file.read_text().replace("GROUP BY", "WHERE false GROUP BY"))
    commit, _ = build(lake, folder, "whole")
    assert commit.rows == 0
    assert rows(lake, "whole") == []


def test_the_same_rows_come_out_again(lake, folder):
    write_model(folder, "whole", COUNTS)
    assert build(lake, folder, "whole")[0].content_digest == build(lake, folder, "whole")[0].content_digest


def test_columns_stand_in_their_declared_order(lake, folder):
    """Where they are taken by position, and also where a crawl of the input is empty."""
    write_model(folder, "first", "SELECT crawl, path, file_number AS n FROM {{ source('wat_files') }}", header=BY_CRAWL)
    write_model(folder, "second", "SELECT c, p, n FROM {{ ref('first') }} AS x(c, p, n)")
    publish_files(lake, NEW)
    for crawl in (OLD, NEW):
        build(lake, folder, "first", {"crawl": crawl})
    build(lake, folder, "second")
    assert rows(lake, "second") == [(OLD, "a", 0), (OLD, "b", 1)]


def test_of_two_processes_that_build_a_whole_table_at_once_one_is_refused(lake, folder, monkeypatch):
    write_model(folder, "whole", COUNTS)
    batches = writing._batches

    def overtaken(*arguments):
        monkeypatch.setattr(writing, "_batches", batches)
        build(lake_at(str(lake.root)), folder, "whole")
        return batches(*arguments)

    monkeypatch.setattr(writing, "_batches", overtaken)
    with pytest.raises(PartitionBusy):
        build(lake, folder, "whole")
    assert rows(lake, "whole") == [(OLD, 2), (NEW, 1)]


def test_a_good_verdict_on_rows_that_were_never_published_is_not_believed(lake, folder):
    """As after a process that died between the two."""
    write_model(folder, "first", COUNTS)
    write_model(folder, "second", "SELECT crawl, files FROM {{ ref('first') }}")
    build(lake, folder, "first")
    write_test(folder, "large", "SELECT * FROM {{ ref('first') }} WHERE files < 2")
    publish_files(lake, NEW, "c", "d")
    with pytest.raises(KeyboardInterrupt):
        _build_until_killed(lake, folder)
    assert failed_tests(verdict(lake, "first", {})) == {}
    with pytest.raises(UpstreamTestsFailed, match="other rows than those that are published"):
        build(lake, folder, "second")
    assert "tests judged other rows" in states(lake, folder)["first", "all"].reasons
    build(lake, folder, "first")
    build(lake, folder, "second")
    assert rows(lake, "second") == [(OLD, 2), (NEW, 2)]


def _build_until_killed(lake, folder):
    """Stage, test and record ``first``, and die before publishing it."""
    project = declared(lake, folder)
    model = project.models["first"]
    with lake_build(lake, "first", {}, PROVENANCE) as building:
        open_inputs(building, project, "first", {})
        stage_rows(building, model)
        outcomes = run_tests(building.con, model, {})
        record_verdict(lake, model, {}, outcomes, building.staged_digest(), "run")
        raise KeyboardInterrupt


def test_vectors_count_as_content(lake, folder):
    file = write_model(folder, "centre", "SELECT [1.0, 2.0]::FLOAT[] AS v")
    write_model(folder, "last", "SELECT v[1] AS x FROM {{ ref('centre') }}")
    build(lake, folder, "centre")
    build(lake, folder, "last")
    file.write_text(file.read_text().replace("1.0", "9.0"))
    build(lake, folder, "centre")
    assert states(lake, folder)["last", "all"].reasons == ("centre changed",)


def test_a_column_of_another_type_upstream_makes_a_model_stale(lake, folder):
    file = write_model(folder, "first", "SELECT 1::INTEGER AS n")
    write_model(folder, "second", "SELECT * FROM {{ ref('first') }}")
    build(lake, folder, "first")
    build(lake, folder, "second")
    file.write_text(file.read_text().replace("INTEGER", "BIGINT"))
    build(lake, folder, "first")
    assert states(lake, folder)["second", "all"].state is State.STALE


def test_what_is_built_on_a_view_whose_tests_failed_says_so(lake, folder):
    write_model(folder, "first", COUNTS, header="materialized: view")
    write_model(folder, "second", "SELECT crawl, files FROM {{ ref('first') }}")
    build(lake, folder, "second")
    write_test(folder, "large", "SELECT * FROM {{ ref('first') }} WHERE files < 2")
    with pytest.raises(ValidationFailed):
        build(lake, folder, "first")
    found = states(lake, folder)["second", "all"]
    assert (found.state, found.inherited) == (State.STALE, ("first: test large failed",))


def test_a_test_of_nulls_may_be_taken_away(lake, folder):
    header = "materialized: table\ndescription: It.\ncolumns:\n  n: {description: N, tests: [not_null]}"
    file = write_model(folder, "whole", "SELECT 1 AS n", header=header)
    build(lake, folder, "whole")
    file.write_text(file.read_text().replace(", tests: [not_null]", "").replace("1 AS n", "NULL::INTEGER AS n"))
    build(lake, folder, "whole")
    assert rows(lake, "whole") == [(None,)]


def test_a_table_that_another_tool_replaced_is_not_taken_for_an_empty_one(lake):
    request_takedown(lake, "url", "https://example.org/a.jpg", None)
    declared_columns = lake.tables["takedowns"].schema
    DeltaTable.create(lake.path("takedowns"), schema=declared_columns, partition_by=["kind"], mode="overwrite")
    ledger = lake_at(str(lake.root)).ledger("takedowns")
    assert not any(ledger.is_trusted(commit) for commit in ledger.commits.values())
    assert ledger.commits


def test_a_declared_table_needs_a_name_of_its_own(lake):
    with pytest.raises(Exception, match="the catalogue declares wat_files already"):
        lake.declare([lake.tables["wat_files"]])
    with lake_build(lake, "wat_files", {"crawl": OLD}, PROVENANCE) as unchanged:
        assert not unchanged.table.model


def test_a_damaged_verdict_is_found_out_again(lake, folder):
    write_model(folder, "first", COUNTS)
    write_test(folder, "large", "SELECT * FROM {{ ref('first') }} WHERE files < 1")
    build(lake, folder, "first")
    assert states(lake, folder)["first", "all"].state is State.DONE
    mark_damaged(lake, verdict(lake, "first", {}), [])
    assert states(lake, folder)["first", "all"].reasons == ("what its tests found is damaged",)
    build(lake, folder, "first")
    assert states(lake, folder)["first", "all"].state is State.DONE
