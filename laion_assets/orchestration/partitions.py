"""Dagster's partitions of the tables: crawl, crawl × shard, crawl × bucket, recipe, benchmark, recipe × benchmark,
release.

Dagster writes the dimensions of a key in the order of their names. A shard and a bucket are therefore called ``part``
there: the crawl comes first, as in the lake.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg

from laion_assets.delta.partition import Partition
from laion_assets.delta.table import Read
from laion_assets.tables.catalogue import TABLES

CRAWLS = dg.DynamicPartitionsDefinition(name="crawl")
"""Crawls by Common Crawl's own names; registered by `laion build` or a sensor."""

BENCHMARKS = dg.DynamicPartitionsDefinition(name="benchmark")
"""Evaluation sets by the names of their folders; registered by `laion train` and `laion evaluate`."""

RECIPES = dg.DynamicPartitionsDefinition(name="recipe")
"""Recipes that somebody asked for, by `laion train` or `laion recipes add`. Files of recipes are only templates."""

RELEASES = dg.DynamicPartitionsDefinition(name="release")
"""Releases that `laion release` began."""

REGISTERED: Final[Mapping[str, dg.DynamicPartitionsDefinition]] = {
    "crawl": CRAWLS,
    "recipe": RECIPES,
    "benchmark": BENCHMARKS,
    "release": RELEASES,
}
"""By column of the tables, the partitions that come and go."""


_NUMBERED: Final = ("shard", "bucket")
_PART: Final = "part"


def asset_columns(partition_by: Sequence[str]) -> tuple[str, ...]:
    """The columns that an asset is partitioned by in Dagster, which has two dimensions at most.

    All parts of a release are one partition there; in the lake each is one for itself.
    """
    return ("release",) if "release" in partition_by else tuple(partition_by)


def dimension(column: str) -> str:
    """What Dagster calls a column of a table's partitions."""
    return _PART if column in _NUMBERED else column


def _numbered(total: int) -> dg.StaticPartitionsDefinition:
    width = len(str(total - 1))
    return dg.StaticPartitionsDefinition([f"{n:0{width}d}" for n in range(total)])


class Partitions:
    """The partition definitions of one lake shape."""

    def __init__(self, *, shards: int, buckets: int) -> None:
        self._numbered = {"shard": _numbered(shards), "bucket": _numbered(buckets)}
        self._by_columns: dict[tuple[str, ...], dg.PartitionsDefinition | None] = {
            (name,): definition for name, definition in REGISTERED.items()
        }
        for pair in (("crawl", "shard"), ("crawl", "bucket"), ("recipe", "benchmark")):
            self._by_columns[pair] = dg.MultiPartitionsDefinition(
                {dimension(name): REGISTERED.get(name) or self._numbered[name] for name in pair}
            )

    def definition(self, table: str) -> dg.PartitionsDefinition | None:
        """The partitions of a table's asset; None where the asset is built whole."""
        return self.of_columns(TABLES[table].partition_by)

    def of_columns(self, partition_by: tuple[str, ...]) -> dg.PartitionsDefinition | None:
        """The partitions of an asset whose table is partitioned so; None where it is built whole."""
        return self._by_columns.get(asset_columns(partition_by))

    def key(self, partition: Partition) -> str:
        """Dagster's key of a partition."""
        keys = {
            dimension(name): self._numbered[name].get_partition_keys()[int(value)] if name in _NUMBERED else str(value)
            for name, value in partition.items()
            if name in asset_columns([*partition])
        }
        return next(iter(keys.values())) if len(keys) == 1 else dg.MultiPartitionKey(keys)

    def partition(self, table: str, key: str) -> Partition:
        """The partition that Dagster's key names; see :func:`parse_key`."""
        return parse_key(TABLES[table].partition_by, key)

    def mapping(self, read: Read, table: str) -> dg.PartitionMapping | None:
        """How the partitions of ``read.table`` map onto those of ``table``; None: Dagster's own choice is right."""
        return mapping(TABLES[read.table].partition_by, TABLES[table].partition_by)


def parse_key(columns: Sequence[str], key: str) -> Partition:
    """The partition by ``columns`` that Dagster's key names.

    Raises:
        ValueError: it names none, such as a key from before shards and buckets were called parts.
    """
    columns = asset_columns(columns)
    parts = str(key).split("|") if len(columns) > 1 else [str(key)]
    values = dict(zip(sorted(map(dimension, columns)), parts, strict=True))
    return {name: int(values[_PART]) if name in _NUMBERED else values[name] for name in columns}


_OF_ASSETS = ("crawl", "shard", "bucket", "recipe", "benchmark", "release")


def mapping(upstream: tuple[str, ...], downstream: tuple[str, ...]) -> dg.PartitionMapping | None:
    """How partitions by ``upstream`` columns map onto those by ``downstream`` ones; None: Dagster's choice is right."""
    upstream, downstream = asset_columns(upstream), asset_columns(downstream)
    if upstream == downstream or not {*upstream} <= {*_OF_ASSETS} or not {*downstream} <= {*_OF_ASSETS}:
        return None  # a table that Dagster sees whole
    if not upstream or not downstream:
        return None
    shared = [name for name in upstream if name in downstream]
    if not shared:
        return dg.AllPartitionMapping()
    if 1 in (len(upstream), len(downstream)):
        return dg.MultiToSingleDimensionPartitionMapping(shared[0])
    # A dimension that is left out means all of it: every shard goes into every bucket.
    return dg.MultiPartitionMapping(
        {name: dg.DimensionPartitionMapping(name, dg.IdentityPartitionMapping()) for name in shared}
    )
