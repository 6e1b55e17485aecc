"""Whether the log of a table is whole: every entry there, readable, and as it was written; and mending it.

An entry can be torn (a machine lost power), emptied (delta-rs takes that for an entry without content, and loses the
commit in silence), gone, or changed in a way that still reads. Where a seal has a copy it is put back. Where none has,
an entry without content takes its place, which says so: what it published is as if it had never been, and what the
content digests of the other commits do not fit after that is built again.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.commits import BLANK
from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import Fault
from laion_assets.delta.seals import (
    LOG,
    SEALS,
    SealDamaged,
    added_files,
    bytes_of,
    checkpoint_name,
    entry_name,
    make_seal,
    read_seal,
    seal_name,
    sound_seal,
)
from laion_assets.delta.storage import Storage

_NUMBERED = re.compile(r"(\d{20})\.json")
_READ_AT_ONCE = 8
_LAST = "_last_checkpoint"


class LogDamaged(LakeError):
    """A table's log cannot be read, or lacks entries."""


def damaged_log(storage: Storage, table: str) -> LogDamaged | None:
    """What to tell of a table whose log does not read as it should; None: there is nothing to find."""
    faults = list(log_faults(storage, table))
    if not faults:
        return None
    first, more = faults[0], f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return LogDamaged(f"{table} cannot be read: {first.file}: {first.what}{more}; {first.cure}")


def has_emptied_entry(storage: Storage, table: str, versions: Iterable[int] | None = None) -> bool:
    """Whether an entry of a log in a folder, of these versions or any, has no content: readers would pass over it."""
    log = Path(storage.address(f"{table}/{LOG}"))
    if versions is None:
        return any(entry.stat().st_size == 0 for entry in os.scandir(log) if _NUMBERED.fullmatch(entry.name))
    for version in versions:
        with suppress(FileNotFoundError):
            if (log / f"{version:020}.json").stat().st_size == 0:
                return True
    return False


def left_without_log(storage: Storage, catalogue: Catalogue, table: str) -> bool:
    """Whether a folder has seals or data of a table, but no log. A table that is being made has neither."""
    has_data = False
    if table not in catalogue.tables and f"{table}/{SEALS}" not in storage.folders(table):
        return False
    for file in storage.files(table):
        folder, _, rest = file.name.removeprefix(f"{table}/").partition("/")
        if folder == LOG and _NUMBERED.fullmatch(rest):
            return False
        has_data = has_data or folder == SEALS or file.name.endswith(".parquet")
    return has_data


def table_folders(storage: Storage, catalogue: Catalogue) -> list[str]:
    """The folders of a lake that hold a table, or what is left of one."""
    found = []
    for name in storage.folders():
        below = {folder.rpartition("/")[2] for folder in storage.folders(name)}
        if below & {LOG, SEALS} or (name in catalogue.tables and next(storage.files(name), None) is not None):
            found.append(name)
    return sorted(found, key=catalogue.place)


def log_faults(storage: Storage, table: str) -> Iterator[Fault]:
    """What is wrong with the log of a table, and with its seals."""
    entries, seals, checkpoints = log_versions(storage, table)
    if not entries and not seals:
        yield Fault(table, "", f"{table}/{LOG}", "there is no log, and no seal to make it from",
            heal=f"move the folder {table} away: it is made anew, and the next build fills it", curable=False,
        )  # fmt: skip
        return
    versions = range(min(entries | seals) if checkpoints else 0, max(entries | seals) + 1)
    with ThreadPoolExecutor(_READ_AT_ONCE, "log") as pool:
        for faults in pool.map(lambda version: list(_entry_faults(storage, table, version, entries)), versions):
            yield from faults
    yield from _last_checkpoint_faults(storage, table, checkpoints)


def log_versions(storage: Storage, table: str) -> tuple[set[int], set[int], set[int]]:
    """The versions that have a log entry, a seal, a checkpoint."""
    entries, seals, checkpoints = set(), set(), set()
    # Seals first: one that comes meanwhile has its entry by then.
    for file in storage.files(f"{table}/{SEALS}"):
        if numbered := _NUMBERED.fullmatch(file.name.rpartition("/")[2]):
            seals.add(int(numbered[1]))
    for file in storage.files(f"{table}/{LOG}"):
        name = file.name.rpartition("/")[2]
        if numbered := _NUMBERED.fullmatch(name):
            entries.add(int(numbered[1]))
        elif name.endswith(".checkpoint.parquet") and name[:20].isdigit():
            checkpoints.add(int(name[:20]))
    return entries, seals, checkpoints


