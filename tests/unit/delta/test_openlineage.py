"""Commits as OpenLineage events, read by the classes that the standard's project generates from its schemas."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from openlineage.client.naming.dataset import S3, LocalFileSystem

from laion_assets.delta.lake import Lake
from laion_assets.delta.lineage import Lineage
from laion_assets.delta.openlineage import Teller, dataset_of, events
from laion_assets.lake.opening import open_lake
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.origins import column_origins
from tests.openlineage import read_event
from tests.unit.delta.tables_made import FIRST, SECOND, foreign, made, made_crawl

TELLER = Teller(producer="urn:laion-lakehouse:test", origins=lambda table: column_origins(TABLES[table]))
BUCKET = f"crawl={FIRST}/bucket=0"
DAGSTER_RUN = "0b1e2f30-6b1c-4f43-9a9e-0a7c3a1d9b52"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two crawls, and one partition of pictures with drops, by a run of Dagster. Not to be written to."""
    made_lake = open_lake(str(tmp_path_factory.mktemp("events") / "lake"))
    made_crawl(made_lake, FIRST)
    made_crawl(made_lake, SECOND, earlier=[FIRST], numbers=(4, 5, 6))
    return made_lake


def told(lake: Lake, table: str, **asked: Any) -> list[dict[str, Any]]:
    known = Lineage(lake)
    return list(events(known.back(table, **asked), known, TELLER))


def last(lake: Lake, table: str, **asked: Any) -> dict[str, Any]:
    return told(lake, table, **asked)[-1]


def test_every_event_is_one_of_the_standard(lake: Lake) -> None:
    found = told(lake, "filtered_pairs")
    assert len(found) == 2 * len(Lineage(lake).back("filtered_pairs").nodes) > 20
    for event in found:
        read_event(event)


def test_a_run_begins_and_ends_once_and_its_number_is_always_the_same(lake: Lake) -> None:
    found = told(lake, "filtered_pairs")
    runs: dict[str, list[str]] = {}
    for event in found:
        runs.setdefault(event["run"]["runId"], []).append(event["eventType"])
        assert UUID(event["run"]["runId"])
    assert set(map(tuple, runs.values())) == {("START", "COMPLETE")}
    assert found == told(lake, "filtered_pairs")
    assert all(start["eventTime"] <= end["eventTime"] for start, end in zip(found[::2], found[1::2], strict=True))


def test_what_is_read_is_told_before_what_reads_it_with_the_versions_that_were_read(lake: Lake) -> None:
    found = [event for event in told(lake, "filtered_pairs", partition=BUCKET) if event["eventType"] == "COMPLETE"]
    written: set[tuple[str, str]] = set()
    for event in found:
        (output,) = event["outputs"]
        taken = [(given["name"], given["inputFacets"]["laion_partitions"]["partitions"]) for given in event["inputs"]]
        assert {(name, partition) for name, partitions in taken for partition in partitions} <= written
        written.add((output["name"], output["outputFacets"]["laion_drops"]["partition"]))
    commit = lake.commit("filtered_pairs", {"crawl": FIRST, "bucket": 0})
    assert commit is not None
    assert {
        (Path(given["name"]).name, given["facets"]["version"]["datasetVersion"]) for given in found[-1]["inputs"]
    } == {(table, str(read.version)) for table, read in commit.upstreams.items()}
    (pairs,) = [given for given in found[-1]["inputs"] if given["name"].endswith("/unique_pairs")]
    assert pairs["inputFacets"]["laion_partitions"]["partitions"] == [BUCKET]


def test_datasets_are_named_as_the_standard_names_them(lake: Lake) -> None:
    (output,) = last(lake, "filtered_pairs")["outputs"]
    local = LocalFileSystem(f"{lake.root}/filtered_pairs")
    assert (output["namespace"], output["name"]) == (local.get_namespace(), local.get_name())
    bucket = S3("pairs", "lakes/first/images")
    there = dataset_of("s3://pairs/lakes/first", "images")
    assert there == {"namespace": bucket.get_namespace(), "name": bucket.get_name()}
    assert dataset_of("s3://pairs", "images") == {"namespace": "s3://pairs", "name": "images"}


def test_schema_columns_and_where_they_come_from(lake: Lake) -> None:
    (output,) = last(lake, "filtered_pairs", partition=BUCKET)["outputs"]
    declared = TABLES["filtered_pairs"].columns
    fields = output["facets"]["schema"]["fields"]
    assert [field["name"] for field in fields] == [column.name for column in declared]
    assert [field["description"] for field in fields] == [column.description for column in declared]
    came = output["facets"]["columnLineage"]["fields"]["text"]["inputFields"]
    assert {(Path(given["name"]).name, given["field"]) for given in came} == {("unique_pairs", "text")}


def test_rows_in_are_rows_out_and_drops(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    drops = {"too_short": 3, "never": 0}
    made(lake, "candidate_pairs", f"crawl={FIRST}/shard=0", [{}, {"link_position": 1}], drops=drops, run_id=DAGSTER_RUN)
    event = last(lake, "candidate_pairs")
    facets = event["outputs"][0]["outputFacets"]
    assert facets["laion_drops"]["drops"] == {"too_short": 3}
    assert facets["laion_drops"]["rowsIn"] == facets["outputStatistics"]["rowCount"] + 3 == 5
    assert facets["outputStatistics"]["fileCount"] == 1
    (file,) = (lake.root / "candidate_pairs").glob("**/*.parquet")
    assert facets["outputStatistics"]["size"] == file.stat().st_size
    assert event["run"]["facets"]["parent"]["run"]["runId"] == DAGSTER_RUN
    read_event(event)


def test_what_nobody_recorded_has_no_event(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    foreign(lake, "wat_files", f"crawl={FIRST}")
    known = Lineage(lake)
    graph = known.back("wat_files")
    assert [node.commit for node in graph.nodes.values()] == [None]
    assert list(events(graph, known, TELLER)) == []


def _without_time(event: dict[str, Any]) -> None:
    del event["eventTime"]


def _no_uuid(event: dict[str, Any]) -> None:
    event["run"]["runId"] = "run 7"


def _rows_as_text(event: dict[str, Any]) -> None:
    event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] = "many"


def _unknown_key(event: dict[str, Any]) -> None:
    event["outputs"][0]["facets"]["schema"]["fields"][0]["meaning"] = "none"


def _no_input_fields(event: dict[str, Any]) -> None:
    event["outputs"][0]["facets"]["columnLineage"]["fields"]["text"] = {}


def _drops_below_zero(event: dict[str, Any]) -> None:
    event["outputs"][0]["outputFacets"]["laion_drops"]["drops"] = {"too_short": -1}


@pytest.mark.parametrize(
    "broken", [_without_time, _no_uuid, _rows_as_text, _unknown_key, _no_input_fields, _drops_below_zero]
)
def test_a_broken_event_is_refused(lake: Lake, broken: Callable[[dict[str, Any]], None]) -> None:
    event = copy.deepcopy(last(lake, "filtered_pairs", partition=BUCKET))
    read_event(event)
    broken(event)
    with pytest.raises((AssertionError, KeyError, TypeError, ValueError, jsonschema.ValidationError)):
        read_event(event)
