"""What Dagster is told of a lake: which crawls, recipes and evaluation sets are partitions.

Dagster keeps that in its own storage, which may be newer than the lake: the commits say it again.
"""

from collections.abc import Collection, Mapping

import dagster as dg

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.orchestration.partitions import REGISTERED
from laion_assets.tables.catalogue import CATALOGUE, STAGES, TABLES


def built_names(lake: Lake) -> Mapping[str, set[str]]:
    """By column whose values come and go in Dagster, every value that the lake holds a partition of."""
    found: dict[str, set[str]] = {column: set() for column in REGISTERED}
    for table in STAGES:
        columns = found.keys() & {*TABLES[table].partition_by}
        for name in _partition_names(lake, table) if columns else ():
            partition = CATALOGUE.partition(name)
            for column in columns:
                found[column].add(str(partition[column]))
    return found


def _partition_names(lake: Lake, table: str) -> Collection[str]:
    try:
        return lake.ledger(table).commits
    except LakeError:  # whoever needs this table is told what heals it; the others are no worse for it
        return ()


def register_built(instance: dg.DagsterInstance, lake: Lake) -> None:
    """Make partitions of everything the lake was built of, where Dagster does not know it."""
    for column, names in built_names(lake).items():
        register(instance, column, sorted(names))


def register(instance: dg.DagsterInstance, column: str, names: list[str]) -> list[str]:
    """Make values of a column partitions; gives those that were none before, in their order."""
    known = {*registered(instance, column)}
    new = [name for name in dict.fromkeys(names) if name not in known]
    if new:
        instance.add_dynamic_partitions(str(REGISTERED[column].name), new)
    return new


def registered(instance: dg.DagsterInstance, column: str) -> list[str]:
    """The values of a column that are partitions."""
    return list(instance.get_dynamic_partitions(str(REGISTERED[column].name)))


def unregister(instance: dg.DagsterInstance, column: str, name: str) -> None:
    """Make a value of a column no partition any more."""
    instance.delete_dynamic_partition(str(REGISTERED[column].name), name)
