"""Contact sheets: pictures side by side with what is said of them, as one SVG file.

Texts stay text, so that the reader's own fonts show any script.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from laion_assets.charts.standalone import FONT, NOT_XML
from laion_assets.charts.style import style
from laion_assets.images.thumbnail import thumbnail

PIXELS: Final = 92
"""Four of them fit into a column of Dagster's pages."""
_GAP: Final = 8
_WORDS: Final = 52
"""Height of three lines."""
_SHOWN_CHARACTERS: Final = 120


@dataclass(frozen=True)
class Sample:
    """One picture with its text and a line about it."""

    image: bytes | None
    text: str
    note: str


def contact_strip(samples: Sequence[Sample], otherwise: str) -> bytes:
    """Pictures side by side, the note and the text of each below it, as an SVG file.

    Args:
        samples: what to show.
        otherwise: what the file says where there are none.
    """
    width = max(len(samples) * (PIXELS + _GAP), 4 * PIXELS)
    height = PIXELS + _GAP + _WORDS if samples else 2 * _GAP + 12
    body = [_cell(place * (PIXELS + _GAP), sample) for place, sample in enumerate(samples)]
    if not body:
        body = [Markup('<text x="0" y="{}">{}</text>').format(_GAP + 12, otherwise)]
    document = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><style>{2}</style>'
        '<rect class="ground" width="{0}" height="{1}"/>{3}</svg>'
    ).format(width, height, _LOOK, Markup("").join(body))
    return NOT_XML.sub(" ", document).encode()


_LOOK: Final = Markup(  # noqa: S704 - nothing of it is foreign
    f"{style()}\n{FONT}\n.ground {{ fill: var(--paper); }} .empty {{ fill: none; stroke: var(--line); }}\n"
    ".words { font-size: 11px; line-height: 1.35; color: var(--ink); overflow: hidden; overflow-wrap: anywhere;"
    " display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical; }\n.words i { color: var(--soft); }"
)


def _cell(x: int, sample: Sample) -> Markup:
    small = None if sample.image is None else thumbnail(sample.image, PIXELS)
    shown = Markup('<rect class="empty" x="{}" y="0.5" width="{}" height="{}"/>').format(x, PIXELS, PIXELS - 1)
    if small is not None:
        shown = Markup('<image x="{0}" y="0" width="{1}" height="{1}" href="data:image/jpeg;base64,{2}"/>').format(
            x, PIXELS, base64.b64encode(small).decode()
        )
    words = Markup(
        '<foreignObject x="{}" y="{}" width="{}" height="{}"><div xmlns="http://www.w3.org/1999/xhtml" class="words"'
        ' dir="auto"><i>{}</i> {}</div></foreignObject>'
    ).format(x, PIXELS + 4, PIXELS, _WORDS, sample.note, " ".join(sample.text.split())[:_SHOWN_CHARACTERS])
    return shown + words
