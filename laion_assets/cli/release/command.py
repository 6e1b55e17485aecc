"""``laion release NAME`` and ``laion release list``."""

import json
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from laion_assets.cli.common import LakeOption, UsageError, complain, existing_lake, out, settings_of
from laion_assets.common.quantities import measured_bytes

_MAKE = "make"


class _Releases(TyperGroup):
    """Commands about releases; a word that is none of them names a release to make."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name if cmd_name in self.commands else _MAKE)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else [_MAKE, *args])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's
        return ["NAME [OPTIONS]", "|", "COMMAND [ARGS]..."]


releases = typer.Typer(
    cls=_Releases,
    no_args_is_help=True,
    help="""Publish pairs of the lake as a folder that the field's own tools read, and look after what was published.

`laion release NAME` makes a release; `laion release make --help` shows its options.""",
)


@releases.command(_MAKE)
def make(
    name: Annotated[str, typer.Argument(help="What the release is called.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TABLE|MODEL",
            help="What the pairs are selected from (filtered_pairs).",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="An SQL predicate over it: `subset = 'en' AND similarity > 0.3`.", metavar="SQL", show_default=False
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(help="Formats, with commas between them; `laion release formats` lists them.", show_default=False),
    ] = None,
    pictures: Annotated[
        bool | None,
        typer.Option("--pictures/--links-only", help="Whether pictures are in it, or links alone.", show_default=False),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|s3://…",
            help="Where it is written; an empty folder, or none yet (./NAME).",
            show_default=False,
        ),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is, for its card.", show_default=False)] = None,
    license: Annotated[
        str | None, typer.Option(help="Terms of the list itself, an SPDX identifier (CC-BY-4.0).", show_default=False)
    ] = None,
    license_link: Annotated[
        str | None, typer.Option(help="Where these terms stand, if they are your own.", show_default=False)
    ] = None,
    creator: Annotated[str | None, typer.Option(help="Who publishes it.", show_default=False)] = None,
    contact: Annotated[
        str | None, typer.Option(help="Where removals are asked for: an address of mail or web.", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="Its page on the web.", show_default=False)] = None,
    lake: LakeOption = None,
) -> None:
    """Make a release: select pairs, pin the tables they are from, write its files part by part.

    A part is what one bucket of one crawl gives. Interrupted, the same command goes on where it stopped; a part that
    an earlier release has already is taken from there. `manifest.json`, with the SHA-256 of every file, is written
    last: where it is, the release is whole. A release never changes; `laion gc` keeps what it was made from, until
    `laion gc --unpin release=NAME`.

    Refused is what would hold anything that is on a takedown or a deny list by now.
    """
    from laion_assets.cli.building import tell
    from laion_assets.cli.display import build_display
    from laion_assets.orchestration.planning.releases import ReleaseRequest
    from laion_assets.orchestration.runs.builder import Builder
    from laion_assets.orchestration.runs.home import dagster_instance
    from laion_assets.release.begun import begun_release
    from laion_assets.release.options import ReleaseOptions
    from laion_assets.release.parts import ReleaseError
    from laion_assets.release.place import open_place

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    if begun_release(opened, name) is None:
        meant = get_close_matches(name, _commands(), n=1, cutoff=0.75)
        if meant:
            raise UsageError(f"a release cannot be called {name!r}, too like `laion release {meant[0]}`")
        to = to or name
    try:
        options = ReleaseOptions(
            source=source,
            selection=where,
            formats=None if formats is None else tuple(part.strip() for part in formats.split(",") if part.strip()),
            has_pictures=pictures,
            destination=None if to is None else open_place(to).uri,
            description=description,
            license=license,
            license_link=license_link,
            creator=creator,
            contact=contact,
            url=url,
        )
    except ReleaseError as error:
        raise UsageError(str(error)) from error
    instance = dagster_instance()
    with build_display(out) as reporter:
        outcome = Builder(settings, instance, reporter).build(ReleaseRequest(name=name, options=options))
    tell(outcome, nothing=f"release {name} is whole")
    if outcome.failures:
        raise typer.Exit(1)
    release = begun_release(opened, name)
    if release is not None:
        told = f"{release.pairs:,} pairs in {release.terms.destination}; `laion release verify` checks it"
        out.print(told, highlight=False, markup=False, soft_wrap=True)
        if release.terms.contact == "not stated":
            complain("warning", "its card names nobody who could be asked for a removal: --contact does")


def _commands() -> set[str]:
    """The words that name commands of ``laion release``."""
    return {
        command.name or (command.callback.__name__ if command.callback else "")
        for command in releases.registered_commands
    }


@releases.command("list")
def list_releases(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    lake: LakeOption = None,
) -> None:
    """List the releases of a lake: what each is made of, and where it lies."""
    from laion_assets.release.begun import begun_releases, files_of

    opened = existing_lake(lake)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("release", "begun", "from", "formats"):
        table.add_column(heading, overflow="fold")
    for heading in ("pairs", "parts", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("where it lies", overflow="fold")
    for release in begun_releases(opened):
        files = files_of(opened, release.name)
        written = files.select("crawl", "bucket").n_unique() if files.height else 0
        size = int(files["bytes"].sum()) if files.height else 0
        terms, parts = release.terms, len(release.part_rows)
        if as_json:
            said: dict[str, Any] = {
                "release": release.name, "created_at": release.created_at.isoformat(), "source": terms.source,
                "where": terms.selection, "formats": [*terms.formats], "has_pictures": terms.has_pictures,
                "pairs": release.pairs, "parts": parts, "parts_written": written, "bytes": size,
                "destination": terms.destination, "versions": dict(release.versions),
            }  # fmt: skip
            sys.stdout.write(json.dumps(said) + "\n")
            continue
        where = "" if terms.selection == "true" else f": {terms.selection}"
        cells = (
            release.name, f"{release.created_at:%Y-%m-%d %H:%M}", f"{terms.source}{where}", ", ".join(terms.formats),
            f"{release.pairs:,}", f"{written:,}" if written == parts else f"{written:,} of {parts:,}",
            measured_bytes(size), terms.destination,
        )  # fmt: skip
        table.add_row(*map(Text, cells))
    if not as_json:
        out.print(table if table.row_count else "no release was made; `laion release NAME` makes one")


@releases.command("formats")
def list_formats() -> None:
    """List the formats that releases are written in."""
    from laion_assets.release.writers import format_named, format_names

    for name in format_names():
        about = (type(format_named(name)).__doc__ or "").strip().splitlines()[0]
        out.print(Text(f"{name}: {about}"), soft_wrap=True)


def place_named(name: str, lake: str | None) -> str:
    """Where the release lies that somebody named: a folder, an address, or a name that the lake knows.

    Raises:
        UsageError: it is none of these.
    """
    from laion_assets.lake.opening import recorded_shape
    from laion_assets.release.begun import begun_release

    if "://" in name or os.sep in name or Path(name, "manifest.json").is_file():
        return name
    settings = settings_of(lake)
    if recorded_shape(settings.lake) is not None:
        found = begun_release(settings.open_lake(create=False), name)
        if found is not None:
            return found.terms.destination
    if Path(name).is_dir():
        return name
    raise UsageError(
        f"expected the folder or s3:// address of a release, or a name that the lake knows, found {name!r}"
    )
