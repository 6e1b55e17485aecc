"""What each table is built from, and with which version of the code.

The one declaration of the flow: steps take the partitions they read from it, Dagster's edges and partition mappings
are derived from it, and staleness is judged by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, parse_partition, partition_name
from laion_assets.tables.catalogue import TABLES

# Groups of the graph, as data flows: pages list them by name, so the names begin with their place.
CRAWL: Final = "1_crawl"
PAIRS: Final = "2_pairs"
SQL: Final = "3_sql"
TRAINING: Final = "4_training"
EVALUATION: Final = "5_evaluation"
OPERATIONS: Final = "6_operations"


@dataclass(frozen=True, kw_only=True)
class Read:
    """One table a stage reads, and which of its crawls. Shards are taken all, a bucket only for itself."""

    table: str
    crawls: Literal["same", "earlier", "all"] = "same"

    def partitions(self, lake: Lake, partition: Partition) -> list[Partition]:
        """The partitions of :attr:`table` that go into ``partition``.

        For ``same``, and of a table that is one partition, those that must be there. For ``earlier`` and ``all``, and
        for other tables that are not partitioned by crawl, those that are there: a crawl that comes later makes what
        was built without it stale.
        """
        names = lake.tables[self.table].partition_by
        if not names:
            return [{}]
        if set(names) <= {"recipe", "benchmark"} & set(partition):  # of the same recipe, of the same benchmark
            return [{name: partition[name] for name in names}]
        if "crawl" not in names or self.crawls == "all":
            return [parse_partition(name) for name in lake.ledger(self.table).commits]
        crawls: list[str] = [str(partition["crawl"])]
        if self.crawls == "earlier":
            crawls = [c for c in lake.ledger(self.table).crawls if c < crawls[0]]
        fixed = {name: [partition[name]] for name in ("shard", "bucket") if name in partition}
        ranges = {"shard": range(lake.shards), "bucket": range(lake.buckets), **fixed, "crawl": crawls}
        found: list[Partition] = [
            dict(zip(names, values, strict=True)) for values in product(*(ranges[name] for name in names))
        ]
        if self.crawls == "earlier":
            commits = lake.ledger(self.table).commits
            return [p for p in found if partition_name(p) in commits]
        return found


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How one table comes about."""

    table: str
    code_version: str
    """Raise it when the rows would come out differently: every partition built before becomes stale."""
    reads: tuple[Read, ...] = ()
    group: str
    """Where the graph shows it."""

    def read(self, table: str, crawls: str | None = None) -> Read:
        """The declared read of ``table``: of ``crawls`` where it is read in several ways, the first otherwise."""
        return next(r for r in self.reads if r.table == table and crawls in (None, r.crawls))


STAGES: Mapping[str, Stage] = {
    stage.table: stage
    for stage in (
        Stage(table="takedowns", code_version="1", group=PAIRS),
        Stage(table="crawl_snapshots", code_version="2", group=CRAWL),
        Stage(table="wat_files", code_version="2", group=CRAWL, reads=(Read(table="crawl_snapshots"),)),
        Stage(table="candidate_pairs", code_version="3", group=CRAWL, reads=(Read(table="wat_files"),)),
        Stage(
            table="unique_pairs",
            code_version="2",
            group=PAIRS,
            reads=(
                Read(table="candidate_pairs"),
                Read(table="unique_pairs", crawls="earlier"),
                Read(table="takedowns"),
            ),
        ),
        Stage(
            table="images",
            code_version="2",
            group=PAIRS,
            reads=(Read(table="unique_pairs"), Read(table="takedowns")),
        ),
        Stage(table="calibrations", code_version="3", group=PAIRS),
        Stage(
            table="clip_embeddings",
            code_version="2",
            group=PAIRS,
            reads=(Read(table="unique_pairs"), Read(table="images")),
        ),
        Stage(
            table="filtered_pairs",
            code_version="2",
            group=PAIRS,
            reads=(
                Read(table="unique_pairs"),
                Read(table="images"),
                Read(table="clip_embeddings"),
                Read(table="calibrations"),
                Read(table="takedowns"),
            ),
        ),
        Stage(table="benchmark_images", code_version="2", group=TRAINING),
        Stage(
            table="training_sets",
            code_version="2",
            group=TRAINING,
            # What the selection's SQL reads comes on top: see `sql.selection`.
            reads=(
                Read(table="unique_pairs", crawls="all"),
                Read(table="images", crawls="all"),
                Read(table="benchmark_images", crawls="all"),
                Read(table="takedowns"),
            ),
        ),
        Stage(table="clip_checkpoints", code_version="1", group=TRAINING, reads=(Read(table="training_sets"),)),
        Stage(
            table="zero_shot_scores",
            code_version="1",
            group=EVALUATION,
            reads=(Read(table="clip_checkpoints"), Read(table="benchmark_images")),
        ),
        Stage(
            table="retrieval_scores",
            code_version="1",
            group=EVALUATION,
            reads=(Read(table="clip_checkpoints"), Read(table="benchmark_images")),
        ),
        Stage(
            table="robustness",
            code_version="1",
            group=EVALUATION,
            reads=(Read(table="zero_shot_scores", crawls="all"), Read(table="clip_checkpoints", crawls="all")),
        ),
        Stage(
            table="scaling_laws",
            code_version="1",
            group=EVALUATION,
            reads=(
                Read(table="zero_shot_scores", crawls="all"),
                Read(table="retrieval_scores", crawls="all"),
                Read(table="clip_checkpoints", crawls="all"),
            ),
        ),
        # Reads the commit records of all tables, and no rows.
        Stage(table="partition_states", code_version="1", group=OPERATIONS),
    )
}
"""Every stage by table, upstream first."""

PER_CRAWL = tuple(name for name in STAGES if "crawl" in TABLES[name].partition_by)
"""The stages that are built crawl by crawl, in order."""


def partitions_of(lake: Lake, table: str, crawl: str) -> list[Partition]:
    """Every partition ``table`` has for one crawl, built or not."""
    ranges: dict[str, Sequence[str | int]] = {
        "crawl": [crawl],
        "shard": range(lake.shards),
        "bucket": range(lake.buckets),
    }
    names = lake.tables[table].partition_by
    return [dict(zip(names, values, strict=True)) for values in product(*(ranges[n] for n in names))]
