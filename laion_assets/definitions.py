"""The front door: builds the Definitions from the settings, nothing else."""

import logging
import warnings
from typing import Any

import dagster as dg

from laion_assets.common.logs import configure_logs, console
from laion_assets.orchestration.assets.crawl import candidate_pairs, crawl_snapshots, wat_files
from laion_assets.orchestration.assets.embeddings import (
    SCORE_CHECK,
    calibrations,
    clip_embeddings,
    encoders_to_calibrate,
)
from laion_assets.orchestration.assets.evaluation import (
    benchmark_images,
    retrieval_scores,
    robustness,
    scaling_laws,
    whole,
    zero_shot_scores,
)
from laion_assets.orchestration.assets.images import images
from laion_assets.orchestration.assets.metadata import description
from laion_assets.orchestration.assets.models import model_assets
from laion_assets.orchestration.assets.pairs import filtered_pairs, unique_pairs
from laion_assets.orchestration.assets.states import partition_states
from laion_assets.orchestration.assets.step import StepFunction, stage_asset
from laion_assets.orchestration.assets.training import clip_checkpoints, training_sets
from laion_assets.orchestration.automation.front import automated
from laion_assets.orchestration.automation.maintenance import maintenance
from laion_assets.orchestration.automation.verification import verification
from laion_assets.orchestration.execution.executors import executor
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.resources import LakeResource, SourceResource
from laion_assets.settings import Settings, load_settings
from laion_assets.sql.project import open_project
from laion_assets.sql.selection import selected_from
from laion_assets.tables.catalogue import MODEL_TESTS, TABLES
from laion_assets.tables.groups import OPERATIONS
from laion_assets.tables.stages import PER_CRAWL

# Multi-dimensional partition mappings, backfill policies and checks of single partitions are what this project is
# about; Dagster calls the first two beta and the last a preview.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def build_definitions(settings: Settings) -> dg.Definitions:
    """Every asset, check and resource of a code location with these settings."""
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    project = open_project(settings.models)
    sources = [recipe.selection.source for recipe in settings.known_recipes.values()]
    score_check = {SCORE_CHECK: "the crawl's similarities look like those the encoder was calibrated on"}

    def asset(function: StepFunction, *kinds: str, **options: Any) -> dg.AssetsDefinition:
        return stage_asset(function, settings=settings, partitions=partitions, kinds={*kinds}, **options)

    assets = [
        asset(crawl_snapshots, "s3"),
        asset(wat_files, "s3"),
        asset(candidate_pairs, "s3", "polars"),
        asset(unique_pairs, "duckdb"),
        asset(images, "python"),
        asset(calibrations, "pytorch", whole=encoders_to_calibrate),
        asset(clip_embeddings, "pytorch", warnings=score_check),
        asset(filtered_pairs, "duckdb"),
        asset(benchmark_images, "python"),
        asset(
            training_sets,
            "duckdb",
            more_deps=[
                dg.AssetDep(table, partition_mapping=dg.AllPartitionMapping() if partitioned else None)
                for table, partitioned in selected_from(sources, project).items()
            ],
        ),
        *(asset(function, "pytorch") for function in (clip_checkpoints, zero_shot_scores, retrieval_scores)),
        *(asset(function, "polars", whole=whole) for function in (robustness, scaling_laws)),
        asset(partition_states, "polars", whole=whole, more_deps=map(dg.AssetDep, (*PER_CRAWL, *project.enabled))),
    ]
    written_beside = [
        dg.AssetSpec(name, description=description(TABLES[name]), group_name=group, kinds={"deltalake"}, deps=deps)
        for name, group, deps in (
            ("takedowns", TABLES["takedowns"].group, ()),
            (MODEL_TESTS.name, OPERATIONS, project.enabled),
        )
    ]
    automation = automated([*written_beside, *assets, *model_assets(project, settings)], settings, project, partitions)
    upkeep, checked = maintenance(settings), verification(settings)
    return dg.Definitions(
        assets=dg.map_asset_specs(
            lambda spec: spec.replace_attributes(owners=settings.owners), [*automation.assets, upkeep.shown]
        ),
        jobs=[upkeep.job, checked.job],
        sensors=automation.sensors,
        schedules=[*automation.schedules, upkeep.schedule, checked.schedule],
        resources={
            "lake": LakeResource(uri=settings.lake, shards=settings.shards, buckets=settings.buckets),
            "source": SourceResource(uri=settings.source),
        },
        executor=executor(settings),
        loggers={"console": json_console} if settings.log_format == "json" else None,
    )


@dg.logger(
    {"log_level": dg.Field(str, is_required=False, default_value="INFO", description="The least that is shown.")},
    description="One JSON object a line, as LAION_LOG_FORMAT=json asks for.",
)
def json_console(context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster's own console, in the lines that everything else is logged in."""
    return console(context.logger_config["log_level"])


def _loaded() -> dg.Definitions:
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)
    return build_definitions(settings)


defs = _loaded()
