"""``laion release feed``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from laion_assets.cli.common import LakeOption, UsageError, complain, out, settings_of
from laion_assets.cli.release.command import place_named, releases
from laion_assets.common.quantities import counted


@releases.command("feed")
def feed(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            help="Releases: names that the lake knows, folders, or s3://…; all of the lake's where none is named.",
            metavar="[NAME|FOLDER]...",
            show_default=False,
        ),
    ] = None,
    lake: LakeOption = None,
) -> None:
    """Bring the removals feeds of releases up to date, without making the releases anew.

    `removals.jsonl` of a release lists what was to be removed since, so that whoever has a copy can clean it
    (`laion clean`). Rows are only ever added: for takedowns and their withdrawals, and for what the release holds of
    deny lists. An address stands in it as a digest, a reason as one word: `laion takedown --help`.
    """
    from laion_assets.consent.removals import load_removals
    from laion_assets.orchestration.removals import deny_lists
    from laion_assets.release.begun import begun_releases
    from laion_assets.release.feed import FeedError, requests_of
    from laion_assets.release.parts import ReleaseError
    from laion_assets.release.place import open_place
    from laion_assets.release.refresh import refresh_feed

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    places = [place_named(name, lake) for name in named or ()]
    if not places:
        places = [release.terms.destination for release in begun_releases(opened)]
    if not places:
        raise UsageError("the lake has no releases; `laion release NAME` makes one")
    requests = requests_of(opened.scan("takedowns").collect()) if opened.exists("takedowns") else []
    lists = load_removals(None, **deny_lists(settings))
    now, failed = datetime.now(UTC), False
    for place in places:
        try:
            before, after = refresh_feed(open_place(place), requests, lists, now)
        except (ReleaseError, FeedError) as error:
            complain("laion:", f"{place}: {error}")
            failed = True
            continue
        grown = f"{after - before:,} of them new" if after > before else "nothing new"
        out.print(f"{place}: {counted(after, 'row')}, {grown}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
