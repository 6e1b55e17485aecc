"""The DuckDB engine that steps work in: in memory, spilling to a folder of its own, bounded."""

import os
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import duckdb

from laion_assets.delta.storage import Storage

_open: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()


def memory_limit_bytes(share: float = 0.25) -> int:
    """A DuckDB memory limit: ``share`` of the machine's memory, at least 512 MB, at most 4 GB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(max(total * share, 512e6), 4e9))


def open_engine(spill: Path, storage: Storage, *, memory_bytes: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that reads the files of a lake, and may write to ``spill`` what does not fit in memory.

    Insertion order is not kept (nothing relies on it: order is always asked for), which lets large sorts and joins
    stream. Times are UTC.
    """
    spill.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{(memory_bytes or memory_limit_bytes()) // 1_000_000}MB",
            "temp_directory": str(spill),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
            # It takes a file for unchanged that was written again within a second, and serves the bytes from before.
            "enable_external_file_cache": "false",
        },
    )
    con.execute("SET TimeZone = 'UTC'")
    storage.admit(con)
    _open.add(con)
    return con


def interrupt_engines() -> None:
    """End the queries that this process' engines are busy with; they raise. Signals do not reach a query."""
    for con in [*_open]:
        with suppress(duckdb.ConnectionException):  # it is closed
            con.interrupt()
