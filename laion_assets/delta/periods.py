"""In which order periods stand: by their names, but for those that people enter, which stand where they were entered.

A period that is entered stands after all that are there at that moment, whatever its name, and before those that come
later. Where that is, is recorded once, in the commit that enters it: the last of the periods before it that have their
place by name, and an ordinal among those that were entered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from laion_assets.delta.commits import Commit, Ledger
from laion_assets.delta.partition import partition_values

AFTER = "stands after"
"""Among the outside inputs of the commit that enters a period: the last period by name that was there; empty: none."""
ORDINAL = "ordinal"
"""Among the counts of that commit: which of the entered periods it is, from 1 on."""

PeriodKey: TypeAlias = tuple[str, int, str]


@dataclass(frozen=True)
class PeriodOrder:
    """The order of the periods of a lake at one moment."""

    entered: Mapping[str, PeriodKey]
    """Where periods stand that people entered."""

    def key(self, period: str) -> PeriodKey:
        """Sorts periods."""
        return self.entered.get(period, (period, 0, ""))

    def sorted(self, periods: Iterable[str]) -> list[str]:
        """Periods, the earliest first."""
        return sorted(periods, key=self.key)

    def is_before(self, one: str, other: str) -> bool:
        """Whether one period stands before another."""
        return self.key(one) < self.key(other)

    def next(self, there: Iterable[str]) -> tuple[str, int]:
        """Where a period stands that is entered now: see :data:`AFTER` and :data:`ORDINAL`.

        Args:
            there: every period that is there.
        """
        keys = [self.key(period) for period in (*there, *self.entered)]
        return max((key[0] for key in keys), default=""), max((key[1] for key in keys), default=0) + 1


def order_of(ledger: Ledger, period: str) -> PeriodOrder:
    """The order that the commits of a table give by which people enter periods.

    Args:
        ledger: of the table.
        period: the column of periods.
    """
    keys = {}
    for name, commit in ledger.commits.items():
        entered = partition_values(name)[period]
        keys[entered] = (*_place(commit), entered)
    return PeriodOrder(keys)


def _place(commit: Commit) -> tuple[str, int]:
    return commit.externals.get(AFTER, ""), commit.counts.get(ORDINAL, 0)
