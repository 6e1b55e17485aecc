"""``laion consent``: what owners say of the use of their pictures."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from laion_assets.cli.common import LakeOption, SourceOption, out, settings_of
from laion_assets.cli.crawls import known_crawls
from laion_assets.tables.catalogue import PER_CRAWL

consent = typer.Typer(no_args_is_help=True, help="What owners say of the use of their pictures.")


@consent.callback()
def group() -> None:
    """A group, however few commands it has."""


@consent.command()
def refresh(
    crawls: Annotated[list[str], typer.Argument(help="Names of crawls or imports.")],
    older_than: Annotated[
        int, typer.Option("--older-than", min=0, metavar="DAYS", help="Ask where nobody has asked for so many days.")
    ] = 30,
    until: Annotated[str, typer.Option(help="Last table to build.", metavar="TABLE")] = PER_CRAWL[-1],
    lake: LakeOption = None,
    source: SourceOption = None,
) -> None:
    """Ask again what owners allow of pictures that are had, and build what follows.

    Hosts are asked for robots.txt, tdmrep.json and ai.txt, once a day each, and for the heads of the pictures' answers;
    no picture is downloaded again. Where somebody says no by now the picture goes, with its vectors and filtered pairs;
    where a no was taken back it is downloaded. `LAION_CONSENT__ASK_DAYS=30` does the same before every release and
    training. `laion sql "FROM opt_outs WHERE source = 'download'"` shows what was said.
    """
    from laion_assets.cli import building
    from laion_assets.orchestration.planning.crawls import CrawlRequest
    from laion_assets.orchestration.runs.home import dagster_instance

    settings = settings_of(lake, source)
    known_crawls(settings, crawls)
    before = datetime.now(UTC) - timedelta(days=older_than)
    outcome = building.build(settings, CrawlRequest(crawls=crawls, until=until, ask_before=before))
    building.record_states(settings, dagster_instance(), out, errors=[error for *_, error in outcome.failures])
    building.tell(outcome, nothing=f"everybody was asked within {older_than} days", then="; `laion status` shows all")
    building.end_if_failed(outcome)
