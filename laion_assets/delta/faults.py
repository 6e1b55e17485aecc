"""A fault of the bytes of a lake, in words: where, what, and which command heals it."""

from dataclasses import dataclass

from laion_assets.delta.partition import parse_partition
from laion_assets.tables.catalogue import TABLES


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
    """What heals it where that is not the usual: no command, but something to do by hand."""
    curable: bool = True
    """Whether ``laion verify --repair`` does anything about it."""

    @property
    def place(self) -> str:
        """Table and partition, for people."""
        return f"{self.table} [{self.partition}]" if self.partition else self.table

    @property
    def cure(self) -> str:
        """The commands that heal it."""
        return self.heal if self.heal or not self.curable else cure(self.table, self.partition)

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.place} {self.file}: {self.what}; {self.cure}"


def marked(table: str, partition: str) -> Fault:
    """That a partition was found damaged and marked, and was not built again since."""
    what = "is marked as damaged, and was not built again yet"
    return Fault(table, partition, table, what, heal=rebuild(table, partition))


def cure(table: str, partition: str) -> str:
    """The commands that heal a damaged partition, or the log of a table."""
    crawl = parse_partition(partition).get("crawl") if partition else None
    narrowed = f" --crawl {crawl}" if crawl else ""
    repair = f"`laion verify {table}{narrowed} --repair` marks it" if partition else f"`laion verify {table} --repair`"
    return f"{repair}, then {rebuild(table, partition)}" if partition else f"{repair} mends it"


def rebuild(table: str, partition: str) -> str:
    """The command that makes a partition again once it is marked."""
    fixed = parse_partition(partition) if partition else {}
    if table == "takedowns":
        return "enter the requests again with `laion takedown`"
    if table == "model_tests":
        return f"`laion models run --select {fixed.get('model', '')}` tests it again"
    if table not in TABLES:
        return f"`laion models run --select {table}+` builds it again"
    if not fixed and "crawl" in TABLES[table].partition_by:
        return "`laion build CRAWL` makes it again"
    if not fixed and TABLES[table].partition_by == ("recipe",):
        return "`laion train RECIPE` makes it again"
    if table == "partition_states":
        return "`laion models run`, as every build, makes it again"
    if "recipe" in fixed and "benchmark" in fixed:
        return f"`laion evaluate {fixed['recipe']} --benchmark {fixed['benchmark']}` measures it again"
    if "recipe" in fixed:
        return f"`laion train {fixed['recipe']}` makes it again"
    if "crawl" in fixed:
        return f"`laion build {fixed['crawl']}` makes it again"
    if table == "calibrations":
        return "`laion build CRAWL` measures it again"
    return "`laion evaluate RECIPE` makes it again"
