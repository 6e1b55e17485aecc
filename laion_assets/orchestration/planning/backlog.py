"""Which partitions to build next, and as which runs. Knows no Dagster.

A partition that is due can be built once everything it is built from is up to date, or is built before it in the same
run. Partitions of one key become one run, so that a bucket goes from its pairs to
its release with one start of a process; short partitions that lie side by side become one run over a range.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from laion_assets.delta.partition import WHOLE, Partition, partition_name
from laion_assets.delta.states import PartitionState, State
from laion_assets.delta.table import Read
from laion_assets.orchestration.planning.overview import JudgedLake
from laion_assets.orchestration.planning.parts import CALIBRATIONS, PARTITION_STATES
from laion_assets.orchestration.planning.states import is_due
from laion_assets.sql.commits import COMMITS
from laion_assets.tables.catalogue import PER_CRAWL, TABLES


class Answer(Enum):
    """What is to become of a partition that could be built."""

    NOW = "now"
    RETRY = "retry"
    """Now, but by itself: it has failed before."""
    LATER = "later"
    NEVER = "never"
    """It has failed too often as things are."""


class Outlook(Enum):
    """What a partition that is not up to date can hope for."""

    REQUESTED = "requested"
    COMING = "coming"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Item:
    """One partition that is to be built."""

    asset: str
    partition: Partition
    digest: Callable[[], str] = field(compare=False)
    """Gives the digest of what it will be built from."""
    retry: bool

    @property
    def name(self) -> str:
        """The partition's name."""
        return partition_name(self.partition)


@dataclass
class Unit:
    """Everything that is due of one key."""

    partition: Partition
    items: list[Item] = field(default_factory=list)

    @property
    def assets(self) -> tuple[str, ...]:
        """What is built, upstream first."""
        return tuple(item.asset for item in self.items)

    @property
    def crawl(self) -> str:
        """Its crawl; empty where it has none, which comes first."""
        return str(self.partition.get("crawl", ""))

    @property
    def is_short(self) -> bool:
        """Whether it may share a run with its neighbours."""
        long = any(name in TABLES and TABLES[name].long for name in self.assets)
        return not long and not any(item.retry for item in self.items) and bool(self.partition)


Run: TypeAlias = list[Unit]
"""Units of the same assets whose keys are one range."""

Asked: TypeAlias = Callable[[str, str, Callable[[], str]], Answer]
"""Asked of (asset, partition name, digest of what it would be built from) whether to build it."""


