"""``laion release page``."""

from pathlib import Path
from typing import Annotated

import typer

from laion_assets.cli.common import LakeOption, ensure_page, out, settings_of
from laion_assets.cli.release.command import releases
from laion_assets.common.quantities import measured_bytes


@releases.command("page")
def page(
    name: Annotated[str, typer.Argument(help="Name of a release of the lake.", show_default=False)],
    output: Annotated[Path | None, typer.Option(help="The HTML file to write (NAME.html).", show_default=False)] = None,
    blur: Annotated[bool, typer.Option("--blur", help="Blur each picture until somebody points at it.")] = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show texts alone.")] = False,
    pictures: Annotated[int, typer.Option(min=1, max=60, help="Pairs on each contact sheet.")] = 12,
    lake: LakeOption = None,
) -> None:
    """Write one HTML file about a release: pairs to look at, funnel, languages, hosts, and what it came from.

    Its pictures come from the lake, also where the release has links alone: look before you put the file anywhere.
    What is on a takedown or a deny list by now is not on it.
    """
    from laion_assets.orchestration.removals import current_removals
    from laion_assets.release.begun import known_release
    from laion_assets.release.page import write_release_page
    from laion_assets.report.page import ReportOptions

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    release = known_release(opened, name)
    target = output or Path(f"{name}.html")
    ensure_page(target)
    written = write_release_page(
        opened,
        release,
        target,
        ReportOptions(pictures=pictures, show_pictures=not no_pictures, blur=blur),
        models=settings.models,
        removals=current_removals(opened, settings),
    )
    out.print(f"{target}: {measured_bytes(written)}", highlight=False, soft_wrap=True)
