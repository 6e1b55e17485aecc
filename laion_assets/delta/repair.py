"""What is done about faults that a verification found: what can be put right is, the rest is marked for the next build.

Logs and seals mend each other. Rows and files are made again by those who made them: their partition is marked as
damaged in the log of its table, which makes it stale. What people entered is put back from its seal.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from deltalake import CommitProperties

from laion_assets.delta.commits import Commit, damage_mark
from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import Fault
from laion_assets.delta.lake import Lake
from laion_assets.delta.logs import mend_log
from laion_assets.delta.published import Published
from laion_assets.delta.seals import Bytes, add_beside, bytes_of, sound_seal, write_seal


@dataclass(frozen=True)
class Repaired:
    """A fault, and what was done about it."""

    fault: Fault
    healed: bool
    """Whether nothing is left to do."""
    done: str

    @property
    def line(self) -> str:
        """Both in one line."""
        return f"{self.fault.place} {self.fault.file}: {self.fault.what}; {self.done}"


def repair_log(lake: Lake, fault: Fault) -> Repaired:
    """Mend the log of a table."""
    try:
        return Repaired(fault, True, mend_log(lake.storage, lake.catalogue, fault))
    except LakeError as error:
        return Repaired(fault, False, f"cannot be healed: {error}")


def repair_rows(lake: Lake, faults: Iterable[Fault]) -> list[Repaired]:
    """Put files back of which there is a copy, and mark the partitions of the others."""
    by_partition: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in faults:
        by_partition[fault.table, fault.partition].append(fault)
    return [done for place, found in by_partition.items() for done in _repair_partition(lake, *place, found)]


def _repair_partition(lake: Lake, table: str, partition: str, faults: list[Fault]) -> list[Repaired]:
    ledger = lake.ledger(table)
    commit = ledger.commits.get(partition)
    if commit is None or not ledger.is_validated(commit):
        by_hand = f"cannot be healed: laion did not write it; {lake.catalogue.remake(table, partition)}"
        return [Repaired(fault, False, by_hand) for fault in faults]
    seal = sound_seal(lake.storage, table, commit.version)
    copies = seal.copies if seal is not None else {}
    if all(fault.file in copies for fault in faults):
        for fault in faults:
            lake.storage.replace(fault.file, copies[fault.file])
        return [Repaired(fault, True, "put back from its seal") for fault in faults]
    if lake.catalogue.is_entered(table):
        rows = lake.tables[table].entered
        lost = f"cannot be healed: nothing makes {rows} again; put the file back from a backup"
        return [Repaired(fault, False, lost) for fault in faults]
    beside = [fault.file for fault in faults if not fault.file.startswith(f"{table}/") and fault.file != table]
    files = beside if len(beside) == len(faults) else []
    known = ledger.damaged.get(partition)
    if known is None or (known and not set(files) <= set(known)):
        mark_damaged(lake, commit, files)
    return [Repaired(fault, False, f"marked: {lake.catalogue.remake(table, partition)}") for fault in faults]


def mark_damaged(lake: Lake, commit: Commit, files: Iterable[str] = ()) -> None:
    """Make a partition stale, since its bytes are not as they were written: the next build makes it again.

    Args:
        lake: the lake.
        commit: its last commit; a mark does nothing where it was published again meanwhile.
        files: the damaged files beside the table; none where the rows themselves are damaged.
    """
    table, mark = commit.table, damage_mark(commit, files)
    delta = lake.opened(table)
    columns = list(delta.metadata().partition_columns)
    properties = CommitProperties(custom_metadata={**mark, **lake.metadata}, max_commit_retries=200)
    delta.create_write_transaction([], "append", delta.schema(), columns, commit_properties=properties)
    after = lake.opened(table)
    for entry in lake.entries(table, after, after.version() - commit.version):
        if mark.items() <= entry.items():
            write_seal(lake.storage, table, entry["version"], keep=lake.catalogue.is_entered(table))


def seal_now(lake: Lake, commits: Iterable[Commit]) -> int:
    """Seal commits that were found sound and have no seal; gives how many there were."""
    count = 0
    for commit in commits:
        write_seal(lake.storage, commit.table, commit.version, keep=lake.catalogue.is_entered(commit.table))
        count += 1
    return count


def seal_archives(lake: Lake, table: str, archives: Iterable[str]) -> int:
    """Record the bytes of archives that were found sound and of which nothing was recorded; gives how many there were.

    They are recorded with the last commit of the partition that published them.
    """
    found: dict[str, dict[str, Bytes]] = defaultdict(dict)
    published = Published(lake.catalogue)
    for name in archives:
        _, partition = published.place(name) or (table, "")
        if partition in lake.ledger(table).commits:
            found[partition][name] = bytes_of(lake.storage, name)
    count = 0
    for partition, beside in found.items():
        seal = sound_seal(lake.storage, table, lake.ledger(table).commits[partition].version)
        if seal is not None:
            add_beside(lake.storage, table, seal, beside)
            count += len(beside)
    return count
