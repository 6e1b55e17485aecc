"""A Dagster home that is new, or holds keys of before, is told of everything that the lake holds."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.registration import register_built
from laion_assets.orchestration.runs.reported import report, unknown_to
from laion_assets.tables.catalogue import STAGES
from tests.unit.delta.tables_made import FIRST, SECOND, made, made_crawl

RECIPE, BENCHMARK = "some-recipe", "seen"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as new:
        yield new


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = open_lake(str(tmp_path / "lake"))
    for crawl in (FIRST, SECOND):
        made_crawl(lake, crawl)
    made(lake, "benchmark_images", f"benchmark={BENCHMARK}")
    made(lake, "training_sets", f"recipe={RECIPE}")
    made(lake, "clip_checkpoints", f"recipe={RECIPE}")
    made(lake, "zero_shot_scores", f"recipe={RECIPE}/benchmark={BENCHMARK}")
    made(lake, "partition_states", "all")
    return lake


def introduce(lake: Lake, instance: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """What `laion ui` does before it begins; gives (table, key) of what Dagster was told."""
    register_built(instance, lake)
    found = list(unknown_to(instance, lake, Partitions(shards=lake.shape["shards"], buckets=lake.shape["buckets"])))
    for unknown in found:
        report(instance, unknown)
    return [(unknown.table, unknown.key if unknown.key is None else str(unknown.key)) for unknown in found]


def test_a_new_home_knows_every_partition_and_is_told_once(lake: Lake, instance: dg.DagsterInstance) -> None:
    told = introduce(lake, instance)
    partitions = Partitions(shards=lake.shape["shards"], buckets=lake.shape["buckets"])
    for table in STAGES:
        names = lake.ledger(table).commits
        definition = partitions.definition(table)
        if definition is None:
            assert [key for name, key in told if name == table] == [None] * bool(names)
            continue
        keys = definition.get_partition_keys(dynamic_partitions_store=instance)
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == {
            str(key) for key in keys if table_name(partitions, table, key) in names
        }
    assert len(told) == len({*told}) > 10
    assert introduce(lake, instance) == []


def table_name(partitions: Partitions, table: str, key: str) -> str:
    return partition_name(partitions.partition(table, key))


def test_what_is_told_says_what_the_commit_says(lake: Lake, instance: dg.DagsterInstance) -> None:
    introduce(lake, instance)
    commit = lake.commit("unique_pairs", {"crawl": FIRST, "bucket": 0})
    key = dg.MultiPartitionKey({"crawl": FIRST, "part": "0"})
    assert str(key) == f"{FIRST}|0", "the crawl comes first"
    [record] = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("unique_pairs"), asset_partitions=[key]), limit=1
    ).records
    event = record.asset_materialization
    assert commit is not None
    assert event is not None
    assert event.partition == key
    assert event.metadata["dagster/partition_row_count"].value == commit.rows
    assert event.metadata["delta version"].value == commit.version
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == commit.content_digest


def test_events_under_keys_of_before_are_told_anew_and_keep_nobody_from_working(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    for bucket in ("0", "1"):
        before = dg.MultiPartitionKey({"bucket": bucket, "crawl": FIRST})
        instance.report_runless_asset_event(dg.AssetMaterialization("images", partition=before))
    introduce(lake, instance)
    known = instance.get_materialized_partitions(dg.AssetKey("images"))
    assert known >= {f"{FIRST}|0", f"0|{FIRST}", f"1|{FIRST}"}
    definition = Partitions(shards=lake.shape["shards"], buckets=lake.shape["buckets"]).definition("images")
    assert definition is not None
    status = instance.get_status_by_partition(dg.AssetKey("images"), [f"{FIRST}|0", f"0|{FIRST}"], definition)
    assert {key: str(how).rpartition(".")[2] for key, how in (status or {}).items() if how} == {
        f"{FIRST}|0": "MATERIALIZED"
    }


def test_what_was_not_validated_and_what_cannot_be_read_is_not_told(lake: Lake, instance: dg.DagsterInstance) -> None:
    torn = max((lake.root / "images/_delta_log").glob("*.json"))
    torn.write_text(torn.read_text()[:20])
    fresh = open_lake(lake.uri)
    told = {table for table, _ in introduce(fresh, instance)}
    assert "images" not in told
    assert "unique_pairs" in told
