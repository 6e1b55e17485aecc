"""Dagster is told of what the lake holds and its own storage does not: a lake that was moved, a new DAGSTER_HOME, keys
that are written otherwise than before. The commits say all that a page shows of it at first sight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from laion_assets.delta.commits import Commit
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.orchestration.partitions import Partitions
from laion_assets.tables.catalogue import CATALOGUE

_DATA_VERSION = "dagster/data_version"
_DIMENSION = "dagster/partition/"


@dataclass(frozen=True)
class Unknown:
    """A partition of the lake that Dagster knows nothing of; one commit of a table that it sees whole."""

    table: str
    commit: Commit
    key: str | None
    tags: dict[str, str]
    """What Dagster marks the dimensions of the key with."""


def unknown_to(instance: dg.DagsterInstance, lake: Lake, partitions: Partitions) -> Iterator[Unknown]:
    """Everything in the lake that Dagster has no materialisation of."""
    for table, declared in lake.tables.items():
        definition = partitions.of_columns(declared.partition_by)
        try:
            ledger = lake.ledger(table)
        except LakeError:  # whoever needs this table is told what heals it
            continue
        sound = {name: commit for name, commit in ledger.commits.items() if ledger.is_trusted(commit)}
        if definition is None:
            if sound and instance.get_latest_materialization_event(dg.AssetKey(table)) is None:
                yield Unknown(table, max(sound.values(), key=lambda commit: commit.version), None, {})
            continue
        known = instance.get_materialized_partitions(dg.AssetKey(table)) if sound else ()
        for name, commit in sound.items():
            key = partitions.key(CATALOGUE.partition(name))
            if str(key) not in known:
                tags = definition.get_tags_for_partition_key(key)
                yield Unknown(table, commit, key, {n: v for n, v in tags.items() if n.startswith(_DIMENSION)})


def report(instance: dg.DagsterInstance, unknown: Unknown) -> None:
    """Tell Dagster of it, as of a materialisation without a run."""
    commit = unknown.commit
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            unknown.table,
            description="in the lake already: read from its commit record",
            partition=unknown.key,
            tags={**unknown.tags, _DATA_VERSION: commit.content_digest},
            metadata={
                "rows in": commit.rows_in,
                "rows dropped": sum(commit.drops.values()),
                "dagster/partition_row_count": commit.rows,
                "content digest": commit.content_digest,
                "delta version": commit.version,
            },
        )
    )
