"""One code location: every asset, job, sensor and resource by the settings, put together and nothing else."""

import logging
import warnings
from typing import Any

import dagster as dg

from laion_assets.common.logs import console
from laion_assets.orchestration.assets import (
    crawl,
    embeddings,
    evaluation,
    images,
    pairs,
    releases,
    scores,
    states,
    training,
)
from laion_assets.orchestration.assets.metadata import description
from laion_assets.orchestration.assets.models import model_assets
from laion_assets.orchestration.assets.step import StepFunction, stage_asset
from laion_assets.orchestration.automation.front import automated
from laion_assets.orchestration.automation.maintenance import maintenance
from laion_assets.orchestration.automation.verification import verification
from laion_assets.orchestration.execution.executors import executor
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.resources import LakeResource, SourceResource
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project
from laion_assets.sql.selection import selected_from
from laion_assets.tables.catalogue import PER_CRAWL
from laion_assets.tables.consent import TAKEDOWNS
from laion_assets.tables.imports import IMPORTS
from laion_assets.tables.models import MODEL_TESTS

# Multi-dimensional partition mappings, backfill policies and checks of single partitions are what this project is
# about; Dagster calls the first two beta and the last a preview.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def build_definitions(settings: Settings) -> dg.Definitions:
    """Every asset, check and resource of a code location with these settings."""
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    project = open_project(settings.models)
    sources = [recipe.selection.source for recipe in settings.known_recipes.values()]
    score_check = {embeddings.SCORE_CHECK: "the crawl's similarities look like those the encoder was calibrated on"}

    def asset(function: StepFunction, **options: Any) -> dg.AssetsDefinition:
        return stage_asset(function, settings=settings, partitions=partitions, **options)

    assets = [
        asset(crawl.crawl_snapshots),
        asset(crawl.wat_files),
        asset(crawl.candidate_pairs),
        asset(pairs.unique_pairs),
        asset(images.images),
        asset(embeddings.calibrations, whole=embeddings.encoders_to_calibrate),
        asset(embeddings.clip_embeddings, warnings=score_check),
        *([asset(scores.image_scores)] if settings.offers("image_scores") else []),
        asset(pairs.filtered_pairs),
        asset(evaluation.benchmark_images),
        asset(
            training.training_sets,
            more_deps=[
                dg.AssetDep(table, partition_mapping=dg.AllPartitionMapping() if partitioned else None)
                for table, partitioned in selected_from(sources, project).items()
            ],
        ),
        asset(training.clip_checkpoints),
        asset(evaluation.zero_shot_scores),
        asset(evaluation.retrieval_scores),
        asset(evaluation.robustness, whole=evaluation.whole),
        asset(evaluation.scaling_laws, whole=evaluation.whole),
        asset(releases.releases),
        asset(releases.release_files, spread=releases.due_parts, finish=releases.finish),
        asset(
            states.partition_states,
            whole=evaluation.whole,
            more_deps=map(dg.AssetDep, (*filter(settings.offers, PER_CRAWL), *project.enabled)),
        ),
    ]
    written_beside = [
        dg.AssetSpec(
            table.name,
            description=description(table),
            group_name=table.group,
            kinds={"deltalake"},
            deps=deps,
            partitions_def=partitions.definition(table.name),
        )
        for table, deps in ((IMPORTS, ()), (TAKEDOWNS, ()), (MODEL_TESTS, project.enabled))
    ]
    automation = automated([*written_beside, *assets, *model_assets(project, settings)], settings, project)
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
