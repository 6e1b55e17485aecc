"""The code location as Dagster sees it: cheap to load, and its graph is the one that ``lake.stages`` declares."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_assets.delta.flow import partitions_of, partitions_read
from laion_assets.delta.validation import CHECKS
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.execution.failures import policy
from laion_assets.orchestration.partitions import CRAWLS, Partitions
from laion_assets.settings import ScoreOptions, Settings
from laion_assets.sql.build import stage_of
from laion_assets.sql.project import load_project
from laion_assets.sql.selection import training_stage
from laion_assets.tables.catalogue import PER_CRAWL, STAGES, TABLES
from laion_assets.tables.groups import SQL
from laion_assets.tables.limits import need_of
from laion_assets.tables.needs import GPU_NODES, op_tags
from laion_assets.training.recipe import load_recipes
from tests.unit.sql.model_files import write_model

REPOSITORY = Path(__file__).resolve().parents[2]
TWO_CRAWLS = ("CC-MAIN-2024-10", "CC-MAIN-2024-18")
SHARDS, BUCKETS = 3, 12
OFFERED = [name for name in STAGES if not TABLES[name].optional]
"""What there is where no setting asks for more."""
BUILT = [name for name in OFFERED if not TABLES[name].entered]
HEAVY = (
    "torch",
    "torchvision",
    "open_clip",
    "img2dataset",
    "dagster_aws",
    "cv2",
    "boto3",
    "ftfy",
    "ray",
    "dagster_ray",
    "dagster_k8s",
    "kubernetes",
)

_LOAD = """
import json, resource, sys
from laion_assets.definitions import defs
print(json.dumps({
    "seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "assets": sorted(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()),
}))
"""


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment without any settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    return kept | {"DAGSTER_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}


def test_loading_is_quick_and_imports_nothing_heavy(tmp_path):
    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(loaded.stdout)
    offered = [name for name, table in TABLES.items() if not table.optional]
    assert found["assets"] == sorted([*offered, *load_project().models, "maintenance"])
    assert set(found["modules"]).isdisjoint(HEAVY)
    assert found["seconds"] < 4
    assert loaded.stderr == ""
    assert not (tmp_path / "lake").exists(), "loading definitions makes no lake"


@pytest.mark.integration
def test_the_workspace_file_loads_the_code_location(tmp_path):
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "--workspace", "workspace.yaml"]
    validated = subprocess.run(
        command, cwd=REPOSITORY, env=clean_environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert validated.returncode == 0, validated.stderr
    assert "Validation successful for code location laion" in validated.stdout + validated.stderr


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    lake = tmp_path_factory.mktemp("definitions") / "lake"
    return build_definitions(Settings(_env_file=None, lake=str(lake), shards=SHARDS, buckets=BUCKETS))  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> Any:
    return definitions.resolve_asset_graph()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions(str(CRAWLS.name), list(TWO_CRAWLS))
        yield made


def test_scores_of_pictures_are_an_asset_where_heads_are_named(graph, tmp_path):
    scores, filtered = dg.AssetKey("image_scores"), dg.AssetKey("filtered_pairs")
    assert not graph.has(scores)
    assert scores not in graph.get(filtered).parent_keys, "nobody is warned that it is missing"
    named = ScoreOptions(heads=(str(tmp_path / "head.yaml"),))
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"), scores=named)  # type: ignore[call-arg]
    asked = build_definitions(settings).resolve_asset_graph()
    assert scores in asked.get(filtered).parent_keys
    assert scores in asked.get(dg.AssetKey("partition_states")).parent_keys


@pytest.mark.parametrize("table", OFFERED)
def test_an_asset_hangs_on_what_its_stage_reads(graph, table):
    declared = {read.table for read in TABLES[table].reads if read.table in OFFERED} - {table}
    if table == "training_sets":  # and on what its recipes select from
        sources = {recipe.selection.source for recipe in load_recipes().values()}
        declared |= {read.table for source in sources for read in training_stage(load_project(), source).reads}
    if table == "partition_states":  # whose commit records it reads
        declared |= {*PER_CRAWL, *load_project().enabled} & {*OFFERED, *load_project().enabled}
    assert {key.to_user_string() for key in graph.get(dg.AssetKey(table)).parent_keys} == declared


@pytest.mark.parametrize("table", OFFERED)
def test_an_asset_is_described_by_its_table(definitions, graph, table):
    node = graph.get(dg.AssetKey(table))
    first, *lines = node.description.splitlines()
    assert first == TABLES[table].description
    assert f'Ask it: `laion sql "FROM {table} LIMIT 10"`  ' in lines
    assert node.group_name == TABLES[table].group
    assert "deltalake" in node.kinds
    assert node.code_version == (TABLES[table].code_version if table in BUILT else None)


def test_groups_are_few_are_listed_as_data_flows_and_hang_together(graph):
    groups = {key: graph.get(key).group_name for key in graph.get_all_asset_keys()}
    edges = {
        (groups[parent], groups[key])
        for key in groups
        for parent in graph.get(key).parent_keys
        if groups[parent] != groups[key]
    }
    assert len({*groups.values()}) <= 7
    assert all(above < below for above, below in edges), "the list of groups, which is sorted by name, is their flow"
    assert {group for edge in edges for group in edge} == {*groups.values()}
    alone = {key for key in groups if not graph.get(key).parent_keys and not graph.get(key).child_keys}
    assert {key.to_user_string() for key in alone} <= {m.name for m in load_project().models.values() if m.disabled}


def test_every_asset_has_the_owners_that_the_settings_name(graph, tmp_path):
    assert {tuple(graph.get(key).owners) for key in graph.get_all_asset_keys()} == {("team:lakehouse",)}
    owners = ("team:data", "ada@example.org")
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"), owners=owners)  # type: ignore[call-arg]
    other = build_definitions(settings).resolve_asset_graph()
    assert {tuple(other.get(key).owners) for key in other.get_all_asset_keys()} == {owners}


def linked(graph: Any, name: str) -> Any:
    [found] = graph.get(dg.AssetKey(name)).metadata["dagster/code_references"].code_references
    return found


def test_an_asset_leads_to_the_function_that_builds_it(graph):
    for table in BUILT:
        found = linked(graph, table)
        assert Path(found.file_path).is_relative_to(REPOSITORY / "laion_assets" / "orchestration" / "assets")
        first = Path(found.file_path).read_text().splitlines()[found.line_number - 1]
        assert first.startswith(f"def {table}(step: Step) -> ")


def test_a_model_leads_to_its_file(graph):
    for model in load_project().models.values():
        assert linked(graph, model.name).file_path == str(model.template.file.resolve())


def test_links_lead_to_a_repository_where_one_is_known(tmp_path):
    write_model(tmp_path / "own", "mine", "SELECT 1 AS n")
    code_url = "https://git.example.org/group/lake/blob/v1/"
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, lake=str(tmp_path / "lake"), code_url=code_url, models=str(tmp_path / "own")
    )
    graph = build_definitions(settings).resolve_asset_graph()
    path, _, line = linked(graph, "images").url.removeprefix(code_url).partition("#L")
    assert (path, line.isdigit()) == ("laion_assets/orchestration/assets/images.py", True)
    assert Path(linked(graph, "mine").file_path).is_relative_to(tmp_path), "a file of nobody's repository"
    shipped = Settings(_env_file=None, lake=str(tmp_path / "lake"), code_url=code_url)  # type: ignore[call-arg]
    found = linked(build_definitions(shipped).resolve_asset_graph(), "funnel")
    assert found.url == f"{code_url}dbt_like_sql/models/marts/funnel.sql"


@pytest.mark.parametrize("table", BUILT)
def test_the_columns_are_known_before_anything_is_built(graph, table):
    schema = graph.get(dg.AssetKey(table)).metadata["dagster/column_schema"]
    shown = [(c.name, c.type, c.description, c.constraints.nullable) for c in schema.columns]
    assert shown == [(c.name, str(c.type), c.description, c.nullable) for c in TABLES[table].columns]


@pytest.mark.parametrize("table", BUILT)
def test_every_check_before_a_commit_is_one_that_dagster_knows(graph, table):
    names = {key.name for key in graph.asset_check_keys if key.asset_key == dg.AssetKey(table)}
    assert names >= set(CHECKS)


@pytest.mark.parametrize("name", [*BUILT, *load_project().enabled])
def test_a_step_asks_for_what_its_table_needs(definitions, name):
    op = definitions.resolve_assets_def(name).op
    need = need_of(name, {})
    assert op.pool == need.pool
    for key, value in op_tags(need, GPU_NODES).items():
        assert json.loads(op.tags[key]) == value
    assert op.retry_policy is None, "in one process nothing is lost but all of it"


def test_steps_elsewhere_are_tried_again_when_their_process_is_lost(tmp_path):
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"), executor="multiprocess")  # type: ignore[call-arg]
    definitions = build_definitions(settings)
    policies = {definitions.resolve_assets_def(name).op.retry_policy for name in (*BUILT, *load_project().enabled)}
    assert policies == {policy(settings.retries)}


@pytest.mark.parametrize("table", [name for name in PER_CRAWL if name in OFFERED])
def test_a_partition_depends_on_exactly_those_that_its_step_reads(graph, instance, tmp_path, table):
    """For unique_pairs that is: a bucket depends on every shard of its crawl, and on no other crawl's."""
    lake = open_lake(str(tmp_path / "lake"), shards=SHARDS, buckets=BUCKETS)
    partitions = Partitions(shards=SHARDS, buckets=BUCKETS)
    definition = partitions.definition(table)
    own = [partition for crawl in TWO_CRAWLS for partition in partitions_of(lake, table, crawl)]
    assert set(definition.get_partition_keys(dynamic_partitions_store=instance)) == {partitions.key(p) for p in own}
    key = dg.AssetKey(table)
    for partition in own[:: max(1, len(own) // 4)]:
        for read in TABLES[table].reads:
            upstream = TABLES[read.table]
            if read.table == table or "crawl" not in upstream.partition_by or upstream.entered or upstream.optional:
                continue
            mapping = graph.get_partition_mapping(key, dg.AssetKey(read.table))
            mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
                definition.subset_with_partition_keys([partitions.key(partition)]),
                definition,
                partitions.definition(read.table),
                datetime(2025, 1, 1, tzinfo=UTC),
                instance,
            )
            expected = {partitions.key(p) for p in partitions_read(lake, read, partition)}
            assert set(mapped.partitions_subset.get_partition_keys()) == expected
            assert list(mapped.required_but_nonexistent_subset.get_partition_keys()) == []


@pytest.mark.parametrize("table", PER_CRAWL)
def test_dagster_s_keys_name_partitions_and_nothing_is_lost_on_the_way(instance, table):
    partitions = Partitions(shards=SHARDS, buckets=BUCKETS)
    definition = partitions.definition(table)
    keys = list(definition.get_partition_keys(dynamic_partitions_store=instance))
    found = [partitions.partition(table, key) for key in keys]
    assert [partitions.key(p) for p in found] == keys
    assert len({tuple(p.items()) for p in found}) == len(found)
    assert all(tuple(p) == TABLES[table].partition_by for p in found)


def test_keys_sort_as_the_numbers_they_stand_for(instance):
    definition = Partitions(shards=SHARDS, buckets=BUCKETS).definition("images")
    keys = [k.keys_by_dimension["part"] for k in definition.get_partition_keys(dynamic_partitions_store=instance)]
    assert sorted(set(keys)) == [f"{n:02d}" for n in range(BUCKETS)]


@pytest.mark.parametrize("name", load_project().enabled)
def test_a_model_is_an_asset_that_hangs_on_what_it_names(graph, name):
    project = load_project()
    model, node = project.models[name], graph.get(dg.AssetKey(name))
    expected = {*project.sources(name), *project.upstream(name)}
    if "commits" in expected:
        expected = expected - {"commits"} | {*PER_CRAWL} & {*OFFERED}
    assert {key.to_user_string() for key in node.parent_keys} == expected
    assert (node.group_name, node.tags["layer"]) == (SQL, model.layer)
    assert node.description.startswith(f"{model.description}\n\nPartitions: ")
    assert node.code_version == stage_of(project, name).code_version
    assert (node.partitions_def == CRAWLS) == model.is_incremental
    columns = [(c.name, c.description) for c in node.metadata["dagster/column_schema"].columns]
    assert columns == [(c.name, c.description) for c in model.columns]
    blocking = {k.name for k in graph.asset_check_keys if k.asset_key == node.key and graph.get_check_spec(k).blocking}
    assert blocking == set(model.test_names)


@pytest.mark.parametrize("name", [name for name, model in load_project().enabled.items() if model.is_incremental])
def test_a_crawl_of_a_model_depends_on_that_crawl_alone(graph, instance, name):
    partitions = Partitions(shards=SHARDS, buckets=BUCKETS)
    node = graph.get(dg.AssetKey(name))
    for upstream in node.parent_keys:
        definition = graph.get(upstream).partitions_def
        if definition is None:
            continue
        mapped = graph.get_partition_mapping(node.key, upstream).get_upstream_mapped_partitions_result_for_partitions(
            CRAWLS.subset_with_partition_keys([TWO_CRAWLS[1]]),
            CRAWLS,
            definition,
            datetime(2025, 1, 1, tzinfo=UTC),
            instance,
        )
        found = set(mapped.partitions_subset.get_partition_keys())
        every = definition.get_partition_keys(dynamic_partitions_store=instance)
        table = upstream.to_user_string()
        crawl_of = (lambda k: k) if table not in TABLES else (lambda k, t=table: partitions.partition(t, k)["crawl"])
        assert found == {key for key in every if crawl_of(key) == TWO_CRAWLS[1]}


def test_a_disabled_model_is_shown_with_its_reason(tmp_path):
    write_model(
        tmp_path / "project", "off", "SELECT 1 AS n", header="materialized: view\ndisabled: Nobody measured it."
    )
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"), models=str(tmp_path / "project"))  # type: ignore[call-arg]
    node = build_definitions(settings).resolve_asset_graph().get(dg.AssetKey("off"))
    assert not node.is_materializable
    assert "Nobody measured it." in node.description


_LOAD_MODELS = """
import json, resource
import dagster  # takes as long with no models at all
before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
from laion_assets.definitions import defs
assets = len(defs.resolve_asset_graph().get_all_asset_keys())
print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, assets]))
"""


def test_two_hundred_models_load_quickly_and_more_so_the_second_time(tmp_path):
    for number in range(200):
        _generated_model(tmp_path / "project", number)
    environment = clean_environment(tmp_path) | {
        "LAION_MODELS": str(tmp_path / "project"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    seconds = []
    for _ in range(2):
        command = [sys.executable, "-c", _LOAD_MODELS]
        loaded = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        took, assets = json.loads(loaded.stdout)
        assert assets == sum(not table.optional for table in TABLES.values()) + 1 + 200  # the record of maintenance
        seconds.append(took)
    cold, cached = seconds
    assert cold < 4
    assert cached < 2


def _generated_model(folder: Path, number: int) -> None:
    """A model of some forty lines, built on a table and on an earlier model."""
    columns = [f"  c{n}:\n    description: Column {n}.\n    tests: [not_null, {{range: {{min: 0}}}}]" for n in range(5)]
    header = ["materialized: incremental_by_crawl", f"description: Model {number}.", "columns:", *columns]
    aggregates = [f"    count(*) FILTER (pair.text ILIKE '%{n}%' AND image.width > {n}) AS c{n}," for n in range(5)]
    earlier = f"JOIN {{{{ ref('m{number // 2}') }}}} AS earlier ON earlier.crawl = pair.crawl" if number > 1 else ""
    sql = f"""
WITH pictures AS (
    SELECT crawl, bucket, url, width FROM {{{{ source('images') }}}} WHERE status = 'success'
)
SELECT
    pair.crawl,
{chr(10).join(aggregates)}
    count(DISTINCT pair.url) AS urls
FROM {{{{ source('unique_pairs') }}}} AS pair
JOIN pictures AS image ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url
{earlier}
GROUP BY ALL
"""
    write_model(folder, f"m{number}", sql, header="\n".join(header))
