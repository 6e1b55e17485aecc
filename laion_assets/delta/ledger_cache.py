"""Ledgers kept on this machine, so that a new process reads only what was committed since.

A long log costs a request for each of its entries. Losing what is kept costs time and nothing else: whatever cannot be
read, or does not fit the log it is held against, is passed over.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from laion_assets.common.digests import json_digest, text_digest
from laion_assets.common.files import write_file
from laion_assets.common.folders import user_cache
from laion_assets.delta.commits import Ledger

_FORMAT = 2
_WORTH_KEEPING = 256
"""Entries that must have been read anew before a ledger is written again."""


class _Kept(msgspec.Struct, array_like=True):
    format: int
    table_id: str
    newest: str
    ledger: Ledger


@contextmanager
def no_collection() -> Iterator[None]:
    """Make tens of thousands of objects, none of them garbage, without looking for garbage among them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def kept_ledger(path: str, table_id: str, version: int) -> tuple[Ledger, str] | None:
    """The ledger of a table as it was kept, up to ``version`` at most, with the digest of its newest entry.

    Args:
        path: where the table lies.
        table_id: Delta's id of the table.
        version: the version it has now.
    """
    try:
        with no_collection():
            kept = msgspec.msgpack.decode(_file(path).read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError, TypeError, ValueError):
        return None
    usable = (kept.format, kept.table_id) == (_FORMAT, table_id) and 0 <= kept.ledger.version <= version
    return (kept.ledger, kept.newest) if usable else None


def keep_ledger(path: str, table_id: str, ledger: Ledger, newest: str, known: int) -> None:
    """Keep a ledger that was brought up to date from version ``known``, if it was far behind."""
    if ledger.version - known < _WORTH_KEEPING:
        return
    file = _file(path)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, msgspec.msgpack.encode(_Kept(_FORMAT, table_id, newest, ledger)))


def entry_digest(entry: Mapping[str, Any]) -> str:
    """What tells one log entry from every other, whatever number it was given: a copied lake goes its own way."""
    told = {name: value for name, value in entry.items() if name != "version"}
    return json_digest(told, sort_keys=True, default=str)


def _file(path: str) -> Path:
    return user_cache() / f"ledger-{text_digest(path, digits=24)}.msgpack"
