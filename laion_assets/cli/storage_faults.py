"""What to tell of Dagster's own storage when it cannot be had: its database, or the `dagster.yaml` that says where."""

import os

import dagster as dg
from sqlalchemy.exc import OperationalError


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
