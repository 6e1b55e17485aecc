"""``laion report``: a lake on one page."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from laion_assets.cli.common import LakeOption, ensure_page, out, settings_of
from laion_assets.common.quantities import measured_bytes


def report(
    lake: LakeOption = None,
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    blur: Annotated[bool, typer.Option("--blur", help="Blur each picture until somebody points at it.")] = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show texts alone.")] = False,
    pictures: Annotated[int, typer.Option(min=1, max=60, help="Pairs on each contact sheet.")] = 12,
) -> None:
    """Write one HTML file about the lake: numbers, plots, and pairs to look at.

    It holds everything it shows, asks nothing of the network and runs no script. What removal requests and deny lists
    name is not on it. Build the SQL models first (`laion models run`): sections whose model is not built say so.
    """
    from laion_assets.cli.display import build_display
    from laion_assets.report.page import ReportOptions, write_report

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    ensure_page(output)
    deny = asdict(settings.deny)
    options = ReportOptions(pictures=pictures, show_pictures=not no_pictures, blur=blur)
    with build_display(out):
        written = write_report(opened, output, options, models=Path(settings.models), deny=deny)
    out.print(f"{output}: {measured_bytes(written)}", highlight=False, soft_wrap=True)