def _entry_faults(storage: Storage, table: str, version: int, entries: set[int]) -> Iterator[Fault]:
    name = entry_name(table, version)
    try:
        seal = read_seal(storage, table, version)
    except SealDamaged:
        seal = None
        yield Fault(table, "", seal_name(table, version), "the seal is not as it was written")
    if version not in entries:
        yield Fault(table, "", name, "the log entry is gone")
        return
    content = storage.read(name)
    if seal is not None and content != seal.entry.encode():
        yield Fault(table, "", name, "the log entry is not as it was written")
    elif seal is None and not _reads(content):
        yield Fault(table, "", name, "the log entry is torn" if content else "the log entry is empty")
    checkpoint = checkpoint_name(table, version)
    written = seal.files.get(checkpoint) if seal is not None else None
    if written is not None and storage.exists(checkpoint) and bytes_of(storage, checkpoint) != written:
        yield Fault(table, "", checkpoint, "the checkpoint of the log is not as it was written")


def is_whole(storage: Storage, table: str, version: int) -> bool:
    """Whether a log entry is there and can be read to its end."""
    try:
        return _reads(storage.read(entry_name(table, version)))
    except FileNotFoundError:
        return False


def _reads(content: bytes) -> bool:
    try:
        added_files("", content.decode())
    except (ValueError, KeyError, TypeError):
        return False
    return True


def _last_checkpoint_faults(storage: Storage, table: str, checkpoints: set[int]) -> Iterator[Fault]:
    try:
        content = storage.read(f"{table}/{LOG}/{_LAST}")
    except FileNotFoundError:
        return
    try:
        version = json.loads(content)["version"]
    except (ValueError, KeyError, TypeError):
        version = None
    if version not in checkpoints:
        yield Fault(table, "", f"{table}/{LOG}/{_LAST}", "it names no checkpoint that is there")


def mend_log(storage: Storage, catalogue: Catalogue, fault: Fault) -> str:
    """Put right what :func:`log_faults` found; gives what was done.

    Raises:
        LakeError: it cannot be mended.
    """
    folder, _, name = fault.file.removeprefix(f"{fault.table}/").partition("/")
    numbered = _NUMBERED.fullmatch(name)
    if folder == LOG and numbered:
        return _mend_entry(storage, catalogue, fault.table, int(numbered[1]))
    if folder == SEALS and numbered:
        return _mend_seal(storage, catalogue, fault.table, int(numbered[1]))
    if folder == LOG and name:  # checkpoints save reading entries, which are all there
        storage.delete([f"{fault.table}/{LOG}/{_LAST}", fault.file])
        return "removed: the log's entries say the same"
    raise LakeError(f"{fault.file} cannot be mended: {fault.heal}")


def _mend_entry(storage: Storage, catalogue: Catalogue, table: str, version: int) -> str:
    name = entry_name(table, version)
    seal = sound_seal(storage, table, version)
    if seal is not None:
        storage.replace(name, seal.entry.encode())
        return "put back from its seal"
    if version == 0:
        raise LakeError(f"{name} cannot be mended: it says which columns the table has; put it back from a backup, or "
                        f"move the folder {table} away, and the next build makes the table anew")  # fmt: skip
    blank = {"timestamp": int(time.time() * 1000), "operation": "FSCK", "operationParameters": {}, BLANK: "true"}
    storage.replace(name, f"{json.dumps({'commitInfo': blank})}\n".encode())
    drop_checkpoints(storage, table, version)
    return f"no copy of it: what it published counts as never built; {catalogue.remake(table)}"


def drop_checkpoints(storage: Storage, table: str, since: int) -> None:
    """Delete the checkpoints of a version and of later ones: they hold what the entries do not say any more."""
    later = [checkpoint_name(table, v) for v in log_versions(storage, table)[2] if v >= since]
    storage.delete([f"{table}/{LOG}/{_LAST}", *later])


def _mend_seal(storage: Storage, catalogue: Catalogue, table: str, version: int) -> str:
    name = seal_name(table, version)
    try:
        storage.replace(name, make_seal(storage, table, version, keep=catalogue.is_entered(table)).to_bytes())
    except (FileNotFoundError, ValueError):  # files of replaced versions go in time
        storage.delete([name])
        return "removed: the files it spoke of are gone"
    return "made again from the files as they are"
