"""The executors: who runs the steps of a run. Chosen by ``LAION_EXECUTOR``; no asset knows which one it is.

Those that need a cluster are imported only where they are chosen.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

import dagster as dg

from laion_assets.orchestration.execution import ExecutorError
from laion_assets.orchestration.execution.failures import policy
from laion_assets.settings import Settings
from laion_assets.sources.address import parse_address
from laion_assets.tables.limits import need_of
from laion_assets.tables.needs import op_tags


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """Dagster's executor of the kind that the settings choose.

    Raises:
        ExecutorError: what it needs is not installed.
    """
    if settings.executor == "ray":
        ray: dg.ExecutorDefinition = _optional("dagster_ray", "ray").ray_executor
        return ray.configured({"ray": {"env_vars": sent_to_ray(settings)}}, name="ray")
    if settings.executor == "kubernetes":
        kubernetes: dg.ExecutorDefinition = _optional("dagster_k8s", "kubernetes").k8s_job_executor
        return kubernetes
    if settings.executor == "multiprocess":
        # A process that has imported Dagster, and nothing that starts threads, is forked for each step.
        start = {"start_method": {"forkserver": {"preload_modules": ["dagster"]}}}
        return dg.multiprocess_executor.configured(start, name="multiprocess")
    return dg.in_process_executor


def ensure_reachable(settings: Settings) -> None:
    """Make sure that whoever is to run the steps can be asked.

    Raises:
        ExecutorError: no Ray cluster answers.
    """
    if settings.executor == "ray":
        try:
            _optional("ray.job_submission", "ray").JobSubmissionClient()
        except ConnectionError as error:
            raise ExecutorError(
                f"{error} Start a cluster with `ray start --head`, or name its dashboard: RAY_ADDRESS=http://HEAD:8265"
            ) from error


class AssetOptions(TypedDict):
    """Arguments of ``dg.asset`` that are about running it."""

    pool: str | None
    op_tags: Mapping[str, Any]
    retry_policy: dg.RetryPolicy | None


def asset_options(table: str, settings: Settings) -> AssetOptions:
    """What Dagster is told of the steps of a table or SQL model: pool, needs, and when to run one again."""
    need = need_of(table, settings.limits)
    # Inside the process that runs everything nothing is lost but all of it; and there Dagster would take Ctrl-C, too,
    # for a reason to try again.
    lost = None if settings.executor == "in-process" else policy(settings.retries)
    return {"pool": need.pool, "op_tags": op_tags(need, settings.gpu_nodes), "retry_policy": lost}


def _optional(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ExecutorError(
            f"LAION_EXECUTOR={extra} needs {module}, which is not installed: pip install 'laion-lakehouse[{extra}]'"
        ) from error


def sent_to_ray(settings: Settings) -> list[str]:
    """Our settings for the cluster's machines. No credentials: they would stand in Ray's dashboard.

    An address of the source that holds some is left out: the machines need it in their own environment. So is who is
    told of failures: no step tells anybody.
    """
    given = {
        name: value
        for name, value in os.environ.items()
        if name == "DAGSTER_HOME" or (name.startswith("LAION_") and not name.startswith("LAION_ALERTS"))
    }
    lake = settings.lake if "://" in settings.lake else str(Path(settings.lake).expanduser().resolve())
    sent = {**{name: _everywhere(value) for name, value in given.items()}, "LAION_LAKE": lake}
    address = parse_address(settings.source)
    if address.user or address.password or address.query:
        sent.pop("LAION_SOURCE", None)
    else:
        sent["LAION_SOURCE"] = _everywhere(settings.source)
    return [f"{name}={value}" for name, value in sorted(sent.items())]


def _everywhere(value: str) -> str:
    """A setting as it reads in another working directory: what is a path here is made absolute."""
    return str(Path(value).resolve()) if value and Path(value).exists() else value
