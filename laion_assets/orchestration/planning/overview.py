"""How the whole lake stands at one moment, and what each partition would be built from now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from laion_assets.common.digests import json_digest
from laion_assets.delta.inputs import Inputs
from laion_assets.delta.lake import Lake
from laion_assets.delta.ledger_cache import no_collection
from laion_assets.delta.partition import WHOLE, Partition
from laion_assets.delta.staleness import Groups, Judge, standing_digest
from laion_assets.delta.states import Expectation, PartitionState
from laion_assets.delta.table import Table
from laion_assets.orchestration.planning.parts import CALIBRATIONS, PARTITION_STATES
from laion_assets.orchestration.planning.states import calibration_is_due
from laion_assets.orchestration.planning.waves import Site, Wave, stage_wave
from laion_assets.orchestration.removals import JudgedRemovals, judged_removals
from laion_assets.settings import Settings
from laion_assets.sql.build import EXPECTATION, declared, model_states, stage_of, tests_version
from laion_assets.sql.project import Project
from laion_assets.tables.catalogue import TABLES


@dataclass(frozen=True)
class JudgedLake:
    """The lake at one moment."""

    lake: Lake
    """At rest."""
    project: Project
    registered: frozenset[str]
    """The crawls that Dagster knows, and so can build."""
    crawls: Sequence[str]
    """Those, and all that the lake holds; by name."""
    groups: Groups
    models: Mapping[tuple[str, str], PartitionState]
    expectations: Mapping[str, Expectation]
    stages: Mapping[str, Table] = field(repr=False)
    """By asset, what it is built from: the stages, and the models."""
    inputs: Inputs = field(repr=False)
    """Their content."""
    calibration_due: bool = False

    @cached_property
    def standing(self) -> str:
        """Digest of how everything stands: what the table ``partition_states`` would record now."""
        states = [state for group in self.groups.values() for state in group.open]
        return standing_digest(self.crawls, [*states, *self.models.values()])

    @property
    def states_due(self) -> bool:
        """Whether ``partition_states`` shows something else than there is."""
        ledger = self.lake.ledger(PARTITION_STATES)
        commit = ledger.commits.get(WHOLE)
        told = commit is not None and WHOLE not in ledger.damaged and commit.externals.get("standing") == self.standing
        return bool(self.crawls) and not told

    def input_digest(self, asset: str, partition: Partition, *more: str) -> str:
        """Digest of everything that a build of one partition would be made of now.

        Args:
            asset: table or model.
            partition: the partition.
            more: what else tells this attempt from others.
        """
        if asset == PARTITION_STATES:
            return json_digest([self.standing], sort_keys=True, digits=16)
        stage, expected = self.stages[asset], self.expectations.get(asset, EXPECTATION)
        told = [stage.code_version, expected.settings_digest, dict(expected.externals), more]
        if asset in self.project.models:
            told.append(tests_version(self.project.models[asset]))
        if asset != CALIBRATIONS:
            told.append({table: found.digest for table, found in self.inputs.of(stage, partition).items()})
        return json_digest(told, sort_keys=True, digits=16)


@dataclass(frozen=True)
class StatesRequest:
    """``partition_states``, whatever it says now."""

    def names(self, _: Site) -> Mapping[str, Sequence[str]]:
        """None."""
        return {}

    def waves(self, site: Site) -> Iterator[Wave]:
        """A wave of it alone."""
        yield stage_wave(site, PARTITION_STATES, [{}], lambda _: True, total=1)


class Overview:
    """Looks at one lake, again and again; what did not change is not judged again."""

    def __init__(self, settings: Settings, project: Project) -> None:
        self.settings = settings
        self.project = project
        self.judge = Judge()
        self._lake: Lake | None = None
        self._still: tuple[object, Lake, Inputs] | None = None
        self._removals: tuple[object, JudgedRemovals] | None = None
        self._models: tuple[object, Mapping[tuple[str, str], PartitionState]] = (None, {})

    @cached_property
    def _stages(self) -> Mapping[str, Table]:
        return {**TABLES, **{name: stage_of(self.project, name) for name in self.project.enabled}}

    def look(self, registered: Sequence[str]) -> JudgedLake:
        """The lake as it is now.

        Args:
            registered: the crawls that Dagster knows.
        """
        lake, inputs = self._at_rest()
        crawls = lake.order.sorted({*lake.periods, *registered})
        expectations = self._judged_removals(lake).expectations(lake)
        with no_collection():
            groups = self.judge.judge(lake, crawls, expectations)
        models = self._model_states(lake, groups)
        due = calibration_is_due(lake, self.settings)
        return JudgedLake(
            lake, self.project, frozenset(registered), crawls, groups, models, expectations, self._stages, inputs, due
        )

    def _at_rest(self) -> tuple[Lake, Inputs]:
        """The lake as it is now, and what is known of its content: the same as before where nothing was committed."""
        if self._lake is None:
            self._lake = declared(self.settings.open_lake(), self.project)
        lake = self._lake.at_rest()
        versions = [lake.ledger(name).version for name in lake.tables]
        if self._still is None or self._still[0] != versions:
            self._still = (versions, lake, Inputs(lake, {}))
        return self._still[1], self._still[2]

    def _judged_removals(self, lake: Lake) -> JudgedRemovals:
        deny = self.settings.deny
        lists = [Path(p) for p in (*deny.url_lists, *deny.domain_lists, *deny.hash_lists)]
        state = [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in lists if p.exists()]
        seen = (lake.ledger("takedowns").version, state)
        if self._removals is None or self._removals[0] != seen:
            self._removals = (seen, judged_removals(lake, self.settings, in_full=True))
        return self._removals[1]

    def _model_states(self, lake: Lake, groups: Groups) -> Mapping[tuple[str, str], PartitionState]:
        seen = ([lake.ledger(name).version for name in lake.tables], list(groups.values()))
        if self._models[0] != seen:
            judged = {(s.table, s.name): s for group in groups.values() for s in group.open}
            self._models = (seen, model_states(self.project, lake, judged, self._stages))
        return self._models[1]
