"""What every command that builds does: builds, records how everything stands, and says what it did."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from laion_assets.cli.common import complain, out
from laion_assets.cli.display import build_display
from laion_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    import dagster as dg

    from laion_assets.orchestration.planning.waves import Request
    from laion_assets.orchestration.runs.outcome import Outcome


def build(settings: Settings, request: "Request", console: Console = out, *, jobs: int = 1) -> "Outcome":
    """Build what is asked for, so many partitions at once, and show how it goes."""
    from laion_assets.orchestration.runs.builder import Builder
    from laion_assets.orchestration.runs.home import dagster_instance

    with build_display(console) as reporter:
        return Builder(settings, dagster_instance(), reporter, jobs=jobs).build(request)


def ask_owners(settings: Settings, older_than_days: int | None) -> None:
    """Ask owners of pictures again where nobody has for so many days, and build what follows; None: ask nobody.

    Raises:
        typer.Exit: what follows could not be built.
    """
    from laion_assets.orchestration.planning.crawls import CrawlRequest

    if older_than_days is None:
        return
    lake = settings.open_lake(create=False)
    crawls = lake.order.sorted(lake.ledger("images").periods)
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    outcome = build(settings, CrawlRequest(crawls=crawls, ask_before=before))
    tell(outcome, nothing=f"owners were asked within {older_than_days} days")
    end_if_failed(outcome)


def in_words(outcome: "Outcome", *, nothing: str) -> str:
    """What a build did, in a line.

    Args:
        outcome: of it.
        nothing: why there was nothing to do, where there was nothing: ``X is up to date``.
    """
    words = f"{outcome.built} partitions built, {len(outcome.failures)} failed"
    if outcome.left_out:
        words += f", {len(outcome.left_out)} left out that are built on them"
    if outcome.elsewhere:
        words += f", {outcome.elsewhere} built by another build"
    idle = not (outcome.built or outcome.failures or outcome.left_out or outcome.elsewhere)
    return f"nothing to do: {nothing} ({words})" if idle else words


def tell(outcome: "Outcome", *, nothing: str, then: str = "") -> None:
    """Print what failed, a line each, and what the build did; ``then`` is what to look at next."""
    for table, partition, error in outcome.failures:
        complain("failed", f"{table} {partition}: {error}")
    out.print(f"{in_words(outcome, nothing=nothing)}{then}", highlight=False, markup=False, soft_wrap=True)


def end_if_failed(outcome: "Outcome") -> None:
    """Exit with code 1 where something of a build failed."""
    if outcome.failures:
        raise typer.Exit(1)


def record_states(
    settings: Settings, instance: "dg.DagsterInstance", console: Console, *, errors: Sequence[str] = ()
) -> None:
    """Build ``partition_states`` where it says something else than there is; what stops it stops nothing else.

    Args:
        settings: of the lake.
        instance: keeps the run.
        console: shows how it goes.
        errors: of partitions that failed since.
    """
    from laion_assets.consent.removals import RemovalError
    from laion_assets.delta.errors import LakeError
    from laion_assets.orchestration.planning.overview import StatesRequest
    from laion_assets.orchestration.planning.parts import PARTITION_STATES
    from laion_assets.orchestration.runs.builder import Builder
    from laion_assets.orchestration.runs.recording import states_to_record

    try:
        if not states_to_record(settings, instance, errors):
            return
    except (LakeError, RemovalError, SettingsError) as unreadable:
        complain("warning", f"{PARTITION_STATES} is as it was: {unreadable}")
        return
    with build_display(console) as reporter:
        outcome = Builder(settings, instance, reporter).build(StatesRequest())
    for table, _, error in outcome.failures:
        complain("warning", f"{table}: {error}")
