"""Takedowns and deny lists as they are now, by the settings of a lake, and what a change of them concerns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from laion_assets.consent.changes import merged
from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.states import Expectation
from laion_assets.lake.concerned import Concerned
from laion_assets.settings import Settings
from laion_assets.sql.removed import pairs_selected, training_selections
from laion_assets.tables.catalogue import CATALOGUE
from laion_assets.tables.declaration import Outside


def current_removals(lake: Lake, settings: Settings) -> Removals:
    """Takedowns and deny lists as they are now, outside a step."""
    takedowns = lake.scan("takedowns").collect() if lake.exists("takedowns") else None
    return load_removals(takedowns, **deny_lists(settings))


@dataclass(frozen=True)
class JudgedRemovals:
    """Takedowns and deny lists at one moment, as partitions are judged by them."""

    settings: Settings
    now: Removals
    """Both; takedowns alone where ``deny`` is None."""
    deny: Removals | None
    """The deny lists; None where one of their files is not there, as on another machine."""

    @cached_property
    def digest(self) -> str:
        """Stands for all of it; where deny lists are not at hand it is the digest of no list."""
        return self.now.digest if self.deny is not None else f"takedowns {self.now.digest}"

    def expectations(self, lake: Lake) -> Mapping[str, Expectation]:
        """By table, what a build would record now; see ``Settings.expectations``.

        Args:
            lake: the lake, at rest.
        """
        concerns = self._concerns(lake)
        found = self.settings.expectations(self.digest)
        return {table: replace(expected, concerns=concerns) for table, expected in found.items()}

    def expectation(self, lake: Lake, table: str, partition: Partition) -> Expectation:
        """What a build of one partition would record now; see ``Settings.expectation``."""
        expected = self.settings.expectation(table, partition, self.digest)
        return replace(expected, concerns=self._concerns(lake))

    def _concerns(self, lake: Lake) -> "_Concerns":
        return _Concerns(lake, self.settings, Concerned(lake, self.now, self.deny))


@dataclass(frozen=True)
class _Concerns:
    lake: Lake
    settings: Settings
    concerned: Concerned

    def __call__(self, name: str, commit: Commit) -> bool:
        if name != Outside.REMOVALS.label:
            return True
        if commit.table == "training_sets":
            return self._concerns_selection(commit)
        return self.concerned(commit)

    def _concerns_selection(self, commit: Commit) -> bool:
        """Whether a pair is concerned that a training set was selected from; true where nobody can say any more."""
        change = self.concerned.change_since(commit)
        if change is None or change.is_none:
            return change is None
        models, recipe = self.settings.models, CATALOGUE.partition(commit.partition)["recipe"]
        found = [one for one in training_selections(self.lake, models) if one.name == recipe]
        return not found or pairs_selected(self.lake, models, change.entries, found[0]) != 0


def judged_removals(lake: Lake, settings: Settings, *, in_full: bool = False) -> JudgedRemovals:
    """Takedowns and deny lists as partitions are judged by them now.

    Args:
        lake: the lake.
        settings: of it.
        in_full: refuse to judge where a deny list is not there.

    Raises:
        RemovalError: an entry of them is not what it has to be, or a list is not there that has to be.
    """
    asked = load_removals(lake.scan("takedowns").collect() if lake.exists("takedowns") else None)
    if not in_full and not all(Path(path).is_file() for paths in deny_lists(settings).values() for path in paths):
        return JudgedRemovals(settings, asked, None)
    deny = load_removals(None, **deny_lists(settings))
    return JudgedRemovals(settings, merged(asked, deny), deny)


def deny_lists(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The files of the deny lists, by the kind of what they name."""
    deny = settings.deny
    return {"url_lists": deny.url_lists, "domain_lists": deny.domain_lists, "hash_lists": deny.hash_lists}
