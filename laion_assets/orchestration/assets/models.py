"""SQL models as assets: what Dagster knows of each, and the one step that builds it."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from laion_assets.delta.errors import CheckOutcome
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.orchestration.assets.metadata import (
    commit_metadata,
    definition_metadata,
    model_description,
)
from laion_assets.orchestration.assets.pictures import rows_to_see
from laion_assets.orchestration.assets.publishing import Places, Published, keys_of, publish_each
from laion_assets.orchestration.assets.source_links import file_link
from laion_assets.orchestration.execution.executors import asset_options
from laion_assets.orchestration.partitions import CRAWLS, mapping
from laion_assets.orchestration.resources import LakeResource
from laion_assets.settings import Settings
from laion_assets.sql.build import build_model, stage_of
from laion_assets.sql.column_lineage import column_lineage
from laion_assets.sql.model import Model
from laion_assets.sql.project import RECORDS, Project, tables_of
from laion_assets.tables.catalogue import PER_CRAWL, TABLES
from laion_assets.tables.groups import SQL
from laion_assets.tables.models import MODEL_TESTS


def model_assets(project: Project, settings: Settings) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every model as an asset; one that cannot run as a name in the graph that says why."""
    return [
        _asset(project, model, settings)
        if model.disabled is None
        else dg.AssetSpec(
            model.name,
            description=_held(model),
            group_name=SQL,
            tags={"layer": model.layer},
            kinds={"sql", str(model.held)},
            metadata=file_link(model.template.file, settings.code_url),
        )
        for model in project.models.values()
    ]


def _held(model: Model) -> str:
    """What a model that cannot run answers, and why it does not; a fault as it was said, for it is no Markdown."""
    if model.faults:
        return f"{model.description}\n\n**Broken:**\n\n```\n{model.disabled}\n```"
    return f"{model.description}\n\n**{model.why_held}**"


def _asset(project: Project, model: Model, settings: Settings) -> dg.AssetsDefinition:
    definition = CRAWLS if model.is_incremental else None

    @dg.asset(
        name=model.name,
        description=model_description(model),
        group_name=SQL,
        tags={"layer": model.layer},
        code_version=stage_of(project, model.name).code_version,
        kinds={"duckdb", "view" if model.is_view else "deltalake"},
        partitions_def=definition,
        deps=_deps(project, model, settings),
        check_specs=[
            dg.AssetCheckSpec(name, asset=model.name, description=text, blocking=True, partitions_def=definition)
            for name, text in model.test_names.items()
        ],
        output_required=False,
        **asset_options(model.name, settings),
        backfill_policy=dg.BackfillPolicy.multi_run(1) if definition else None,
        metadata={
            **definition_metadata(model.table(), None if model.is_view else settings.lake),
            **file_link(model.template.file, settings.code_url),
            "materialized": model.materialized,
            "sql": dg.MetadataValue.md(f"```sql\n{model.template.body}\n```"),
        },
    )
    def asset(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        opened = lake.open()
        opened.declare(tables_of(project.models.values()))

        def build(partition: Partition) -> Published:
            started = time.monotonic()
            commit, outcomes = build_model(opened, project, model.name, partition, context.run.run_id)
            _tell_verdict(context, model.name, partition, outcomes)
            lineage = _lineage(project, model)
            if model.is_view:
                return Published({"dagster/column_lineage": lineage}, commit.content_digest, outcomes)
            metadata = commit_metadata(commit, model.table(), lineage, opened, time.monotonic() - started)
            shown = {"first rows": rows_to_see(model.name, partition)}
            return Published({**shown, **metadata}, commit.content_digest, outcomes)

        places: Places = [(key, {"crawl": key} if key else {}) for key in keys_of(context)]
        yield from publish_each(context, settings, model.name, places, build)

    return asset


def _tell_verdict(
    context: dg.AssetExecutionContext, model: str, partition: Partition, outcomes: Sequence[CheckOutcome]
) -> None:
    """Note on the page of ``model_tests`` that the tests of a model wrote their part of it."""
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    seen: dict[str, Any] = {
        "model": model,
        "partition": partition_name(partition),
        "tests": len(outcomes),
        "failed": len(failed),
    }
    context.log_event(dg.AssetMaterialization(MODEL_TESTS.name, metadata=seen))


def _deps(project: Project, model: Model, settings: Settings) -> list[dg.AssetDep]:
    """Everything the model and its tests name, with how the partitions belong together."""
    upstream: dict[str, tuple[str, ...]] = {}
    for source in project.sources(model.name):
        names = tuple(filter(settings.offers, PER_CRAWL)) if source in RECORDS else (source,)
        upstream.update({name: TABLES[name].partition_by for name in names})
    for name in project.upstream(model.name):
        upstream[name] = ("crawl",) if project.models[name].is_incremental else ()
    own = ("crawl",) if model.is_incremental else ()
    return [dg.AssetDep(name, partition_mapping=mapping(columns, own)) for name, columns in upstream.items()]


def _lineage(project: Project, model: Model) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(dg.AssetKey(table), origin) for table, origin in origins]
            for column, origins in column_lineage(project, model.name).items()
        }
    )
