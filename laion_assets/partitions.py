"""Dagster's partitions of the tables: crawl, crawl × shard, crawl × bucket, and how they map onto one another."""

import dagster as dg

from laion_assets.lake.partition import Partition
from laion_assets.lake.stages import Read
from laion_assets.lake.tables import TABLES

CRAWLS = dg.DynamicPartitionsDefinition(name="crawl")
"""Crawls by Common Crawl's own names; registered by `laion build` or a sensor."""


def _numbered(total: int) -> dg.StaticPartitionsDefinition:
    width = len(str(total - 1))
    return dg.StaticPartitionsDefinition([f"{n:0{width}d}" for n in range(total)])


class Partitions:
    """The partition definitions of one lake shape."""

    def __init__(self, *, shards: int, buckets: int) -> None:
        self._numbered = {"shard": _numbered(shards), "bucket": _numbered(buckets)}
        self._by_columns: dict[tuple[str, ...], dg.PartitionsDefinition | None] = {("crawl",): CRAWLS}
        for dimension, numbers in self._numbered.items():
            self._by_columns["crawl", dimension] = dg.MultiPartitionsDefinition({"crawl": CRAWLS, dimension: numbers})

    def definition(self, table: str) -> dg.PartitionsDefinition | None:
        """The partitions of a table's asset; None where the asset is built whole."""
        return self.of_columns(TABLES[table].partition_by)

    def of_columns(self, partition_by: tuple[str, ...]) -> dg.PartitionsDefinition | None:
        """The partitions of an asset whose table is partitioned so; None where it is built whole."""
        return self._by_columns.get(partition_by)

    def key(self, partition: Partition) -> str:
        """Dagster's key of a partition."""
        keys = {
            name: str(value) if name == "crawl" else self._numbered[name].get_partition_keys()[int(value)]
            for name, value in partition.items()
        }
        return keys["crawl"] if len(keys) == 1 else dg.MultiPartitionKey(keys)

    def partition(self, table: str, key: str) -> Partition:
        """The partition that Dagster's key names."""
        if isinstance(key, dg.MultiPartitionKey):
            values = key.keys_by_dimension
            return {name: values[name] if name == "crawl" else int(values[name]) for name in TABLES[table].partition_by}
        return {"crawl": key}

    def mapping(self, read: Read, table: str) -> dg.PartitionMapping | None:
        """How the partitions of ``read.table`` map onto those of ``table``; None: Dagster's own choice is right."""
        return mapping(TABLES[read.table].partition_by, TABLES[table].partition_by)


def mapping(upstream: tuple[str, ...], downstream: tuple[str, ...]) -> dg.PartitionMapping | None:
    """How partitions by ``upstream`` columns map onto those by ``downstream`` ones; None: Dagster's choice is right."""
    if upstream == downstream or "crawl" not in upstream or "crawl" not in downstream:
        return None
    if ("crawl",) in (upstream, downstream):
        return dg.MultiToSingleDimensionPartitionMapping("crawl")
    # A dimension that is left out means all of it: every shard goes into every bucket.
    return dg.MultiPartitionMapping({"crawl": dg.DimensionPartitionMapping("crawl", dg.IdentityPartitionMapping())})
