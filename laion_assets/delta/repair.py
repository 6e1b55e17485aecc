"""What is done about faults that a verification found: what can be put right is, the rest is marked for the next build.

Logs and seals mend each other. Rows and files are made again by those who made them: their partition is marked as
damaged in the log of its table, which makes it stale. What people entered is put back from its seal.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from laion_assets.delta.beside import publisher
from laion_assets.delta.commits import Commit
from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import Fault, rebuild
from laion_assets.delta.lake import Lake
from laion_assets.delta.logs import mend_log
from laion_assets.delta.seals import Bytes, Seal, SealDamaged, add_beside, bytes_of, read_seal, write_seal
from laion_assets.delta.storage import Storage


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


def repair_log(storage: Storage, fault: Fault) -> Repaired:
    """Mend the log of a table."""
    try:
        return Repaired(fault, True, mend_log(storage, fault))
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
        by_hand = f"cannot be healed: laion did not write it; {rebuild(table, partition)}"
        return [Repaired(fault, False, by_hand) for fault in faults]
    copies = _copies(lake.storage, commit)
    if all(fault.file in copies for fault in faults):
        for fault in faults:
            lake.storage.replace(fault.file, copies[fault.file])
        return [Repaired(fault, True, "put back from its seal") for fault in faults]
    if table == "takedowns":
        lost = "cannot be healed: nothing makes removal requests again; put the file back from a backup"
        return [Repaired(fault, False, lost) for fault in faults]
    beside = [fault.file for fault in faults if not fault.file.startswith(f"{table}/") and fault.file != table]
    files = beside if len(beside) == len(faults) else []
    known = ledger.damaged.get(partition)
    if known is None or (known and not set(files) <= set(known)):
        lake.mark_damaged(commit, files)
    return [Repaired(fault, False, f"marked: {rebuild(table, partition)}") for fault in faults]


def _copies(storage: Storage, commit: Commit) -> Mapping[str, bytes]:
    try:
        seal = read_seal(storage, commit.table, commit.version)
    except SealDamaged:
        seal = None
    return seal.copies if seal is not None else {}


def seal_now(lake: Lake, commits: Iterable[Commit]) -> int:
    """Seal commits that were found sound and have no seal; gives how many there were."""
    count = 0
    for commit in commits:
        write_seal(lake.storage, commit.table, commit.version)
        count += 1
    return count


def seal_tars(lake: Lake, table: str, tars: Iterable[str]) -> int:
    """Record the bytes of tars that were found sound and of which nothing was recorded; gives how many there were.

    They are recorded with the last commit of the partition that published them.
    """
    found: dict[str, dict[str, Bytes]] = defaultdict(dict)
    for name in tars:
        partition = publisher(name)
        if partition is not None and partition in lake.ledger(table).commits:
            found[partition][name] = bytes_of(lake.storage, name)
    count = 0
    for partition, beside in found.items():
        seal = _seal_of(lake.storage, lake.ledger(table).commits[partition])
        if seal is not None:
            add_beside(lake.storage, table, seal, beside)
            count += len(beside)
    return count


def _seal_of(storage: Storage, commit: Commit) -> Seal | None:
    try:
        return read_seal(storage, commit.table, commit.version)
    except SealDamaged:
        return None
