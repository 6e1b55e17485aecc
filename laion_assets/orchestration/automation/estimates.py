"""What building a partition will cost, from what building others cost in this lake."""

from dataclasses import dataclass
from statistics import fmean

import dagster as dg
from dagster import AssetMaterialization

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.orchestration.assets.images import BYTES, TRANSIENT
from laion_assets.orchestration.planning.backlog import Item

BYTES_PER_URL = 50_000.0
"""Bytes a url costs where this lake has downloaded nothing yet."""
PAIRS_PER_SECOND = 200.0
"""Pairs a GPU embeds in a second where this lake has embedded nothing yet."""
ROWS_PER_BUCKET = 100_000.0
"""Pairs of a bucket where this lake has none yet."""
_SAMPLED = 4
"""How many of the newest partitions are looked into."""


@dataclass(frozen=True)
class Cost:
    """What something costs, or may cost."""

    runs: float = 0
    bytes: float = 0
    gpu_seconds: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.runs + other.runs, self.bytes + other.bytes, self.gpu_seconds + other.gpu_seconds)

    def fits(self, budget: "Cost") -> bool:
        """Whether it is within a budget."""
        return self.runs <= budget.runs and self.bytes <= budget.bytes and self.gpu_seconds <= budget.gpu_seconds


class Estimates:
    """Rates of one lake, measured once.

    Args:
        lake: the lake.
        instance: Dagster's, which knows how long steps took.
    """

    def __init__(self, lake: Lake, instance: dg.DagsterInstance) -> None:
        self._lake = lake
        pairs = [commit.rows for commit in lake.ledger("unique_pairs").commits.values()]
        self.rows_per_bucket = fmean(pairs) if pairs else ROWS_PER_BUCKET
        self.bytes_per_url = _bytes_per_url(lake) or BYTES_PER_URL
        self.pairs_per_second = _pairs_per_second(instance) or PAIRS_PER_SECOND

    def of(self, item: Item) -> Cost:
        """What one partition costs, besides its run."""
        pairs = self._rows("unique_pairs", item, self.rows_per_bucket)
        done = self._rows(item.asset, item, 0)
        if item.asset == "images":
            commit = self._lake.ledger("images").commits.get(item.name)
            again = commit.counts.get(TRANSIENT, 0) if commit is not None else 0
            return Cost(bytes=(max(0.0, pairs - done) + again) * self.bytes_per_url)
        if item.asset == "clip_embeddings":
            return Cost(gpu_seconds=pairs / self.pairs_per_second)
        return Cost()

    def _rows(self, table: str, item: Item, unknown: float) -> float:
        ledger = self._lake.ledger(table) if table in self._lake.tables else None
        commit = ledger.commits.get(partition_name(item.partition)) if ledger is not None else None
        return commit.rows if commit is not None else unknown


def _bytes_per_url(lake: Lake) -> float | None:
    commits = [c for c in lake.ledger("images").commits.values() if c.rows and BYTES in c.counts]
    newest = sorted(commits, key=lambda commit: commit.version)[-_SAMPLED:]
    return sum(c.counts[BYTES] for c in newest) / sum(c.rows for c in newest) if newest else None


def _pairs_per_second(instance: dg.DagsterInstance) -> float | None:
    records = instance.fetch_materializations(dg.AssetKey("clip_embeddings"), limit=_SAMPLED).records
    made = [record.asset_materialization for record in records]
    measured = [found for one in made if one is not None and (found := _rows_and_seconds(one)) is not None]
    seconds = sum(s for _, s in measured)
    return sum(rows for rows, _ in measured) / seconds if seconds else None


def _rows_and_seconds(made: AssetMaterialization) -> tuple[float, float] | None:
    values = [made.metadata[name].value for name in ("rows in", "seconds") if name in made.metadata]
    rows_and_seconds = [float(value) for value in values if isinstance(value, int | float)]
    return (rows_and_seconds[0], rows_and_seconds[1]) if len(rows_and_seconds) == 2 else None
