"""Dagster's home: where runs and their events are kept, the same for the command line and the UI."""

import fcntl
import os
import shutil
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import OperationalError

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


def storage_fault(error: BaseException) -> str | None:
    """What to tell of an error that Dagster's database or its `dagster.yaml` made; None: it is of another kind."""
    home = os.environ.get("DAGSTER_HOME", "")
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OperationalError):
            return (
                f"Dagster's database ({home}/dagster.yaml says where): {str(seen.orig).strip()}; once it answers, the "
                "same command goes on from what the lake has"
            )
        if isinstance(seen, dg.DagsterInvalidConfigError):
            return f"{home}/dagster.yaml: " + "; ".join(fault.message for fault in seen.errors)
        seen = seen.__cause__
    return None