class Backlog:
    """Everything that is not up to date in a lake at one moment, and what of it can be built now.

    Args:
        lake: the lake.
        busy: partitions that run or are queued, by (asset, partition name).
        ask: decides on a partition that could be built.
        patient: whether what covers all crawls waits until nothing is on its way that it reads.
        again: partitions that are up to date and are to be built all the same.
    """

    def __init__(
        self,
        lake: JudgedLake,
        busy: frozenset[tuple[str, str]],
        ask: Asked,
        *,
        patient: bool = True,
        again: Iterable[PartitionState] = (),
    ) -> None:
        self._lake = lake
        self._busy = busy
        self._ask = ask
        self._patient = patient
        self._again = {(state.table, state.name): state for state in again}
        self._units: dict[tuple[tuple[str, str | int], ...], Unit] = {}
        self.outlooks: dict[tuple[str, str], Outlook] = {}
        self._unready: Counter[tuple[str, str]] = Counter()
        self._given_up: Counter[tuple[str, str]] = Counter()
        self._unready_history: set[tuple[str, str | int]] = set()
        self._settle()

    def _settle(self) -> None:
        if self._lake.calibration_due:
            self._stand(CALIBRATIONS, {}, waits=False, blocked=False, before=())
        for table in PER_CRAWL:
            for crawl in self._lake.crawls:
                again = [s for s in self._again.values() if s.table == table and s.partition["crawl"] == crawl]
                for state in (*self._lake.groups[table, crawl].open, *again):
                    self._stage(state)
        for (model, _), state in self._lake.models.items():
            if state.state is not State.DONE:
                self._model(model, state)
        if self._lake.states_due:
            waits = self._patient and any(s is not Outlook.GIVEN_UP for s in self.outlooks.values())
            self._stand(PARTITION_STATES, {}, waits=waits, blocked=False, before=())

    def _stage(self, state: PartitionState) -> None:
        found = _Upstream()
        for read in TABLES[state.table].reads:
            self._look_upstream(read, state, found)
        found.blocked |= state.partition["crawl"] not in self._lake.registered
        self._judge(state, found, due=is_due(state) or (state.table, state.name) in self._again)
        if (state.table, state.name) in self.outlooks and not found.blocked:
            self._note_history(state)

    def _note_history(self, state: PartitionState) -> None:
        if self.outlooks[state.table, state.name] is not Outlook.GIVEN_UP and "bucket" in state.partition:
            self._unready_history.add((state.table, state.partition["bucket"]))

    def _look_upstream(self, read: Read, state: PartitionState, found: "_Upstream") -> None:
        """What one read says of a partition. Crawls are settled in order, so that all earlier ones are by then."""
        if read.periods == "earlier":
            found.waits |= (read.table, state.partition["bucket"]) in self._unready_history
        elif "crawl" not in TABLES[read.table].partition_by:
            found.take(read.table, self.outlooks.get((read.table, WHOLE)), chained=False)
        elif TABLES[read.table].partition_by == TABLES[state.table].partition_by:
            found.take(read.table, self.outlooks.get((read.table, state.name)), chained=True)
        else:
            key = (read.table, str(state.partition["crawl"]))
            found.waits |= self._unready[key] > 0
            found.blocked |= self._given_up[key] > 0

    def _model(self, model: str, state: PartitionState) -> None:
        found = _Upstream()
        project, crawl = self._lake.project, state.partition.get("crawl")
        sources = {t for s in project.sources(model) for t in (PER_CRAWL if s == COMMITS.name else (s,))}
        for asset in (*sources, *project.upstream(model)):
            by_crawl = asset in PER_CRAWL or (asset in project.models and project.models[asset].is_incremental)
            if not by_crawl:
                chained = asset in project.models and crawl is None
                found.take(asset, self.outlooks.get((asset, WHOLE)), chained=chained)
            elif crawl is None:
                # What was given up does not hold up what covers all crawls: it is built of what is there, if any is.
                nothing = not self._lake.lake.ledger(asset).commits
                coming = any(self._unready[asset, crawl] for crawl in self._lake.registered)
                found.waits |= coming and (self._patient or nothing)
                optional = asset in TABLES and TABLES[asset].optional
                found.blocked |= nothing and not coming and not optional
            elif asset in project.models:
                found.take(asset, self.outlooks.get((asset, state.name)), chained=True)
            else:
                found.waits |= self._unready[asset, str(crawl)] > 0
                found.blocked |= self._given_up[asset, str(crawl)] > 0
        if crawl is not None:
            found.blocked |= crawl not in self._lake.registered
        self._judge(state, found, due=is_due(state))

    def _judge(self, state: PartitionState, found: "_Upstream", *, due: bool) -> None:
        if due or found.waits or found.blocked or found.before:
            waits = found.waits or (not due and not found.blocked)
            self._stand(state.table, state.partition, waits=waits, blocked=found.blocked, before=found.before)

    def _stand(self, asset: str, partition: Partition, *, waits: bool, blocked: bool, before: Iterable[str]) -> None:
        """Decide on one partition.

        Args:
            asset: table or model.
            partition: of it.
            waits: whether something it is built from is on its way.
            blocked: whether something it is built from will not come.
            before: what is built before it in the same run.
        """
        name = partition_name(partition)
        outlook, retry = Outlook.COMING, False

        def digest() -> str:
            return self._lake.input_digest(asset, partition, *before)

        if blocked:
            outlook = Outlook.GIVEN_UP
        elif not waits and (asset, name) not in self._busy:
            answer = self._ask(asset, name, digest)
            retry = answer is Answer.RETRY
            if answer in (Answer.NOW, Answer.RETRY):
                outlook = Outlook.REQUESTED
            elif answer is Answer.NEVER:
                outlook = Outlook.GIVEN_UP
        self.outlooks[asset, name] = outlook
        crawl = str(partition.get("crawl", ""))
        (self._given_up if outlook is Outlook.GIVEN_UP else self._unready)[asset, crawl] += 1
        if outlook is Outlook.REQUESTED:
            unit = self._units.setdefault(tuple(partition.items()), Unit(partition))
            unit.items.append(Item(asset, partition, digest, retry))

    def runs(self, order: Mapping[str, int], *, most: int) -> Iterator[Run]:
        """The units as runs, the oldest crawl first.

        Args:
            order: place of each crawl among Dagster's keys.
            most: partitions a run over a range may have.
        """
        run: Run = []
        by_age = {crawl: place for place, crawl in enumerate(self._lake.crawls)}
        for unit in sorted(self._units.values(), key=lambda unit: _place(unit, by_age)):
            if run and len(run) < most and _follows(run[-1], unit, order):
                run.append(unit)
                continue
            if run:
                yield run
            run = [unit]
        if run:
            yield run


@dataclass
class _Upstream:
    """What is known of everything that a partition is built from."""

    waits: bool = False
    blocked: bool = False
    before: list[str] = field(default_factory=list)

    def take(self, asset: str, outlook: Outlook | None, *, chained: bool) -> None:
        """Take in where one input stands; ``chained``: it can be built in the same run."""
        if outlook is Outlook.GIVEN_UP:
            self.blocked = True
        elif outlook is Outlook.REQUESTED and chained:
            self.before.append(asset)
        elif outlook is not None:
            self.waits = True


def _place(unit: Unit, by_age: Mapping[str, int]) -> tuple[int, int, int]:
    """The oldest crawl first; of a crawl its own partition, then its shards, then its buckets."""
    age = by_age.get(unit.crawl, -1)
    for kind, name in enumerate(("shard", "bucket"), start=1):
        if name in unit.partition:
            return age, kind, int(unit.partition[name])
    return age, 0, 0


def _follows(one: Unit, other: Unit, order: Mapping[str, int]) -> bool:
    """Whether a run over ``one`` can go on to ``other``: the same assets, and the next key."""
    if one.assets != other.assets or not (one.is_short and other.is_short):
        return False
    numbers = [name for name in ("shard", "bucket") if name in one.partition]
    if not numbers:
        return order[other.crawl] == order[one.crawl] + 1
    return one.crawl == other.crawl and int(other.partition[numbers[0]]) == int(one.partition[numbers[0]]) + 1


def items_of(runs: Sequence[Run]) -> list[Item]:
    """Every partition that these runs build."""
    return [item for run in runs for unit in run for item in unit.items]
