"""The front door: builds the Definitions from the settings, nothing else."""

import warnings

import dagster as dg

from laion_assets.assets.crawl import candidate_pairs, crawl_snapshots, wat_files
from laion_assets.assets.embeddings import (
    GPU_OP_TAGS,
    SCORE_CHECK,
    calibrations,
    clip_embeddings,
    encoders_to_calibrate,
)
from laion_assets.assets.images import images
from laion_assets.assets.pairs import filtered_pairs, unique_pairs
from laion_assets.assets.step import stage_asset
from laion_assets.lake.stages import STAGES
from laion_assets.lake.tables import TABLES
from laion_assets.partitions import Partitions
from laion_assets.resources import LakeResource, SourceResource
from laion_assets.settings import Settings, load_settings

# Multi-dimensional partition mappings, backfill policies and checks of single partitions are what this project is
# about; Dagster calls the first two beta and the last a preview.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def build_definitions(settings: Settings) -> dg.Definitions:
    """Every asset, check and resource of a code location with these settings."""
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    score_check = {SCORE_CHECK: "the crawl's similarities look like those the encoder was calibrated on"}
    assets = [
        stage_asset(crawl_snapshots, settings=settings, partitions=partitions, kinds={"s3"}, pool="network"),
        stage_asset(wat_files, settings=settings, partitions=partitions, kinds={"s3"}, pool="network"),
        stage_asset(candidate_pairs, settings=settings, partitions=partitions, kinds={"s3", "polars"}),
        stage_asset(unique_pairs, settings=settings, partitions=partitions, kinds={"duckdb"}),
        stage_asset(images, settings=settings, partitions=partitions, kinds={"python"}, pool="network"),
        stage_asset(
            calibrations,
            settings=settings,
            partitions=partitions,
            kinds={"pytorch"},
            pool="gpu",
            op_tags=GPU_OP_TAGS,
            whole=encoders_to_calibrate,
        ),
        stage_asset(
            clip_embeddings,
            settings=settings,
            partitions=partitions,
            kinds={"pytorch"},
            pool="gpu",
            op_tags=GPU_OP_TAGS,
            warnings=score_check,
        ),
        stage_asset(filtered_pairs, settings=settings, partitions=partitions, kinds={"duckdb"}),
    ]
    takedowns = dg.AssetSpec(
        "takedowns",
        description=TABLES["takedowns"].description,
        group_name=STAGES["takedowns"].group,
        kinds={"deltalake"},
    )
    return dg.Definitions(
        assets=[takedowns, *assets],
        resources={
            "lake": LakeResource(uri=settings.lake, shards=settings.shards, buckets=settings.buckets),
            "source": SourceResource(uri=settings.source),
        },
    )


defs = build_definitions(load_settings())
