"""Dagster's home: where runs and their events are kept, the same for the command line and the UI."""

import math
import os
import shutil
from pathlib import Path

import dagster as dg

from laion_assets.common.locks import locked
from laion_assets.common.shipped import shipped
from laion_assets.tables.needs import POOLS

_CONFIGURATION = shipped("infra/local/dagster.yaml")


def dagster_instance() -> dg.DagsterInstance:
    """The Dagster instance of ``DAGSTER_HOME``, by default ``.dagster`` in the working directory; made if absent."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path.cwd() / ".dagster")))
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".opening", wait_seconds=math.inf):  # two first openings at once would both make the database
        fresh = not (home / "dagster.yaml").exists() and _CONFIGURATION.exists()
        if fresh:
            shutil.copy(_CONFIGURATION, home / "dagster.yaml")
        instance = dg.DagsterInstance.get()
        if fresh:
            set_pools(instance)
    return instance


def existing_instance() -> dg.DagsterInstance | None:
    """The same, for commands that only look: None where there is none yet, and none is made."""
    home = Path(os.environ.get("DAGSTER_HOME", str(Path.cwd() / ".dagster")))
    return dagster_instance() if (home / "dagster.yaml").exists() else None


def set_pools(instance: dg.DagsterInstance) -> None:
    """Give each pool of a new instance its size; a pool that somebody gave one keeps it."""
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        known = {pool.name for pool in storage.get_pool_limits()}
        for name, places in POOLS.items():
            if name not in known:
                storage.set_concurrency_slots(name, places)
