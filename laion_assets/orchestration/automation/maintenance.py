"""The job that removes what the lake may forget, and what `laion gc` shows before anything is removed."""

import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from laion_assets.common.quantities import measured_bytes
from laion_assets.consent.removals import Removals
from laion_assets.delta.engine import open_engine
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.delta.pins import Pin
from laion_assets.delta.retention import RetentionPlan, plan_retention
from laion_assets.delta.sweep import Swept, sweep
from laion_assets.orchestration.automation.freshness import kept_by
from laion_assets.orchestration.planning.completion import settle_requests
from laion_assets.orchestration.removals import current_removals
from laion_assets.settings import Settings
from laion_assets.sql.build import declared
from laion_assets.sql.project import open_project
from laion_assets.tables.catalogue import STAGES
from laion_assets.tables.groups import OPERATIONS
from laion_assets.training.recipe import RecipeError

NAME = "maintenance"
"""Of the job, its schedule, and the asset under which its runs are shown."""

_DESCRIPTION = (
    "What was removed because no version that can still be asked for needs it: files of replaced versions, pictures, "
    "shards and weights that no row names, staging of dead steps. Versions that a training set or a checkpoint was "
    "made from stay."
)
_RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_GRACE_SECONDS = 1_800


@dataclass(frozen=True)
class Survey:
    """What would be removed, and what of it cannot be although somebody asked for it."""

    plan: RetentionPlan
    removed_rows: Mapping[str, int]
    """By table, rows that removal requests name and that stay readable in pinned versions."""
    replaced_rows: Mapping[str, int]
    """The same of versions that were replaced lately."""


def survey(
    settings: Settings,
    lake: Lake,
    instance: dg.DagsterInstance,
    *,
    days: float | None = None,
    let_go: Collection[str] = (),
    own_run: str | None = None,
    now: datetime | None = None,
) -> Survey:
    """Look what may go. Nothing is removed.

    Args:
        settings: of the lake.
        lake: the lake.
        instance: knows what runs.
        days: how long replaced versions stay readable; None: as the settings say.
        let_go: recipes, and releases as `release=NAME`, whose sources need not stay.
        own_run: a run that reads nothing.
        now: the present.

    Raises:
        RecipeError: a recipe is wrong.
    """
    if settings.recipe_faults:  # what a recipe pins is not known before it can be read
        raise RecipeError(f"nothing is removed while a recipe is wrong: {'; '.join(settings.recipe_faults)}")
    declared(lake, open_project(settings.models))
    plan = plan_retention(
        lake,
        days=settings.retention.days if days is None else days,
        running_since=_running_since(instance, own_run),
        more_pins=_asked_for(settings, let_go),
        let_go={name if "=" in name else f"recipe={name}" for name in let_go},
        now=now,
    )
    removals = current_removals(lake, settings)
    return Survey(plan, *(_removed_rows(lake, files, removals) for files in (plan.held, plan.replaced)))


def _running_since(instance: dg.DagsterInstance, own_run: str | None) -> datetime | None:
    runs = instance.get_run_records(dg.RunsFilter(statuses=_RUNNING))
    began = [r.start_time or r.create_timestamp.timestamp() for r in runs if r.dagster_run.run_id != own_run]
    return datetime.fromtimestamp(min(began), UTC) if began else None


def _asked_for(settings: Settings, let_go: Collection[str]) -> list[Pin]:
    """The versions that recipes name in their files."""
    return [
        Pin(table, version, f"recipe {recipe.name}")
        for recipe in settings.known_recipes.values()
        if recipe.name not in let_go
        for table, version in recipe.selection.versions.items()
    ]


def _removed_rows(lake: Lake, held: pl.DataFrame, removals: Removals) -> dict[str, int]:
    found: dict[str, int] = {}
    if removals.frame.is_empty():
        return found
    with tempfile.TemporaryDirectory() as spill, open_engine(Path(spill), lake.storage) as con:
        known = removals.register(con)
        for (table,), files in held.partition_by("area", as_dict=True).items():
            columns = set(lake.tables[table].schema.names) if table in lake.tables else set()
            by = {name: name if name in columns else None for name in ("url", "final_url", "pair_id")}
            if not any(by.values()):
                continue
            addresses = ", ".join(literal(lake.storage.address(name)) for name in files["name"])
            names = ", ".join(name for name in by.values() if name)
            relation = f"(SELECT {names} FROM read_parquet([{addresses}], hive_partitioning = false))"
            counted = con.execute(f"SELECT count(removal) FROM ({known.annotate(relation, **by)})").fetchone()
            if counted and counted[0]:
                found[table] = int(counted[0])
    return found


