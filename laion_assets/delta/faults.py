"""A fault of the bytes of a lake, in words: where, what, and which command heals it."""

from dataclasses import dataclass

from laion_assets.delta.catalogue import Catalogue


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it was written."""

    table: str
    partition: str
    """Its name; empty where it is of the whole table."""
    file: str
    """Its name in the lake."""
    what: str
    heal: str = ""
    """What heals it; empty where a repair of the table does."""
    curable: bool = True
    """Whether ``laion verify --repair`` does anything about it."""

    @property
    def place(self) -> str:
        """Table and partition, for people."""
        return f"{self.table} [{self.partition}]" if self.partition else self.table

    @property
    def cure(self) -> str:
        """The commands that heal it."""
        return self.heal if self.heal or not self.curable else f"`laion verify {self.table} --repair` mends it"

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.place} {self.file}: {self.what}; {self.cure}"


def damaged(catalogue: Catalogue, table: str, partition: str, file: str, what: str) -> Fault:
    """That a file of a partition is not as it was written: a repair marks the partition, and then it is made again."""
    period = catalogue.period_of(partition)
    narrowed = f" --{catalogue.period} {period}" if period else ""
    heal = f"`laion verify {table}{narrowed} --repair` marks it, then {catalogue.remake(table, partition)}"
    return Fault(table, partition, file, what, heal)


def marked(catalogue: Catalogue, table: str, partition: str) -> Fault:
    """That a partition was found damaged and marked, and was not built again since."""
    what = "is marked as damaged, and was not built again yet"
    return Fault(table, partition, table, what, catalogue.remake(table, partition))
