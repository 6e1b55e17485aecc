"""``laion import`` and ``laion imports``: lists of urls that become a crawl of their own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, existing_lake, out, settings_of
from laion_assets.cli.imported_tars import tars_in
from laion_assets.common.quantities import counted

if TYPE_CHECKING:
    from laion_assets.lake.imports import ImportedFile, Registered
    from laion_assets.sources.lists.columns import Columns
    from laion_assets.sources.lists.streams import Files


def import_(
    name: Annotated[str, typer.Argument(help="What the crawl is to be called.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders and patterns; `s3://bucket/file`, `s3://bucket/folder/`; `https://host/file`.",
            metavar="FILE…",
        ),
    ] = None,
    tars: Annotated[
        str | None,
        typer.Option(
            "--tars",
            help="A folder, or `s3://bucket/folder/`, of webdataset tars that hold the pictures already, as "
            "img2dataset writes them. They are copied, and nothing is downloaded.",
            metavar="FOLDER",
        ),
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Which column is meant: `url=IMAGE`, `text=0` for the first.", metavar="MEANING=COLUMN"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be taken, and enter nothing.")] = False,
    lake: LakeOption = None,
) -> None:
    """Enter lists of urls and texts as a crawl of this name. `laion build NAME` then goes the same road as with any.

    A list is Parquet, CSV, TSV or JSON lines, each also compressed. Columns are known by the names that are in use
    (url, image_url; text, caption, alt; hash, uid; md5, sha256; similarity, punsafe, pwatermark; license), in capitals
    or not; `--map` says it where they are called otherwise. What was taken for what, and what was left out, is told.

    The crawl stands after all that are in the lake now, whatever its name, and gives way to them: pairs that one of
    them has are dropped. The same command again, with other files, makes these the import's; it keeps its place. The
    files stay where they are: `laion build` reads them there, and fails where they changed since.

    With `--tars` the pictures come from webdataset tars (`KEY.jpg` or `.png`, `.webp`; `KEY.txt`; `KEY.json` with `url`
    and `caption`): they are copied byte for byte into the tars of their bucket, and no host is asked for anything.
    """
    if (files is None) == (tars is None):
        raise UsageError("name the lists to import, or a folder of tars with --tars: one of both")
    from laion_assets.lake.imports import ensure_import_name, register_import
    from laion_assets.orchestration.registration import register
    from laion_assets.orchestration.runs.home import dagster_instance

    said = _said(map or [])
    settings = settings_of(lake)
    opened = settings.open_lake(create=not dry_run)
    ensure_import_name(opened, name)
    described = tars_in(tars, said) if tars else _described(files or [], said, dry_run=dry_run)
    if dry_run:
        return
    registered = register_import(opened, name, described)
    register(dagster_instance(), "crawl", [name])
    _tell(name, registered, described)


def imports(lake: LakeOption = None) -> None:
    """List the imports of the lake: their files, rows, and the crawl they stand after."""
    opened = existing_lake(lake)
    rows = opened.scan("imports").collect()
    table = Table("import", "files", "rows", "stands after", "of")
    for name in opened.order.sorted(opened.order.entered):
        own = rows.filter(crawl=name)
        after = opened.order.key(name)[0]
        kinds = ", ".join(sorted({*own["format"].to_list()}))
        table.add_row(Text(name), f"{own.height:,}", f"{own['rows'].sum():,}", after or "nothing", Text(kinds))
    out.print(table if table.row_count else "nothing was imported")


def _said(given: Sequence[str]) -> dict[str, str]:
    """By meaning, the column that ``--map`` names."""
    from laion_assets.sources.lists.columns import MEANINGS

    found: dict[str, str] = {}
    for one in given:
        meaning, equals, column = one.partition("=")
        if not equals or not column or meaning not in MEANINGS:
            raise UsageError(
                f"--map: expected MEANING=COLUMN with a meaning out of {', '.join(MEANINGS)}, found {one!r}"
            )
        if meaning in found:
            raise UsageError(f"--map: {meaning} was said twice, to be {found[meaning]} and {column}")
        found[meaning] = column
    return found


def _described(given: Sequence[str], said: Mapping[str, str], *, dry_run: bool) -> "list[ImportedFile]":
    """Every file that is meant, read once; what its columns are taken for is told before the first is."""
    from laion_assets.orchestration.resources import open_at, s3_client
    from laion_assets.sources.lists.describe import columns_of
    from laion_assets.sources.lists.find import find_files
    from laion_assets.sources.lists.streams import Files

    opened = Files(open_at)
    uris = find_files(given, s3_client=s3_client)
    by_columns: dict[str, tuple[Columns, list[str]]] = {}
    for uri in uris:
        columns = columns_of(opened, uri, said)
        by_columns.setdefault(repr(columns), (columns, []))[1].append(uri)
    for columns, alike in by_columns.values():
        _print_columns(columns, alike)
    return [] if dry_run else [_file(opened, uri, said) for uri in uris]


def _file(opened: "Files", uri: str, said: Mapping[str, str]) -> "ImportedFile":
    from laion_assets.lake.imports import ImportedFile
    from laion_assets.sources.lists.describe import describe

    found = describe(opened, uri, said)
    return ImportedFile(
        uri=uri,
        kind="list",
        format=found.format,
        rows=found.rows,
        row_groups=found.row_groups,
        bytes=found.stamp.bytes,
        sha256=found.sha256,
        mapping=found.columns.taken,
        left_out=found.columns.left_out,
        stamp=found.stamp.mark,
    )


def _print_columns(columns: "Columns", uris: Sequence[str]) -> None:
    where = uris[0] if len(uris) == 1 else f"{uris[0]} and {counted(len(uris) - 1, 'file')} like it"
    out.print(Text(where), soft_wrap=True)
    taken = ", ".join(f"{meaning} from {column}" for meaning, column in columns.taken.items())
    out.print(Text(f"  taken: {taken}"), soft_wrap=True)
    out.print(Text(f"  left out: {', '.join(columns.left_out) or 'nothing'}"), soft_wrap=True)


def _tell(name: str, registered: "Registered", files: "Sequence[ImportedFile]") -> None:
    rows = sum(file.rows for file in files)
    held = f"{counted(len(files), 'file')}, {counted(rows, 'row')}"
    if not registered.is_changed:
        out.print(Text(f"{name} has these files already: {held}; nothing was changed"), soft_wrap=True)
    else:
        before = "" if registered.files_before is None else f", in place of {counted(registered.files_before, 'file')}"
        after = f"stands after {registered.after}" if registered.after else "stands before all crawls that come"
        out.print(Text(f"entered {name}: {held}{before}; it {after}"), soft_wrap=True)
    out.print(Text(f"`laion build {name}` goes on from here"), soft_wrap=True)