@dataclass(frozen=True)
class Maintenance:
    """What a code location needs for it."""

    job: dg.JobDefinition
    schedule: dg.ScheduleDefinition
    shown: dg.AssetSpec


class MaintenanceConfig(dg.Config):
    """How one run is done."""

    dry_run: bool = Field(default=False, description="Show what would be removed, and remove nothing.")
    days: float | None = Field(
        default=None,
        ge=1,
        description="Days for which replaced versions stay readable; none: as LAION_RETENTION__DAYS says.",
    )


def maintenance(settings: Settings) -> Maintenance:
    """The job and its schedule, which is off until somebody turns it on."""
    options = settings.retention

    @dg.op(name="remove_forgotten", description=_DESCRIPTION, required_resource_keys={"lake"}, pool=NAME)
    def remove(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
        began = time.monotonic()
        lake = context.resources.lake.open()
        try:
            settle_requests(lake, settings)
            seen = survey(settings, lake, context.instance, days=config.days, own_run=context.run_id)
            left = options.minutes * 60 - (time.monotonic() - began)
            swept = Swept(complete=False) if config.dry_run else sweep(lake, seen.plan, seconds=left)
        except LakeError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        context.log_event(dg.AssetMaterialization(NAME, metadata=_metadata(seen, swept, time.monotonic() - began)))

    # Should it hang, for instance on a bucket that does not answer, it is ended.
    limit = {"dagster/max_runtime": str(round(options.minutes * 60) + _GRACE_SECONDS)}

    @dg.job(name=NAME, description=_DESCRIPTION, tags=limit, executor_def=dg.in_process_executor)
    def job() -> None:
        remove()

    told = f"Removes what the lake may forget: versions replaced more than {options.days:g} days ago."
    schedule = one_at_a_time(job, options.cron, told)
    policy = kept_by(options.cron)
    deps = [*filter(settings.offers, STAGES)]
    shown = dg.AssetSpec(NAME, description=_DESCRIPTION, group_name=OPERATIONS, deps=deps, freshness_policy=policy)
    return Maintenance(job, schedule, shown)


def one_at_a_time(job: dg.JobDefinition, cron: str, description: str) -> dg.ScheduleDefinition:
    """A schedule of a job, called like it and off until somebody turns it on, that asks for no second run beside one.

    Args:
        job: what it runs.
        cron: when.
        description: what the UI says of it.
    """

    @dg.schedule(
        name=job.name,
        job=job,
        cron_schedule=cron,
        description=description,
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        asked = dg.RunsFilter(job_name=job.name, statuses=[*_RUNNING, *_WAITING])
        under_way = context.instance.get_runs(asked, limit=1)
        if under_way:
            return dg.SkipReason(f"run {under_way[0].run_id} has not ended yet")
        return dg.RunRequest()

    return schedule


def _metadata(seen: Survey, swept: Swept, seconds: float) -> dict[str, Any]:
    plan = seen.plan
    return {
        "removed": measured_bytes(sum(swept.bytes.values())),
        "bytes removed": sum(swept.bytes.values()),  # plotted over time
        "files removed": sum(swept.files.values()),
        "complete": swept.complete,
        "files spared": swept.spared,
        "by table": dg.MetadataValue.md(_by_area(plan, swept)),
        "readable since": dg.MetadataValue.timestamp(plan.since),
        "pinned versions": dg.MetadataValue.md(_pins(plan)),
        "removed rows in pinned versions": sum(seen.removed_rows.values()),
        "removed rows in replaced versions": sum(seen.replaced_rows.values()),
        "seconds": round(seconds, 2),
    }


def _by_area(plan: RetentionPlan, swept: Swept) -> str:
    lines = ["| what | stays, MB | for pins, MB | could go, MB | removed, MB | files removed |", "|---|" + "---:|" * 5]
    for area in plan.areas:
        sizes = (area.kept, area.pinned, area.freed, swept.bytes[area.name])
        cells = [area.name, *(f"{size / 1e6:,.1f}" for size in sizes), f"{swept.files[area.name]:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _pins(plan: RetentionPlan) -> str:
    lines = [f"| {pin.table} | {pin.version} | {pin.reader} |" for pin in plan.pins]
    return "\n".join(["| table | version | for |", "|---|---:|---|", *lines]) if lines else "none"
