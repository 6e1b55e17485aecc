"""``laion clean``: take what a removals feed lists out of a copy of a release."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import UsageError, complain, out
from laion_assets.common.quantities import counted

_SHOWN = 20


def clean(
    copy: Annotated[str, typer.Argument(help="The folder of your copy: Parquet, tars, vectors, lists, or all.")],
    feed: Annotated[
        str, typer.Option(help="The release's `removals.jsonl`: a file, an https:// address, or s3://bucket/name.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and write nothing.")] = False,
) -> None:
    """Take everything that the removals feed of a release lists out of a copy of it.

    Understands Parquet with LAION's, img2dataset's or clip-retrieval's columns, tars with their Parquet and counts,
    vectors with their metadata, folders of the Hugging Face hub, and CSV, TSV and JSON lines, compressed or not. Needs
    no lake. Files without anything listed stay as they are; `removals-receipt.json` says what each of the others lost.

    Goes on after an interruption, with the same result. Exit code 1 if something was found that cannot be cleaned or
    searched: it is named, and everything else is cleaned all the same.
    """
    from laion_assets.release.cleaning.clean import clean as clean_copy
    from laion_assets.release.cleaning.faults import CopyError
    from laion_assets.release.cleaning.fetching import fetch_feed
    from laion_assets.release.feed import FeedError

    if "://" in copy:
        raise UsageError(f"clean: expected a folder of this machine, found {copy}; copy it here first")
    try:
        known = fetch_feed(feed)
        outcome = clean_copy(Path(copy), known, dry_run=dry_run)
    except (FeedError, CopyError) as error:
        raise UsageError(f"clean: {error}") from error
    out.print(Text(f"feed {known.digest}: {len(known.rows):,} rows, {len(known.in_force):,} in force"), soft_wrap=True)
    table = Table("file")
    table.add_column("rows to remove" if dry_run else "rows removed", justify="right")
    for path, rows in sorted(outcome.removed.items()):
        table.add_row(Text(path), f"{rows:,}")
    out.print(table if outcome.removed else "nothing in it is listed")
    out.print(f"{counted(outcome.rows, 'row')} looked at, in {counted(outcome.units, 'unit')}", highlight=False)
    for fault in outcome.faults[:_SHOWN]:
        complain(f"{fault.path}:", fault.reason)
    if len(outcome.faults) > _SHOWN:
        complain("…", f"and {len(outcome.faults) - _SHOWN:,} more, which the receipt names")
    if not dry_run:
        out.print("removals-receipt.json says what was done")
    if outcome.faults:
        raise typer.Exit(1)
