"""What every Python does first that has this folder on its path: let SQLite not wait for the disk.

Each event of Dagster is a commit or more, and half of the time of a small build is spent on waiting for them. No test
cuts the power: what a process has written is there for the next one however it ended.
"""

import sqlite3
import sqlite3.dbapi2
from typing import Any

_connect = sqlite3.connect


def _connect_unsynced(*arguments: Any, **options: Any) -> sqlite3.Connection:
    connection = _connect(*arguments, **options)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


sqlite3.connect = sqlite3.dbapi2.connect = _connect_unsynced
