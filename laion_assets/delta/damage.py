"""Damage that is met in passing: which file it is in, and what heals it, where a library says that it cannot read.

What Delta, DuckDB, polars and Arrow say of a broken file is long, and often does not name it. So the files that were
being read are looked at one by one, as a verification would, and the first that is broken is told in one line.
"""

import re
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from laion_assets.common.files import BrokenFile
from laion_assets.delta.engine import open_engine
from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import Fault, damaged, marked
from laion_assets.delta.lake import Lake
from laion_assets.delta.logs import LogDamaged, damaged_log, table_folders
from laion_assets.delta.published import FILES, Published
from laion_assets.delta.scope import Seen
from laion_assets.delta.space import causes, no_space_left
from laion_assets.delta.verify import Snapshot, partition_faults

_SECONDS = 60.0
_OF_READERS: Mapping[str, frozenset[str]] = {
    "duckdb": frozenset(
        {"IOException", "InvalidInputException", "InternalException", "SerializationException", "Error"}
    ),
    "polars": frozenset({"ComputeError", "InvalidOperationError", "PanicException"}),
    "pyarrow": frozenset({"ArrowInvalid", "ArrowNotImplementedError", "ArrowTypeError"}),
    "pyo3_runtime": frozenset({"PanicException"}),
    "_internal": frozenset({"DeltaError", "TableNotFoundError", "DeltaProtocolError", "SchemaMismatchError"}),
    "tarfile": frozenset({"ReadError", "TarError"}),
}


class DamageFound(LakeError):
    """A file of the lake is not as it was written; the message names it, and what heals it."""


def may_be_damage(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is of a kind that broken files cause."""
    return no_space_left(error) is None and any(_is_of_a_reader(link) for link in causes(error))


def damage_in(
    lake: Lake,
    error: BaseException,
    read: Mapping[str, Collection[str]] | None = None,
    *,
    seconds: float = _SECONDS,
) -> DamageFound | None:
    """The damage that an error came from; None where it came from something else.

    Args:
        lake: what was read.
        error: what came of it.
        read: by table, the names of the partitions that were being read; None: any may have been.
        seconds: how long to look where the error names no file.
    """
    if isinstance(error, LogDamaged | DamageFound) or not may_be_damage(error):
        return None
    for name in _named(lake, error):
        fault = _fault_in(lake, name, error, read or {})
        if fault is not None:
            return DamageFound(fault.line)
    for table in read if read is not None else table_folders(lake.storage, lake.catalogue):
        found = damaged_log(lake.storage, table)
        if found is not None:
            return DamageFound(str(found))
    fault = next(_searched(lake, read, time.monotonic() + seconds), None)
    return None if fault is None else DamageFound(fault.line)


def _is_of_a_reader(error: BaseException) -> bool:
    kind = type(error)
    if isinstance(error, BrokenFile):
        return True
    if isinstance(error, OSError) and kind.__module__ == "builtins":
        # What Arrow and polars say of bytes has no number; that a file is not there has one.
        return error.errno is None or isinstance(error, FileNotFoundError)
    if kind.__name__ == "ConversionException":  # of a query's own values, but where it is the commits' JSON
        return "Malformed JSON" in str(error)
    return kind.__name__ in _OF_READERS.get(kind.__module__.lstrip("_").partition(".")[0], ()) or kind.__name__ in (
        _OF_READERS.get(kind.__module__.partition(".")[0], ())
    )


def _named(lake: Lake, error: BaseException) -> list[str]:
    """Files of the lake that the error names, by their names in it."""
    roots = "|".join(re.escape(root.rstrip("/") + "/") for root in (lake.uri, str(lake.staging / "fetched")))
    folders = "|".join(map(re.escape, table_folders(lake.storage, lake.catalogue)))
    found: list[str] = []
    for link in causes(error):
        text = f"{link} {getattr(link, 'filename', None) or ''}"
        paths = re.findall(rf"(?:{roots})(.+?\.(?:parquet|tar|safetensors|json))", text)
        if folders and not paths:  # polars leaves out how a long path begins
            paths = re.findall(rf"\.\.\.\S*?/((?:{folders})/\S+?\.parquet)", text)
        found += [re.sub(r"^tmp[^/]+/", "", path) for path in paths]
    return list(dict.fromkeys(found))


def _fault_in(lake: Lake, name: str, error: BaseException, read: Mapping[str, Collection[str]]) -> Fault | None:
    table, *folders, _ = name.split("/")
    if table == FILES:
        return _fault_beside(lake, name, error, read)
    partition = "/".join(folder for folder in folders if "=" in folder)
    if table not in table_folders(lake.storage, lake.catalogue) or "_delta_log" in folders:
        return None
    return next(_searched(lake, {table: [partition or "all"]}, float("inf")), None)


def _fault_beside(lake: Lake, name: str, error: BaseException, read: Mapping[str, Collection[str]]) -> Fault | None:
    found = Published(lake.catalogue).place(name)
    if found is None:
        return None
    table, partition = found
    own = list(read.get(table, ()))
    partition = own[0] if len(own) == 1 else partition
    said = next((str(link) for link in causes(error) if _is_of_a_reader(link)), str(error))
    told = " ".join(said.split()).replace("; download its partition again", "")
    return damaged(lake.catalogue, table, partition, name, f"cannot be read ({told[:200]})")


def _searched(lake: Lake, read: Mapping[str, Collection[str]] | None, deadline: float) -> Iterator[Fault]:
    with tempfile.TemporaryDirectory() as spill, open_engine(Path(spill), lake.storage) as con:
        for table in read if read is not None else table_folders(lake.storage, lake.catalogue):
            try:
                snapshot = Snapshot.of(lake, table)
            except LakeError:
                continue
            for name in snapshot.files if read is None else [n for n in read[table] if n in snapshot.files]:
                if snapshot.ledger.damaged.get(name) == []:  # known, and to be built again
                    if read is not None:
                        yield marked(lake.catalogue, table, name)
                    continue
                yield from partition_faults(con, lake, snapshot, name, Seen())
                if time.monotonic() > deadline:
                    return
