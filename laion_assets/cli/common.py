"""What every command of ``laion`` shares: options, consoles, the lake and its settings, errors in one line."""

import os
from collections.abc import Container
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from laion_assets.common.logs import configure_logs
from laion_assets.delta.lake import Lake
from laion_assets.settings import Settings, load_settings

_UNCUT = 10_000


class _Screen(Console):
    """As wide as its terminal, or as COLUMNS says. Elsewhere lines are as long as they are: nobody can search what is
    cut or broken in two.
    """

    @property
    def is_bounded(self) -> bool:
        """Whether lines have to fit into a width."""
        return self.is_terminal or self._width is not None or "COLUMNS" in os.environ

    @property
    def size(self) -> ConsoleDimensions:
        found = super().size
        return found if self.is_bounded else ConsoleDimensions(_UNCUT, found.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


out = _Screen(emoji=False)
err = _Screen(stderr=True, emoji=False)

LakeOption = Annotated[
    str | None,
    typer.Option("--lake", help="The lake: a folder, or s3://bucket/prefix (LAION_LAKE).", show_default=False),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        help="Where crawls come from: s3://commoncrawl, https://data.commoncrawl.org or a folder (LAION_SOURCE).",
        show_default=False,
    ),
]


class UsageError(Exception):
    """Something the caller can put right; one line, exit code 2."""


def complain(what: str, text: str) -> None:
    """One line on stderr. The text is shown as it is: it may hold anything."""
    err.print(Text.assemble((what, "red"), " ", " ".join(text.split())), soft_wrap=True)


def listing(
    *headings: str, numbers: Container[str] = (), folded: Container[str] = (), title: str | None = None
) -> Table:
    """A table with hardly a line: its numbers stand to the right, and what is folded may take several lines."""
    table = Table(title=None if title is None else Text(title), box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings:
        right, whole = heading in numbers, heading not in folded
        table.add_column(heading, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    return table


def json_value(value: object) -> str:
    """What JSON has no form for, as text: times as ISO 8601 has them, bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def settings_of(lake: str | None, source: str | None = None, **others: object) -> Settings:
    """The settings, the given flags before everything else. Child processes see them too."""
    given = {"lake": lake, "source": source, **others}
    for name, value in given.items():
        if value is not None:
            os.environ[f"LAION_{name.upper()}"] = str(value)
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)
    return settings


def ensure_page(output: Path) -> None:
    """Make sure that ``--output`` can be written, and is called what it will be: an HTML file.

    Raises:
        UsageError: it is a folder, or in none that is there, or its ending promises something else.
    """
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"--output: expected a file in a folder that is there, found {output}")
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output: expected a name that ends in .html or .htm, for a page is written, found {output}")


def existing_lake(lake: str | None) -> Lake:
    """The lake at ``lake``, or the one the settings name.

    Raises:
        LakeError: there is none.
    """
    return settings_of(lake).open_lake(create=False)
