"""Which tables are built, in the order in which data flows, and which partitions go into which.

What each is built from, and with which version of the code, its declaration says.
"""

from collections.abc import Sequence
from itertools import product

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, parse_partition, partition_name
from laion_assets.delta.table import Read
from laion_assets.tables.catalogue import TABLES

STAGES = tuple(name for name, table in TABLES.items() if table.code_version)
"""Every table that is built or filled by hand, upstream first."""

PER_CRAWL = tuple(name for name in STAGES if "crawl" in TABLES[name].partition_by)
"""The stages that are built crawl by crawl, in order."""

PER_RECIPE = tuple(name for name in STAGES if "recipe" in TABLES[name].partition_by)
"""Those that are built recipe by recipe, in order."""

FUNNEL = {name: table.funnel for name, table in TABLES.items() if table.funnel is not None}
"""Those in which pairs become fewer, in order, with what each does."""


def partitions_read(lake: Lake, read: Read, partition: Partition) -> list[Partition]:
    """The partitions of a table that go into ``partition`` of another.

    For ``same``, and of a table that is one partition, those that must be there. For ``earlier`` and ``all``, and
    for other tables that are not partitioned by crawl, those that are there: a crawl that comes later makes what
    was built without it stale.
    """
    names = lake.tables[read.table].partition_by
    if not names:
        return [{}]
    if set(names) <= {"recipe", "benchmark"} & set(partition):  # of the same recipe, of the same benchmark
        return [{name: partition[name] for name in names}]
    if "crawl" not in names or read.periods == "all":
        return [parse_partition(name) for name in lake.ledger(read.table).commits]
    crawls: list[str] = [str(partition["crawl"])]
    if read.periods == "earlier":
        crawls = [c for c in lake.ledger(read.table).crawls if c < crawls[0]]
    fixed = {name: [partition[name]] for name in ("shard", "bucket") if name in partition}
    ranges = {"shard": range(lake.shards), "bucket": range(lake.buckets), **fixed, "crawl": crawls}
    found: list[Partition] = [
        dict(zip(names, values, strict=True)) for values in product(*(ranges[name] for name in names))
    ]
    if read.periods == "earlier":
        commits = lake.ledger(read.table).commits
        return [p for p in found if partition_name(p) in commits]
    return found


def partitions_of(lake: Lake, table: str, crawl: str) -> list[Partition]:
    """Every partition ``table`` has for one crawl, built or not."""
    ranges: dict[str, Sequence[str | int]] = {
        "crawl": [crawl],
        "shard": range(lake.shards),
        "bucket": range(lake.buckets),
    }
    names = lake.tables[table].partition_by
    return [dict(zip(names, values, strict=True)) for values in product(*(ranges[n] for n in names))]
