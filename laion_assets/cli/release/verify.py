"""``laion release verify``."""

from typing import Annotated

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, complain, out, settings_of
from laion_assets.cli.release.command import place_named, releases


@releases.command("verify")
def verify(
    release: Annotated[
        str,
        typer.Argument(
            help="Where a release lies, a folder or s3://…, or its name in the lake.",
            metavar="FOLDER",
            show_default=False,
        ),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Look at sizes alone, and read no file.")] = False,
    lake: LakeOption = None,
) -> None:
    """Check a release: every file against its manifest, the removals feed, and what is to be removed by now.

    Each fault is a line; exit code 1 if there is any. No lake is needed: where there is one, the release is held
    against its takedowns and deny lists as they are now, else against its own removals feed.
    """
    from laion_assets.orchestration.removals import current_removals
    from laion_assets.release.manifest import read_manifest
    from laion_assets.release.place import open_place
    from laion_assets.release.verify import verify_release

    place = open_place(place_named(release, lake))
    settings = settings_of(lake)
    opened = settings.lake_if_any()
    there, removals = opened is not None, None if opened is None else current_removals(opened, settings)
    faults = 0
    for fault in verify_release(place, removals, content=not quick):
        faults += 1
        out.print(Text(fault.line), soft_wrap=True)
    manifest = read_manifest(place)
    how = "looked at" if quick else "read"
    whose = settings.lake if there else "its own feed"
    against = f"; held against the removals of {whose}" if there or not quick else ""
    words = "no fault" if not faults else "1 fault" if faults == 1 else f"{faults:,} faults"
    out.print(f"release {manifest.release}: {len(manifest.files):,} files {how}{against}; {words}", highlight=False)
    if not there and lake is not None:
        complain("warning", f"there is no lake at {lake}: what was to be removed since is not known")
    if faults:
        raise typer.Exit(1)
