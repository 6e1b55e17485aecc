"""``laion release NAME`` and ``laion release list``."""

import json
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from laion_assets.cli.common import LakeOption, UsageError, complain, existing_lake, listing, out, settings_of
from laion_assets.common.quantities import measured_bytes
from laion_assets.delta.lake import Lake

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


def _said(help: str, *name: str, metavar: str | None = None) -> Any:
    """An option of a release: what is not said stays as it was begun, so none shows a default."""
    return typer.Option(*name, help=help, metavar=metavar, show_default=False)


@releases.command(_MAKE)
def make(
    name: Annotated[str, typer.Argument(help="What the release is called.", show_default=False)],
    source: Annotated[
        str | None, _said("What the pairs are selected from (filtered_pairs).", "--from", metavar="TABLE|MODEL")
    ] = None,
    where: Annotated[
        str | None, _said("An SQL predicate over it: `subset = 'en' AND similarity > 0.3`.", metavar="SQL")
    ] = None,
    formats: Annotated[
        str | None, _said("Formats, with commas between them; `laion release formats` lists them.")
    ] = None,
    pictures: Annotated[
        bool | None, _said("Whether pictures are in it, or links alone.", "--pictures/--links-only")
    ] = None,
    to: Annotated[
        str | None, _said("Where it is written; an empty folder, or none yet (./NAME).", metavar="FOLDER|s3://…")
    ] = None,
    description: Annotated[str | None, _said("What it is, for its card.")] = None,
    license: Annotated[str | None, _said("Terms of the list itself, an SPDX identifier (CC-BY-4.0).")] = None,
    license_link: Annotated[str | None, _said("Where these terms stand, if they are your own.")] = None,
    creator: Annotated[str | None, _said("Who publishes it.")] = None,
    contact: Annotated[str | None, _said("Where removals are asked for: an address of mail or web.")] = None,
    url: Annotated[str | None, _said("Its page on the web.")] = None,
    lake: LakeOption = None,
) -> None:
    """Make a release: select pairs, pin the tables they are from, write its files part by part.

    A part is what one bucket of one crawl gives. Interrupted, the same command goes on where it stopped; a part that
    an earlier release has already is taken from there. `manifest.json`, with the SHA-256 of every file, is written
    last: where it is, the release is whole. A release never changes; `laion gc` keeps what it was made from, until
    `laion gc --unpin release=NAME`.

    Refused is what would hold anything that is on a takedown or a deny list by now.
    """
    from laion_assets.cli.building import ask_owners, build, end_if_failed, tell
    from laion_assets.orchestration.planning.releases import ReleaseRequest
    from laion_assets.release.begun import begun_release
    from laion_assets.release.options import ReleaseOptions
    from laion_assets.release.parts import ReleaseError
    from laion_assets.release.place import open_place

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    if begun_release(opened, name) is None:
        _ensure_no_command(name)
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
    ask_owners(settings, settings.consent.ask_days)
    outcome = build(settings, ReleaseRequest(name=name, options=options))
    tell(outcome, nothing=f"release {name} is whole")
    end_if_failed(outcome)
    _tell_where(opened, name)


def _ensure_no_command(name: str) -> None:
    """Refuse a name of a new release that is nearly a command: a slip would make a release.

    Raises:
        UsageError: it is.
    """
    meant = get_close_matches(name, _commands(), n=1, cutoff=0.75)
    if meant:
        raise UsageError(f"a release cannot be called {name!r}, too like `laion release {meant[0]}`")


def _tell_where(lake: Lake, name: str) -> None:
    """Say what a release that was made holds, where it lies, and what its card lacks."""
    from laion_assets.release.begun import begun_release

    release = begun_release(lake, name)
    if release is None:
        return
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
    texts, numbers = ("release", "begun", "from", "formats", "where it lies"), ("pairs", "parts", "size")
    table = listing(*texts[:-1], *numbers, texts[-1], numbers=numbers, folded=texts)
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
    from laion_assets.release.begun import begun_release

    if "://" in name or os.sep in name or Path(name, "manifest.json").is_file():
        return name
    opened = settings_of(lake).lake_if_any()
    found = None if opened is None else begun_release(opened, name)
    if found is not None:
        return found.terms.destination
    if Path(name).is_dir():
        return name
    raise UsageError(
        f"expected the folder or s3:// address of a release, or a name that the lake knows, found {name!r}"
    )
