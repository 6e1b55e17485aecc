"""``laion release diff``."""

import json
import sys
from typing import Annotated

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, out, settings_of
from laion_assets.cli.release.command import place_named, releases
from laion_assets.common.quantities import counted

_Named = "Name of a release of the lake, or where one lies: a folder or s3://…"


@releases.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help=_Named, metavar="A", show_default=False)],
    after: Annotated[str, typer.Argument(help=_Named, metavar="B", show_default=False)],
    show: Annotated[int, typer.Option(min=0, help="Name so many pairs of each kind.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    lake: LakeOption = None,
) -> None:
    """Compare two releases: pairs added, removed and changed, and in which columns.

    The releases' own files of ids are read and nothing else, so it works long after the versions of tables that they
    were made from are gone. Where the lake is there, it is asked why pairs were removed.
    """
    from laion_assets.release.diff import diff_releases
    from laion_assets.release.place import open_place

    places = [open_place(place_named(name, lake)) for name in (before, after)]
    settings = settings_of(lake)
    found = diff_releases(places[0], places[1], show=show, lake=settings.lake_if_any(), models=settings.models)
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
        return
    out.print(
        f"{counted(found.added, 'pair')} added, {found.removed:,} removed, {found.changed:,} changed, "
        f"{found.same:,} the same",
        highlight=False,
    )
    for name, pairs in found.columns.most_common():
        out.print(Text(f"  changed in {name}: {pairs:,}"))
    for reason, pairs in found.reasons.most_common():
        out.print(Text(f"  removed: {pairs:,}, {reason}"))
    for pair in found.shown:
        what = f" ({', '.join(pair.columns)})" if pair.columns else ""
        out.print(Text(f"{pair.how} {pair.pair_id}{what}"), soft_wrap=True)
