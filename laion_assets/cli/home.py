"""Dagster's home: where runs and their events are kept, the same for the command line and the UI."""

import fcntl
import os
import shutil
from pathlib import Path

import dagster as dg

_CONFIGURATION = Path(__file__).resolve().parents[2] / "infra" / "local" / "dagster.yaml"


def dagster_instance() -> dg.DagsterInstance:
    """The Dagster instance of ``DAGSTER_HOME``, by default ``.dagster`` in the working directory; made if absent."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path.cwd() / ".dagster")))
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists() and _CONFIGURATION.exists():
        shutil.copy(_CONFIGURATION, home / "dagster.yaml")
    with (home / ".opening").open("w") as lock:  # two first openings at once would both make the database
        fcntl.flock(lock, fcntl.LOCK_EX)
        return dg.DagsterInstance.get()
