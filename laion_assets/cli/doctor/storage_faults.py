"""What to tell where Dagster's storage cannot be had (its database, or its `dagster.yaml`), or the lake's is broken."""

import os
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import OperationalError

from laion_assets.delta.damage import damage_in, may_be_damage
from laion_assets.delta.errors import LakeError
from laion_assets.delta.space import disk_trouble
from laion_assets.lake.opening import damaged_lake_at, recorded_shape
from laion_assets.settings import Settings


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


def lake_fault(error: BaseException) -> str | None:
    """What to tell of an error that a broken file of the lake caused, or its disk; None: it is of another kind."""
    uri = os.environ.get("LAION_LAKE", Settings.model_fields["lake"].default)
    trouble = disk_trouble(error)
    if trouble is not None and str(Path(uri).absolute()) in trouble:
        return trouble
    if not may_be_damage(error):
        return None
    try:
        shape = recorded_shape(uri)
        found = damage_in(damaged_lake_at(uri, *shape), error) if shape else None
    except LakeError as worse:
        return str(worse)
    return None if found is None else str(found)
