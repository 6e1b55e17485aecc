"""What a declaration says of a table beside what the engine asks: who builds it, with what, and how it is spoken of.

A declaration that lacks a fact is an error where it is made, which is when the definitions load: there is no default
for a forgotten fact to hide behind.
"""

from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from typing import Any, Literal, Self, TypeAlias

from laion_assets.delta.table import Read, Table
from laion_assets.tables.needs import Need


class DeclarationError(TypeError):
    """A declaration lacks a fact, or its facts contradict each other; the message names the table."""


class _Named(Enum):
    """What makes tables stale: how it is called, and the settings it comes from, as people know them."""

    def __init__(self, label: str, settings: tuple[str, ...], options: tuple[str, ...] = ()) -> None:
        self.label = label
        self.settings = settings
        """``LAION_FILTER__…`` stands for every setting that begins so."""
        self.options = options
        """The options among them that count; empty: all do."""

    def comes_from(self, setting: str) -> bool:
        """Whether the setting of this name counts."""
        group, _, option = setting.rpartition("__")
        return setting in self.settings or (
            f"{group}__…" in self.settings and (not self.options or option.lower() in self.options)
        )


class Shaping(_Named):
    """Settings that shape rows. ``settings`` takes the digest of what counts."""

    EXTRACTION = ("how pages are read", ("LAION_EXTRACTION__…",))
    CONSENT = ("which signals are obeyed", ("LAION_CONSENT__…",))
    CALIBRATION = ("what thresholds are measured on", ("LAION_CALIBRATION__…",))
    ENCODERS = (
        "what encodes pictures and texts",
        ("LAION_ENCODER__…", "LAION_MULTILINGUAL_ENCODER__…"),
        ("model", "pretrained", "precision"),
    )
    SCORES = ("the heads", ("LAION_SCORES__…",))
    FILTER = ("the policy", ("LAION_FILTER__…",))
    SELECTION = ("what of a recipe shapes its training set", ("LAION_RECIPES",))
    SCHEDULE = ("what of a recipe shapes its weights", ("LAION_RECIPES",))
    EVALUATION = ("how checkpoints are measured", ("LAION_EVALUATION__…",), ("precision", "all_epochs"))


class Outside(_Named):
    """Inputs that are no tables, by the names that commits record."""

    REMOVALS = ("removals", ("LAION_DENY__…",))


Rerun: TypeAlias = Literal["pure", "recorded", "numeric"]
"""What a rerun on the same inputs gives: the same rows; what the world answers then; the same up to rounding."""


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """How a pair's row is found in a table."""

    shares: tuple[str, ...]
    """What it shares with the rows of the same pair in other tables."""
    needs: str = "pair_id"
    """What must be known of the pair before."""
    shows: tuple[str, ...] = ()
    """The columns that people are shown; empty: all that are not null."""


@dataclass(frozen=True, kw_only=True)
class FunnelStep:
    """What a stage does from which rows go no further."""

    work: str
    """What it does, as a noun."""
    takes: str
    """What goes into it."""
    rates: tuple[str, ...]
    """The assumptions of a plan that say how long it takes."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """Where removals are looked for: in what goes into a table, before they are applied, by what its builder compares.

    A partition is stale when a removal that came or went finds a row here that belongs to it.
    """

    tables: tuple[str, ...]
    """Those that are read; the table itself where only its own rows say what an answer was."""
    rows: str
    """SQL over them, each under its name: the columns that ``compared`` names, and the table's partition columns."""
    compared: tuple[str, ...]
    """Of ``url, final_url, pair_id, sha256`` those that are compared."""
    unsaid: bool = False
    """Whether ``rows`` has a column ``unsaid``: ``address`` where a row was refused for an address that it does not
    name, ``body`` where md5 or sha1 of its bytes may decide. Any change of that sort concerns its partition."""


@dataclass(frozen=True, kw_only=True)
class Declaration(Table):
    """All that is known of one table of the lake."""

    partition_by: tuple[str, ...] = field()
    code_version: str = field()
    """Raise it when the rows would come out differently: every partition built before becomes stale. Empty: no stage
    builds it."""
    reads: tuple[Read, ...] = field()
    group: str = field()
    remake: str = field()
    kinds: tuple[str, ...]
    """What Dagster shows it is made with, beside Delta."""
    need: Need | None
    """What a step takes; None: no step builds it."""
    shaped_by: tuple[Shaping, ...]
    """The settings that shape its rows. Their digest is recorded; in the order in which it was taken from the first."""
    outside: tuple[Outside, ...]
    """Its inputs that are no tables."""
    rerun: Rerun
    long: bool
    """Whether one partition may take hours: each is a run of its own."""
    command: str
    """What writes it, in a terminal."""
    pair: PairRow | None
    """How a pair is found in it; None: its rows speak of no single pair."""
    funnel: FunnelStep | None
    """What becomes less in it; None: nothing is dropped that anybody counts."""
    short: str
    """What it is called where there is little place."""
    anew: frozenset[str] = frozenset()
    """Columns that are called like one of what it is made from, and speak of something else: a tar, not a picture."""
    is_looked_up: bool = False
    """Whether what reads it takes no column from it."""
    searched: Searched | None = None
    """What of a change of removals concerns a partition; None: every change, or what its builder alone can say."""
    is_always_current: bool = False
    """Whether it counts as it is now for a selection of pairs that is pinned to a version of everything else."""

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that make it stale, as people know them."""
        return tuple(name for named in (*self.shaped_by, *self.outside) for name in named.settings)

    def is_made_stale_by(self, setting: str) -> bool:
        """Whether partitions become stale when the setting of this name changes."""
        return any(named.comes_from(setting) for named in (*self.shaped_by, *self.outside))

    def __new__(cls, **facts: Any) -> Self:
        """Refuse a declaration that lacks facts, and name all of them at once."""
        required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
        lacking = [name for name in required if name not in facts]
        if facts and lacking:
            raise DeclarationError(
                f"the declaration of {facts.get('name', 'a table')} lacks {', '.join(lacking)}: what each of them says "
                "stands in tables/declaration.py and delta/table.py"
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        pair = () if self.pair is None else (*self.pair.shares, self.pair.needs, *self.pair.shows)
        named = {*self.key, *self.partition_by, *self.order_by, *self.anew, *pair}
        unknown = sorted(named - {column.name for column in self.columns})
        if unknown:
            raise DeclarationError(
                f"the declaration of {self.name} names columns it does not have: {', '.join(unknown)}"
            )
