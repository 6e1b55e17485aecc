"""When removal requests are done with: what each has removed, which checkpoints learned from it, and since when.

A look at the tables, for all requests at once, and at most one write a kind of request. Looked at again it finds the
same; what was written down stays.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, reduce
from typing import Final

import polars as pl

from laion_assets.consent.changes import as_kept, merged
from laion_assets.consent.removals import Removals, in_force, load_removals
from laion_assets.delta.commits import Commit, combined_digest
from laion_assets.delta.errors import PartitionBusy
from laion_assets.delta.history import LakeHistory
from laion_assets.delta.inputs import Inputs
from laion_assets.delta.lake import Lake
from laion_assets.lake.removal_lists import kept_list
from laion_assets.lake.takedowns import Outcome, counts_of, settle_takedowns
from laion_assets.settings import Settings
from laion_assets.sql.removed import (
    AS_CRAWLED,
    FOLLOWED,
    FOLLOWING,
    Selection,
    pairs_selected,
    rows_at,
    training_selection,
)
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from laion_assets.tables.declaration import Outside
from laion_assets.training.model_card import CARD, with_mark

_REQUESTS: Final = "takedowns"
_SETS: Final = "training_sets"
_WEIGHTS: Final = "clip_checkpoints"


@dataclass(frozen=True)
class Request:
    """A request that counts."""

    kind: str
    value: str
    requested_at: datetime
    completed_at: datetime | None
    rows_removed: dict[str, int] | None
    tainted: tuple[str, ...]
    """The weights that learned from it: see ``Outcome``."""

    @cached_property
    def removals(self) -> Removals:
        """What it finds."""
        return load_removals(pl.DataFrame({"kind": [self.kind], "value": [self.value]}))


def requests_in_force(lake: Lake) -> list[Request]:
    """The removal requests that count, in the order of their table."""
    if not lake.exists(_REQUESTS):
        return []
    frame = lake.scan(_REQUESTS).collect()
    rows = frame.to_dicts()
    return [
        Request(
            kind,
            str(value),
            row["requested_at"],
            row["completed_at"],
            counts_of(row["rows_removed"]),
            tuple(row["tainted_checkpoints"] or ()),
        )
        for row, (kind, value) in ((rows[number - 1], (kind, value)) for number, kind, value in in_force(frame))
    ]


def settle_requests(lake: Lake, settings: Settings) -> int:
    """Write down of each request what it removed once no row is left, and that it is done with once no training set
    holds it.

    Args:
        lake: the lake.
        settings: of it.

    Returns:
        How many requests are not done with.
    """
    left = _settle(lake, settings)
    _mark_cards(lake)
    return left


def tainted_epochs(lake: Lake) -> dict[str, list[int]]:
    """By recipe, the epochs of its checkpoints of now that learned from what was to be removed since."""
    named = {checkpoint for request in requests_in_force(lake) for checkpoint in request.tainted}
    found: dict[str, list[int]] = defaultdict(list)
    if named:
        rows = lake.scan(_WEIGHTS).select("recipe", "epoch", "sha256").sort("recipe", "epoch").collect()
        for recipe, epoch, sha256 in rows.iter_rows():
            if f"{recipe} epoch {epoch} {sha256}" in named:
                found[recipe].append(epoch)
    return dict(found)


def _mark_cards(lake: Lake) -> None:
    """Let the model cards beside weights say what :func:`tainted_epochs` does, also where it says so no more."""
    if not lake.exists(_REQUESTS) or not lake.exists(_WEIGHTS):
        return
    if lake.scan(_REQUESTS).collect()["tainted_checkpoints"].list.len().sum() == 0:
        return
    tainted = tainted_epochs(lake)
    for recipe, path in lake.scan(_WEIGHTS).select("recipe", "path").collect().iter_rows():
        folder, _, _ = path.rpartition("/")
        name = f"{folder}/{CARD}"
        if folder and lake.storage.exists(name):
            card = lake.storage.read(name).decode()
            marked = with_mark(card, tainted.get(recipe, []), f"laion train {recipe}")
            if marked != card:
                lake.storage.replace(name, marked.encode())


def _settle(lake: Lake, settings: Settings) -> int:
    open_ = [request for request in requests_in_force(lake) if request.completed_at is None]
    if not open_:
        return 0
    if _is_behind(lake):
        return len(open_)
    look = Look(lake, settings)
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for request, outcome in look.outcomes(open_):
        by_kind[request.kind].append(outcome)
    for kind, outcomes in by_kind.items():
        try:
            settle_takedowns(lake, kind, outcomes)
        except PartitionBusy:  # somebody enters a request: the next look writes it down
            return len(open_)
    return len(open_) - sum(o.completed_at is not None for outcomes in by_kind.values() for o in outcomes)


def _is_behind(lake: Lake) -> bool:
    """Whether rows may be left to which nothing leads: they follow pairs or pictures that were made anew since.

    Such rows are found by the pairs that are there now; until their partitions are built again nobody can say of any
    request that nothing of it is left.
    """
    still = lake.at_rest()
    inputs, watched = Inputs(still, {}), {*FOLLOWED, *FOLLOWING}
    for table in (*FOLLOWED, *FOLLOWING):
        for name, commit in still.ledger(table).commits.items():
            for upstream, found in inputs.of(TABLES[table], CATALOGUE.partition(name)).items():
                recorded = commit.upstreams.get(upstream)
                is_own = upstream == table  # of earlier crawls, whose pairs it has none of
                read = recorded.digest if recorded else combined_digest(())
                if upstream in watched and not is_own and found.digest != read:
                    return True
    return False


@dataclass
class Look:
    """One look at a lake."""

    lake: Lake
    settings: Settings
    _sought: Sequence[Removals] = ()
    """All that is looked for: most selections hold nothing of it, and are searched once."""

    @cached_property
    def _known(self) -> LakeHistory:
        return LakeHistory(self.lake)

    def outcomes(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Outcome]]:
        """What became of those of which no row is left."""
        now = datetime.now(UTC)
        left = rows_at(self.lake, self.settings.models, [request.removals for request in requests], {}) or []
        gone = [request for request, rows in zip(requests, left, strict=False) if not {*rows} - {AS_CRAWLED}]
        removed = dict(self._removed([request for request in gone if request.rows_removed is None]))
        self._sought = [request.removals for request in gone]
        for request in gone:
            held = [name for name, pairs in self.training_sets(request) if pairs != 0]
            yield (
                request,
                Outcome(
                    value=request.value,
                    requested_at=request.requested_at,
                    rows_removed=removed.get((request.kind, request.value), request.rows_removed),
                    tainted_checkpoints=[*self.checkpoints(request)],
                    completed_at=None if held else now,
                ),
            )

    def _removed(self, requests: Sequence[Request]) -> Iterator[tuple[tuple[str, str], dict[str, int] | None]]:
        """What there was of each request when it was entered. Nothing is left."""
        groups: dict[tuple[tuple[str, int], ...], list[Request]] = defaultdict(list)
        for request in requests:
            groups[tuple(self.versions_at(request.requested_at).items())].append(request)
        for versions, group in groups.items():
            found = rows_at(self.lake, self.settings.models, [one.removals for one in group], dict(versions))
            for place, request in enumerate(group):
                counts = None if found is None else Counter(found[place])
                if counts is not None:
                    counts.pop(AS_CRAWLED, None)
                yield (request.kind, request.value), counts

    def versions_at(self, moment: datetime) -> dict[str, int]:
        """The version that each table had at a moment; -1: it was not there."""
        limit = moment.timestamp() * 1000
        tables = [name for name in self._known.tables if name in TABLES]
        return {
            name: max((e.version for e in self._known.of(name).entries if e.timestamp_ms <= limit), default=-1)
            for name in tables
        }

    # -- what was selected -----------------------------------------------------------------------------------------

    def training_sets(self, request: Request) -> Iterator[tuple[str, int | None]]:
        """The recipes whose training sets hold it, with the number of pairs; None where nobody can say any more."""
        for commit in self.lake.ledger(_SETS).commits.values():
            recipe = str(self.lake.catalogue.partition(commit.partition)["recipe"])
            pairs = self._pairs(request, recipe, commit)
            if pairs != 0:
                yield recipe, pairs

    def checkpoints(self, request: Request) -> Iterator[str]:
        """The checkpoints that learned from it: their training sets were made of such pairs, before it was entered."""
        if not self.lake.exists(_WEIGHTS):
            return
        columns = ["recipe", "epoch", "training_set_version", "sha256"]
        rows = self.lake.scan(_WEIGHTS).select(columns).sort(columns).collect()
        for recipe, epoch, version, sha256 in rows.iter_rows():
            commit = self._known.of(_SETS).commit_at(f"recipe={recipe}", version)
            if commit is not None and self._pairs(request, recipe, commit):
                yield f"{recipe} epoch {epoch} {sha256}"

    def _pairs(self, request: Request, recipe: str, commit: Commit) -> int | None:
        if self._was_left_out(request, commit):
            return 0
        selection = self._selection(recipe, commit.version)
        if selection is None:
            return None
        if len(self._sought) > 1:
            found = self._count(("", "", recipe, commit.version), reduce(merged, self._sought), selection)
            if not found:
                return found
        return self._count((request.kind, request.value, recipe, commit.version), request.removals, selection)

    def _count(self, key: tuple[str, str, str, int], removals: Removals, selection: Selection) -> int | None:
        if key not in self._counted:
            self._counted[key] = pairs_selected(self.lake, self.settings.models, removals, selection)
        return self._counted[key]

    def _was_left_out(self, request: Request, commit: Commit) -> bool:
        """Whether a training set was made when the request stood already."""
        digest = commit.externals.get(Outside.REMOVALS.label)
        if digest not in self._lists:
            self._lists[digest] = kept_list(self.lake, digest) if digest else None
        kept = self._lists[digest]
        if kept is None:
            return commit.timestamp_ms > request.requested_at.timestamp() * 1000
        own = as_kept(request.removals).frame
        return own.join(kept.frame, on=["kind", "value"], how="anti").is_empty()

    def _selection(self, recipe: str, version: int) -> Selection | None:
        key = (recipe, version)
        if key not in self._selections:
            self._selections[key] = training_selection(self.lake, self.settings.models, recipe, version)
        return self._selections[key]

    @cached_property
    def _counted(self) -> dict[tuple[str, str, str, int], int | None]:
        return {}

    @cached_property
    def _lists(self) -> dict[str | None, Removals | None]:
        return {}

    @cached_property
    def _selections(self) -> dict[tuple[str, int], Selection | None]:
        return {}
