"""Bounds that logs of earlier versions hold: the least and the largest value of each column of each file, texts too.

Log entries carry lineage, and are kept for good. Delta forbids to write one again, so that all readers agree on what
a version holds. On that they still agree when an ``add`` has fewer statistics: those are optional, and only spare
opening files. So what is not declared to be bounded (``Table.bounded``) is taken out of entries where it stands, and
nothing else is changed in them. The seal's copy goes first, and is on the disk before the entry is written: whoever is
killed in between leaves an entry that is not as its seal has it, which the next pass, or a verification that repairs,
puts right.

Checkpoints hold the same bounds, and what entries say: they are deleted, and one is made of what the entries say now.
What a Parquet file says of itself goes with the file.
"""

import json
import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from laion_assets.common.digests import json_digest
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.logs import drop_checkpoints, is_whole, log_versions
from laion_assets.delta.seals import (
    SEALS,
    SealDamaged,
    bytes_of,
    checkpoint_name,
    entry_lines,
    entry_name,
    read_seal,
    seal_name,
    sound_seal,
)
from laion_assets.delta.storage import Storage

_DONE = "bounds.json"
_WORTH_A_NOTE = 200
"""Entries that were looked at, so that the next pass need not."""
_KEPT = ("minValues", "maxValues")
_log = logging.getLogger(__name__)


def forget_bounds(lake: Lake, table: str) -> int:
    """Take out of the log of a table what it should not know; gives how many entries were changed. Safe to repeat.

    Of a long log, entries that were looked at before are not looked at again. A log that lacks entries, or has one that
    cannot be read, keeps its checkpoints.

    Raises:
        LakeError: files cannot be read or written.
    """
    storage, declared = lake.storage, lake.tables[table]
    entries, _, checkpoints = log_versions(storage, table)
    if not entries:
        return 0
    bounded = {*declared.bounded}
    mark = json_digest(sorted(bounded), sort_keys=True, digits=16)
    last = max(entries)
    done = _done(storage, table, mark)
    changed = [_forget(storage, table, version, bounded) for version in sorted(entries) if version > done]
    holding = [version for version in checkpoints if _holds(storage, checkpoint_name(table, version), bounded)]
    if holding and entries == {*range(last + 1)} and all(is_whole(storage, table, version) for version in entries):
        drop_checkpoints(storage, table, 0)
        _checkpoint(lake, table)
    if last - done >= _WORTH_A_NOTE and None not in changed:
        content = {"until": last, "bounded": mark}
        storage.replace(f"{table}/{SEALS}/{_DONE}", f"{json.dumps(content)}\n".encode())
    return sum(filter(None, changed))


def without_bounds(entry: str, bounded: Collection[str]) -> str:
    """A log entry that knows bounds of these columns alone; the same text where it knows no others."""
    return "\n".join(_narrowed(line, bounded) for line in entry_lines(entry))


def _narrowed(line: str, bounded: Collection[str]) -> str:
    if '"stats"' not in line:
        return line
    action = json.loads(line)
    changed = False
    for kind in ("add", "remove"):
        if isinstance(action.get(kind), dict) and (stats := _stats(action[kind].get("stats"), bounded)) is not None:
            action[kind]["stats"] = stats
            changed = True
    return json.dumps(action, separators=(",", ":"), ensure_ascii=False) if changed else line


def _stats(text: str | None, bounded: Collection[str]) -> str | None:
    """Statistics as they may be; None where they are."""
    stats: dict[str, Any] = json.loads(text) if text else {}
    if not any(stats.get(kind, {}).keys() - set(bounded) for kind in _KEPT):
        return None
    fewer = {kind: {name: v for name, v in stats.get(kind, {}).items() if name in bounded} for kind in _KEPT}
    return json.dumps({**stats, **fewer}, separators=(",", ":"), ensure_ascii=False)


def _forget(storage: Storage, table: str, version: int, bounded: Collection[str]) -> bool | None:
    """Narrow one entry and its seal; None: one of them cannot be read, which is left to whoever verifies."""
    name = entry_name(table, version)
    try:
        seal = read_seal(storage, table, version)
        found = storage.read(name).decode()
        narrowed = without_bounds(found, bounded)
        sealed = None if seal is None else without_bounds(seal.entry, bounded)
    except (SealDamaged, ValueError, FileNotFoundError):
        return None
    if seal is not None and sealed is not None and sealed != seal.entry:
        storage.replace(seal_name(table, version), replace(seal, entry=sealed).to_bytes(), durable=True)
    if narrowed == found:
        return False
    storage.replace(name, narrowed.encode(), durable=True)
    return True


def _holds(storage: Storage, name: str, bounded: Collection[str]) -> bool:
    """Whether a checkpoint knows other bounds. One that cannot be read may, and so may one that has them as columns."""
    with storage.local(name) as path:
        try:
            with pq.ParquetFile(path) as file:
                if file.schema_arrow.field("add").type.get_field_index("stats_parsed") >= 0:
                    return True
                for batch in file.iter_batches(columns=["add.stats"]):
                    stats = batch.column("add").field("stats").drop_null()
                    if any(_stats(text.as_py(), bounded) is not None for text in stats):
                        return True
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError):
            return True
    return False


def _checkpoint(lake: Lake, table: str) -> None:
    """Make a checkpoint of the newest version, and let its seal know it. Without one readers read all entries."""
    try:
        delta = lake.opened(table)
        delta.create_checkpoint()
    except (DeltaError, LakeError, OSError) as error:
        _log.warning("no checkpoint of %s could be made: %s", table, error)
        return
    name = checkpoint_name(table, delta.version())
    seal = sound_seal(lake.storage, table, delta.version())
    if seal is not None:
        grown = replace(seal, files={**seal.files, name: bytes_of(lake.storage, name)})
        lake.storage.replace(seal_name(table, delta.version()), grown.to_bytes(), durable=True)


def _done(storage: Storage, table: str, mark: str) -> int:
    """The last version that was looked at by the same rule; -1: none."""
    try:
        found = json.loads(storage.read(f"{table}/{SEALS}/{_DONE}"))
        return int(found["until"]) if found["bounded"] == mark else -1
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return -1
