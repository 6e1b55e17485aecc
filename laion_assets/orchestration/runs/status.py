"""How everything in a lake stands, with what Dagster remembers: stages, SQL models, trainings and scores alike."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from laion_assets.delta.partition import partition_name
from laion_assets.delta.states import PartitionState, State
from laion_assets.orchestration.planning.parts import MODELS, SCORES, TRAININGS, Place
from laion_assets.sql.errors import Fault
from laion_assets.tables.catalogue import PER_CRAWL, PER_RELEASE, TABLES

if TYPE_CHECKING:
    from laion_assets.orchestration.runs.history import FailedBuild, RunHistory

STATES: Final = ("done", "running", "stale", "failed", "missing")
"""How a partition can stand, in the order in which bars show it."""


@dataclass(frozen=True)
class Standing:
    """One partition as it is shown."""

    table: str
    crawl: str
    """Empty where it belongs to none."""
    partition: str
    state: str
    """One of :data:`STATES`."""
    reasons: tuple[str, ...] = ()
    recipe: str = ""
    """Empty where it belongs to none."""

    @property
    def place(self) -> Place:
        """What names it."""
        return self.table, self.partition

    @property
    def waits(self) -> bool:
        """Whether it is a SQL model that is built on a broken one."""
        return self.part == MODELS and any(reason.startswith("waits for ") for reason in self.reasons)

    @property
    def part(self) -> str:
        """What it is counted under: its table, and of a SQL model all of them together."""
        return self.table if self.table in TABLES else MODELS


@dataclass(frozen=True)
class LakeStatus:
    """All partitions of some crawls, and what is built from all of them together."""

    lake: str
    standings: Sequence[Standing]
    faults: Sequence[Fault] = ()
    """What is wrong with files of SQL models, those that are of no model among them."""
    counts: Mapping[tuple[str, str], Counter[str]] = field(init=False)
    """By table and crawl, how many partitions of the stages stand how."""
    beside: Mapping[str, Counter[str]] = field(init=False)
    """How many others stand how: by table, and SQL models together."""
    of_recipes: Mapping[str, Mapping[str, Counter[str]]] = field(init=False)
    """By recipe and table, how many partitions stand how."""

    def __post_init__(self) -> None:
        counts: dict[tuple[str, str], Counter[str]] = {}
        beside: dict[str, Counter[str]] = {}
        of_recipes: dict[str, dict[str, Counter[str]]] = {}
        for standing in self.standings:
            if standing.table in PER_CRAWL:
                counts.setdefault((standing.table, standing.crawl), Counter())[standing.state] += 1
                continue
            beside.setdefault(standing.part, Counter())[standing.state] += 1
            if standing.recipe:
                of_one = of_recipes.setdefault(standing.recipe, {})
                of_one.setdefault(standing.table, Counter())[standing.state] += 1
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "beside", beside)
        object.__setattr__(self, "of_recipes", of_recipes)

    @property
    def crawls(self) -> list[str]:
        """The crawls, the earliest first, as they were judged."""
        return list(dict.fromkeys(crawl for _, crawl in self.counts))

    @property
    def stages(self) -> list[str]:
        """The stages of crawls, in order, without optional ones of which there is nothing."""
        there = {table for table, _ in self.counts}
        return [table for table in PER_CRAWL if table in there or not TABLES[table].optional]

    def of_table(self, table: str) -> Counter[str]:
        """How many partitions of a table stand how, over all crawls."""
        return sum((counts for (name, _), counts in self.counts.items() if name == table), Counter())

    def of_crawl(self, crawl: str) -> Counter[str]:
        """How many partitions of a crawl stand how, over all stages."""
        return sum((counts for (_, name), counts in self.counts.items() if name == crawl), Counter())

    def is_done(self, crawl: str) -> bool:
        """Whether every partition of a crawl is."""
        return set(self.of_crawl(crawl)) == {"done"}


def lake_status(
    lake: str, states: Iterable[PartitionState], history: "RunHistory", crawls: Sequence[str] = ()
) -> LakeStatus:
    """How partitions stand: what is done the lake says, what runs or failed Dagster.

    Args:
        lake: its name.
        states: of every partition of the lake.
        history: what Dagster remembers.
        crawls: those to look at; none: all, and what belongs to no crawl.
    """
    standings = []
    for state in states:
        crawl, name = str(state.partition.get("crawl", "")), partition_name(state.partition)
        if crawls and crawl not in crawls:
            continue
        place = state.table, name
        shown = str(state.state)
        if place in history.running:
            shown = "running"
        elif state.state is not State.DONE and (place in history.failed or _is_at_fault(state)):
            shown = "failed"
        recipe = str(state.partition.get("recipe", ""))
        standings.append(Standing(state.table, crawl, name, shown, (*state.reasons, *state.inherited), recipe))
    return LakeStatus(lake, standings)


def _is_at_fault(state: PartitionState) -> bool:
    """Whether a SQL model's file is wrong, or a test of what is published of it failed."""
    return state.table not in TABLES and any(
        reason.startswith("broken: ") or (reason.startswith("test ") and reason.endswith(" failed"))
        for reason in state.reasons
    )


def as_object(status: LakeStatus, failures: Mapping[Place, "FailedBuild"]) -> dict[str, Any]:
    """All of it as JSON values; of the partitions those that are not done."""
    models: dict[str, Counter[str]] = {}
    for standing in status.standings:
        if standing.part == MODELS:
            models.setdefault(standing.table, Counter())[standing.state] += 1
    return {
        "lake": status.lake,
        "faults": [str(fault) for fault in status.faults],
        "stages": {table: _in_full(status.of_table(table)) for table in status.stages},
        "crawls": {
            crawl: {table: _in_full(status.counts.get((table, crawl), {})) for table in status.stages}
            for crawl in status.crawls
        },
        "models": {name: _in_full(counts) for name, counts in models.items()},
        "trainings": {table: _in_full(status.beside[table]) for table in TRAININGS if table in status.beside},
        "scores": {table: _in_full(status.beside[table]) for table in SCORES if table in status.beside},
        "releases": {table: _in_full(status.beside[table]) for table in PER_RELEASE if table in status.beside},
        "partitions": [
            {
                "table": standing.table,
                "partition": standing.partition,
                "state": standing.state,
                "reasons": list(standing.reasons),
                **_failure_object(failures.get(standing.place)),
            }
            for standing in status.standings
            if standing.state != "done"
        ],
    }


def _in_full(counts: Mapping[str, int]) -> dict[str, int]:
    return {state: counts.get(state, 0) for state in STATES}


def _failure_object(failure: "FailedBuild | None") -> dict[str, Any]:
    if failure is None:
        return {}
    return {
        "failures": failure.times,
        "run_id": failure.run_id,
        "error": failure.error,
        "failed_at": failure.at.isoformat(timespec="seconds") if failure.at else None,
    }
