"""No test cuts the power: Dagster's SQLite, whose every event is a commit, need not wait for the disk.

What a process has written is there for the next one however it ended; only what the machine has is lost with it.
"""

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


@event.listens_for(Engine, "connect")
def _not_waiting(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
