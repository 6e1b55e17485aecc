"""What is due of SQL models: of those selected, upstream first, in as few runs as their dependencies allow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from laion_assets.delta.flow import partitions_read, partitions_there
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.delta.states import State
from laion_assets.orchestration.planning.parts import MODELS, Place
from laion_assets.orchestration.planning.waves import Site, Task, Wave
from laion_assets.sql.build import model_states, partitions_of_model, stage_of
from laion_assets.tables.catalogue import PER_CRAWL


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """What is missing or stale of some models."""

    models: Sequence[str]
    """Upstream first."""
    force: bool = False
    """Also what is up to date."""

    def names(self, _: Site) -> Mapping[str, Sequence[str]]:
        """None: what a model is built of is in the lake already."""
        return {}

    def waves(self, site: Site) -> Iterator[Wave]:
        """A wave for each run: models that are built together, of one crawl or of all."""
        due, waiting = self._due(site)

        def needs(model: str, partition: Partition) -> Iterator[Place]:
            return ((upstream, partition_name(partition)) for upstream in site.project.upstream(model))

        total: int | None = sum(map(len, due.values()))
        for tasks in ([], *([task] for task in self._tasks(site, due))):
            yield Wave(part=MODELS, tasks=tasks, total=total, waiting=waiting, needs=needs)
            total, waiting = None, 0

    def _due(self, site: Site) -> tuple[dict[str, list[Partition]], int]:
        """By model what is due and can be built, and how many partitions have to wait."""
        due: dict[str, list[Partition]] = {name: [] for name in self.models}
        waiting = 0
        for (name, _), state in model_states(site.project, site.lake).items():
            if name not in due or (state.state is State.DONE and not self.force):
                continue
            if _is_ready(site, name, state.partition):
                due[name].append(state.partition)
            else:
                waiting += 1
        # What is built on a model that is built now will be stale then.
        for name in self.models:
            if not due[name] and any(due.get(upstream) for upstream in site.project.upstream(name)):
                places = partitions_of_model(site.lake, site.project.models[name])
                due[name] = [place for place in places if _is_ready(site, name, place)]
        return due, waiting

    def _tasks(self, site: Site, due: Mapping[str, Sequence[Partition]]) -> Iterator[Task]:
        """Runs in order, as few as the models' dependencies allow."""
        left = [name for name in self.models if due[name]]
        while left:
            kind = site.project.models[left[0]].is_incremental
            chosen: list[str] = []
            for name in left:
                waits = [n for n in site.project.upstream(name) if n in left and n not in chosen]
                if site.project.models[name].is_incremental == kind and not waits:
                    chosen.append(name)
            left = [name for name in left if name not in chosen]
            places = {partition_name(p): p for name in chosen for p in due[name]}
            for place in sorted(places):
                models = tuple(n for n in chosen if place in [partition_name(p) for p in due[n]])
                yield Task(models, places[place])


def _is_ready(site: Site, name: str, partition: Partition) -> bool:
    """Whether all tables are built that go into a crawl of a model: a crawl in the making has to wait."""
    if not partition:
        return True
    built = all(
        partition_name(upstream) in site.lake.ledger(read.table).commits
        for read in stage_of(site.project, name).reads
        if read.table in PER_CRAWL
        for upstream in (partitions_read if site.settings.wants(read.table) else partitions_there)(
            site.lake, read, partition
        )
    )
    models = site.project.models
    return built and all(_is_ready(site, n, partition) for n in site.project.upstream(name) if models[n].is_incremental)
