"""Dagster's home: where runs and their events are kept, the same for the command line and the UI."""

import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import DBAPIError

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
        set_pools(instance, POOLS if fresh else {})
    return instance


def existing_instance() -> dg.DagsterInstance | None:
    """The same, for commands that only look: None where there is none yet, and none is made."""
    home = Path(os.environ.get("DAGSTER_HOME", str(Path.cwd() / ".dagster")))
    return dagster_instance() if (home / "dagster.yaml").exists() else None


def set_pools(instance: dg.DagsterInstance, sizes: Mapping[str, int] = POOLS) -> None:
    """Give pools that have no size yet one; what somebody chose stays.

    Dagster itself would do it at the first step that wants a place, and fails in PostgreSQL if two steps are the first
    at once: its transaction goes on after the row that the other wrote.

    Args:
        instance: whose pools they are.
        sizes: of those to give one; the others follow the instance's own ``default_limit``.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    known = {pool.name for pool in storage.get_pool_limits()}
    for name in POOLS.keys() - known:
        with suppress(DBAPIError):  # another machine just did
            if name in sizes:
                storage.set_concurrency_slots(name, sizes[name])
            else:
                storage.initialize_concurrency_limit_to_default(name)
