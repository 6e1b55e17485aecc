"""What is due of recipes: evaluation sets, training sets, checkpoints and scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from laion_assets.delta.partition import Partition
from laion_assets.evaluation.registry import HOW_TO_GET, benchmark_names, registered
from laion_assets.orchestration.planning.parts import OVER_RECIPES, SCORE_TABLES
from laion_assets.orchestration.planning.states import is_due, recipe_state
from laion_assets.orchestration.planning.waves import RequestError, Site, Wave, stage_wave
from laion_assets.orchestration.run_tags import REFRESH_TAG


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """The training sets and checkpoints of some recipes, after all evaluation sets were registered."""

    recipes: Sequence[str]
    refresh: bool = False
    """Select anew from the tables as they are now, also where a training set is there."""

    def names(self, site: Site) -> Mapping[str, Sequence[str]]:
        """The recipes, which have to be known, and all evaluation sets."""
        known = [site.settings.recipe(name).name for name in self.recipes]
        return {"recipe": known, "benchmark": benchmark_names(site.settings.benchmark_folder)}

    def waves(self, site: Site) -> Iterator[Wave]:
        """A wave for each table."""
        recipes: list[Partition] = [{"recipe": name} for name in self.recipes]
        yield _due(site, "benchmark_images", _benchmarks(benchmark_names(site.settings.benchmark_folder)))
        yield _due(site, "training_sets", recipes, refresh=self.refresh)
        yield _due(site, "clip_checkpoints", recipes)


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """The scores of trained recipes, and what is said over all recipes."""

    recipes: Sequence[str]
    benchmarks: Sequence[str] = ()
    """Names of evaluation sets; none: all there are."""

    def names(self, site: Site) -> Mapping[str, Sequence[str]]:
        """The evaluation sets.

        Raises:
            RequestError: a recipe was not trained, or there is no evaluation set.
            BenchmarkError: an evaluation set does not exist, or its layout is wrong.
        """
        untrained = [name for name in self.recipes if site.lake.commit("clip_checkpoints", {"recipe": name}) is None]
        if untrained:
            raise RequestError(f"{', '.join(untrained)}: not trained yet; `laion train {' '.join(untrained)}` does it")
        names = self._benchmarks(site)
        if not names:
            raise RequestError(f"{site.settings.benchmark_folder} holds no benchmark: {HOW_TO_GET}")
        return {"benchmark": [registered(site.settings.benchmark_folder, name).name for name in names]}

    def waves(self, site: Site) -> Iterator[Wave]:
        """A wave for each table."""
        names = self._benchmarks(site)
        yield _due(site, "benchmark_images", _benchmarks(names))
        crossed: list[Partition] = [{"recipe": recipe, "benchmark": name} for recipe in self.recipes for name in names]
        for table in SCORE_TABLES:
            yield _due(site, table, crossed)
        for table in OVER_RECIPES:
            yield _due(site, table, [{}])

    def _benchmarks(self, site: Site) -> list[str]:
        return list(self.benchmarks) or benchmark_names(site.settings.benchmark_folder)


def _benchmarks(names: Sequence[str]) -> list[Partition]:
    return [{"benchmark": name} for name in names]


def _due(site: Site, table: str, partitions: Sequence[Partition], *, refresh: bool = False) -> Wave:
    def due(partition: Partition) -> bool:
        return refresh or is_due(recipe_state(site.lake, site.settings, site.project, table, partition))

    found = [partition for partition in partitions if due(partition)]
    tags = {REFRESH_TAG: "true"} if refresh else {}
    return stage_wave(site, table, found, due, total=len(found), tags=tags)
