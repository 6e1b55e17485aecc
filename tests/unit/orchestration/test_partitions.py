"""Dagster's partitions of recipes and benchmarks, and how they map onto one another."""

import dagster as dg
import pytest

from laion_assets.orchestration.partitions import BENCHMARKS, RECIPES, Partitions
from laion_assets.tables.catalogue import STAGES, TABLES

ASKED_FOR = ["b-long", "a.short", "c_1"]
OURS = [name for name in STAGES if {"recipe", "benchmark"} & {*TABLES[name].partition_by}]


@pytest.fixture(scope="module")
def partitions():
    return Partitions(shards=3, buckets=12)


@pytest.fixture(scope="module")
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions(str(BENCHMARKS.name), ["seen", "shifted"])
        made.add_dynamic_partitions(str(RECIPES.name), ASKED_FOR)
        yield made


def keys(partitions, instance, table):
    return list(partitions.definition(table).get_partition_keys(dynamic_partitions_store=instance))


def test_recipes_and_benchmarks_are_partitions_once_they_are_registered(partitions, instance):
    assert keys(partitions, instance, "training_sets") == ASKED_FOR
    assert keys(partitions, instance, "clip_checkpoints") == ASKED_FOR
    assert keys(partitions, instance, "benchmark_images") == ["seen", "shifted"]
    assert len(keys(partitions, instance, "zero_shot_scores")) == len(ASKED_FOR) * 2
    with dg.DagsterInstance.ephemeral() as new:
        assert [keys(partitions, new, table) for table in OURS if partitions.definition(table)] == [[]] * 5
    assert partitions.definition("robustness") is partitions.definition("scaling_laws") is None


@pytest.mark.parametrize("table", OURS)
def test_keys_name_partitions_and_nothing_is_lost_on_the_way(partitions, instance, table):
    found = [partitions.partition(table, key) for key in keys(partitions, instance, table)]
    assert [partitions.key(partition) for partition in found] == keys(partitions, instance, table)
    assert all(tuple(partition) == TABLES[table].partition_by for partition in found)


@pytest.mark.parametrize(
    ("upstream", "downstream", "kind"),
    [
        ("training_sets", "clip_checkpoints", type(None)),
        ("benchmark_images", "training_sets", dg.AllPartitionMapping),
        ("unique_pairs", "training_sets", dg.AllPartitionMapping),
        ("clip_checkpoints", "zero_shot_scores", dg.MultiToSingleDimensionPartitionMapping),
        ("benchmark_images", "retrieval_scores", dg.MultiToSingleDimensionPartitionMapping),
        ("zero_shot_scores", "robustness", type(None)),
        ("takedowns", "training_sets", type(None)),
    ],
)
def test_what_a_partition_is_built_from_is_of_the_same_recipe_and_benchmark(partitions, upstream, downstream, kind):
    [read] = [read for read in TABLES[downstream].reads if read.table == upstream]
    assert isinstance(partitions.mapping(read, downstream), kind)


def test_a_score_hangs_on_its_own_recipe_and_benchmark(partitions, instance):
    scores = partitions.definition("zero_shot_scores")
    key = partitions.key({"recipe": "a.short", "benchmark": "shifted"})
    for table, expected in (("clip_checkpoints", "a.short"), ("benchmark_images", "shifted")):
        [read] = [read for read in TABLES["zero_shot_scores"].reads if read.table == table]
        mapped = partitions.mapping(read, "zero_shot_scores").get_upstream_mapped_partitions_result_for_partitions(
            scores.subset_with_partition_keys([key]),
            scores,
            partitions.definition(table),
            dynamic_partitions_store=instance,
        )
        assert list(mapped.partitions_subset.get_partition_keys()) == [expected]
