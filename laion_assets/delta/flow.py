"""Which partitions a table has, and which of them go into a partition of another."""

from collections.abc import Mapping, Sequence
from itertools import product

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.delta.table import Read


def partitions_of(lake: Lake, table: str, period: str) -> list[Partition]:
    """Every partition ``table`` has for one period, built or not."""
    return _spread(lake, table, {str(lake.catalogue.period): [period]})


def partitions_read(lake: Lake, read: Read, partition: Partition) -> list[Partition]:
    """The partitions of a table that go into ``partition`` of another: those that share its values.

    Of the same period, and of the same values altogether, those that must be there. Of earlier periods, of all, of what
    people enter, and where nothing says which there should be, those that are there: what comes later makes what was
    built without it stale.
    """
    period, names = lake.catalogue.period, lake.tables[read.table].partition_by
    shared: dict[str, list[str | int]] = {name: [partition[name]] for name in names if name in partition}
    is_known = all(name in shared or name in lake.catalogue.counts for name in names)
    if names and (read.periods == "all" or not is_known):
        return [lake.catalogue.partition(name) for name in lake.ledger(read.table).commits]
    if lake.catalogue.is_entered(read.table):
        commits = lake.ledger(read.table).commits
        return [upstream for upstream in _spread(lake, read.table, shared) if partition_name(upstream) in commits]
    if period not in names or read.periods != "earlier":
        return _spread(lake, read.table, shared)
    own, ledger, order = str(shared[period][0]), lake.ledger(read.table), lake.order
    before = [earlier for earlier in ledger.periods if order.is_before(earlier, own)]
    found = _spread(lake, read.table, {**shared, period: before})
    return [upstream for upstream in found if partition_name(upstream) in ledger.commits]


def partitions_there(lake: Lake, read: Read, partition: Partition) -> list[Partition]:
    """Those of :func:`partitions_read` that must be there: of an optional table those that were built."""
    found = partitions_read(lake, read, partition)
    if not lake.tables[read.table].optional:
        return found
    built = lake.ledger(read.table).commits
    return [upstream for upstream in found if partition_name(upstream) in built]


def _spread(lake: Lake, table: str, fixed: Mapping[str, Sequence[str | int]]) -> list[Partition]:
    names = lake.tables[table].partition_by
    ranges = (fixed[name] if name in fixed else lake.numbers(name) for name in names)
    return [dict(zip(names, values, strict=True)) for values in product(*ranges)]
