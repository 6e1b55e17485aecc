"""What of a lake a verification looks at, who watches it, and what it saw."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

ArchiveCheck = Callable[[Path, Mapping[str, str], bool], str | None]
"""Gives what is wrong with an archive that rows name members of; None where nothing is.

Called with the file, the digest of each member by its key, and whether the bytes of the file are known to be right, so
that its members need only be counted."""


class Watch(Protocol):
    """Whoever shows how a verification goes."""

    def more(self, files: int) -> None:
        """So many more files are to be looked at."""

    def done(self, files: int = 1) -> None:
        """So many are behind us."""


class Unwatched:
    """Shows nothing."""

    def more(self, files: int) -> None:
        """Nothing to show."""

    def done(self, files: int = 1) -> None:
        """Nothing to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationOptions:
    """How much of a lake is verified by itself, and when."""

    cron: str = "0 5 * * 6"
    """When the schedule `verification` runs, in UTC: as delivered on Saturdays at five."""
    share: float = 0.1
    """The share of all partitions and files that one run looks at; after 1/share weeks all were."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected more than 0 and at most 1, found {self.share:g}")


@dataclass(frozen=True)
class Scope:
    """What of a lake is verified."""

    tables: tuple[str, ...] = ()
    """Names; none: all there are."""
    periods: tuple[str, ...] = ()
    """Only partitions of these periods, and logs; none: all partitions."""
    share: float = 1.0
    """The share of all partitions and files; which ones goes by :attr:`turn`, and after 1/share turns all were."""
    turn: int = field(default_factory=lambda: datetime.now(UTC).toordinal() // 7)
    """Of two successive turns each takes another share; as given, the number of the week."""

    def takes(self, unit: str) -> bool:
        """Whether a partition or file is in the share of this turn."""
        turns = max(1, round(1 / self.share))
        return turns == 1 or zlib.crc32(unit.encode()) % turns == self.turn % turns

    def has_table(self, name: str) -> bool:
        """Whether a table is looked at."""
        return not self.tables or name in self.tables

    def has_period(self, period: str | None) -> bool:
        """Whether partitions of a period are looked at."""
        return not self.periods or period in self.periods

    def told(self, period: str | None) -> str:
        """The scope in words that do not change, for what is kept of it; ``period`` is what periods are called."""
        return f"Scope(tables={self.tables!r}, {period}s={self.periods!r}, share={self.share!r}, turn={self.turn!r})"


@dataclass
class Seen:
    """What was looked at."""

    partitions: int = 0
    files: int = 0
    bytes: int = 0
    unsealed: int = 0
    """Partitions of whose bytes nothing was recorded: their rows are right."""
    unnamed: int = 0
    """Files beside the tables that no row names: leftovers, and no faults."""
    taken_over: int = 0
    """Partitions and files that an interrupted verification had found sound."""
