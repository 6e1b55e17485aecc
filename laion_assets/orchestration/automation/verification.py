"""The job that compares a share of the lake with what was written, week by week another one; it changes nothing."""

from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import Fault
from laion_assets.delta.scope import Scope
from laion_assets.delta.verify import Report, verify_lake
from laion_assets.images.decode import picture_fault
from laion_assets.lake.tars import tar_check
from laion_assets.orchestration.automation.maintenance import one_at_a_time
from laion_assets.settings import Settings
from laion_assets.sql.build import declared
from laion_assets.sql.errors import ModelError
from laion_assets.sql.project import load_project

NAME = "verification"
"""Of the job and its schedule."""

_DESCRIPTION = (
    "Compares a share of the lake with what was written: logs, rows, and the files that rows name. A fault fails the "
    "run, and stands on the asset it is of; nothing is changed. `laion verify --repair` acts on it."
)
_SHOWN = 50


@dataclass(frozen=True)
class ScheduledVerification:
    """What a code location needs for it."""

    job: dg.JobDefinition
    schedule: dg.ScheduleDefinition


class VerificationConfig(dg.Config):
    """How one run is done."""

    share: float | None = Field(
        default=None, gt=0, le=1, description="The share to look at; none: as LAION_VERIFICATION__SHARE says."
    )


def verification(settings: Settings) -> ScheduledVerification:
    """The job and its schedule, which is off until somebody turns it on."""
    options = settings.verification

    @dg.op(name="compare_with_what_was_written", description=_DESCRIPTION, required_resource_keys={"lake"}, pool=NAME)
    def compare(context: dg.OpExecutionContext, config: VerificationConfig) -> None:
        lake = context.resources.lake.open()
        try:
            lake = declared(lake, load_project(settings.models))
        except ModelError as error:
            context.log.warning(f"SQL models are looked at without their columns: {error.faults[0]}")
        try:
            report = verify_lake(lake, Scope(share=config.share or options.share), archive=tar_check(picture_fault))
        except LakeError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        _tell(context, report)

    @dg.job(name=NAME, description=_DESCRIPTION, executor_def=dg.in_process_executor)
    def job() -> None:
        compare()

    told = f"Verifies {options.share:.0%} of the lake, each week another part of it."
    return ScheduledVerification(job, one_at_a_time(job, options.cron, told))


def _tell(context: dg.OpExecutionContext, report: Report) -> None:
    """Note what was found: on the asset of each table that has a fault, and as what the run comes to."""
    seen = report.seen
    context.log.info(f"{seen.partitions:,} partitions and {seen.files:,} files were looked at")
    by_table: dict[str, list[Fault]] = {}
    for fault in report.faults:
        by_table.setdefault(fault.table, []).append(fault)
    for table, faults in by_table.items():
        lines = [f"- {fault.line}" for fault in faults[:_SHOWN]]
        shown = dg.MetadataValue.md("\n".join(lines))
        context.log_event(dg.AssetObservation(table, metadata={"faults": len(faults), "what is damaged": shown}))
    if report.faults:
        lines = [fault.line for fault in report.faults[:_SHOWN]]
        raise dg.Failure(description="\n".join(lines), metadata={"faults": len(report.faults)}, allow_retries=False)
