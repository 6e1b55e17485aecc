"""Contact sheets: pairs to look at, as Markdown tables with thumbnails.

Texts of a contact sheet stay text, so that the reader's own fonts show any script.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from laion_assets.images.thumbnail import thumbnail

_SHOWN_CHARACTERS = 120
_MARKDOWN_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#+-.!|~"})


@dataclass(frozen=True)
class Sample:
    """One picture with its text and a line about it."""

    image: bytes | None
    text: str
    note: str


def contact_sheet(samples: Sequence[Sample], *, columns: int = 4) -> str:
    """A Markdown table of thumbnails, the text and note of each below it."""
    if not samples:
        return "none"
    rows = []
    for first in range(0, len(samples), columns):
        row = samples[first : first + columns]
        words = [f"{plain_markdown(sample.text)} *{plain_markdown(sample.note)}*" for sample in row]
        rows += [_row(map(_picture, row), columns), _row(words, columns)]
    return "\n".join([_row([], columns), "|" + "---|" * columns, *rows])


def _row(cells: Iterable[str], columns: int) -> str:
    filled = list(cells)
    return "| " + " | ".join(filled + [""] * (columns - len(filled))) + " |"


def _picture(sample: Sample) -> str:
    small = thumbnail(sample.image) if sample.image else None
    return f"![picture](data:image/jpeg;base64,{base64.b64encode(small).decode()})" if small else "no picture"


def plain_markdown(text: str) -> str:
    """One line of Markdown that shows the beginning of the text, whatever is in it."""
    line = " ".join(text.split())[:_SHOWN_CHARACTERS]
    return html.escape(line, quote=False).translate(_MARKDOWN_SPECIAL)
