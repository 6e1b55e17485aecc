"""Pictures for people: histograms as PNG, contact sheets as Markdown tables with thumbnails.

Texts of a contact sheet stay text, so that the reader's own fonts show any script.
"""

import base64
import html
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt

from laion_assets.images.decode import rgb_picture
from laion_assets.images.parts import UndecodablePicture

THUMBNAIL_PIXELS = 96
_GLANCE_PIXELS = (320, 240, 160, 120, 80)
_GLANCE_QUALITIES = (50, 25, 5)
_SHOWN_CHARACTERS = 120
_MARKDOWN_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#+-.!|~"})


@dataclass(frozen=True)
class Sample:
    """One picture with its text and a line about it."""

    image: bytes | None
    text: str
    note: str


def histogram(
    groups: Mapping[str, npt.NDArray[np.float32]], thresholds: Mapping[str, float], *, title: str, label: str
) -> bytes:
    """A histogram per group with its threshold, as PNG.

    Args:
        groups: values by name; empty ones are left out.
        thresholds: where to draw a line, by the same names; may lack some.
        title: heading of the figure.
        label: meaning and unit of the values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    shown = {name: values for name, values in groups.items() if len(values)}
    edges = np.histogram_bin_edges(np.concatenate([*shown.values(), [0.0, 1e-3]]), bins=60)
    for number, (name, values) in enumerate(shown.items()):
        color = f"C{number}"
        axes.hist(values, bins=edges.tolist(), histtype="stepfilled", alpha=0.35, color=color)
        kept = f", kept from {thresholds[name]:.2f}" if name in thresholds else ""
        axes.hist(values, bins=edges.tolist(), histtype="step", color=color, label=f"{name} ({len(values):,}{kept})")
        if kept:
            axes.axvline(thresholds[name], color=color, linestyle="--", linewidth=1)
    axes.set(title=title, xlabel=label, ylabel="pairs")
    if shown:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


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


def thumbnail(image: bytes, pixels: int = THUMBNAIL_PIXELS, format_: Literal["JPEG", "WEBP"] = "JPEG") -> bytes | None:
    """The picture on at most ``pixels`` by ``pixels``; None if it cannot be decoded, or would take too much memory."""
    out = io.BytesIO()
    try:
        with rgb_picture(image) as picture:
            picture.thumbnail((pixels, pixels))
            picture.save(out, format=format_, quality=80)
    except UndecodablePicture:
        return None
    return out.getvalue()


def strip(images: Iterable[bytes], pixels: int = 48) -> bytes | None:
    """Pictures side by side as one PNG, ``pixels`` high; None where none can be decoded."""
    from PIL import Image

    small = [Image.open(io.BytesIO(found)) for image in images if (found := thumbnail(image, pixels)) is not None]
    if not small:
        return None
    row = Image.new("RGB", (pixels * len(small), pixels), "white")
    for place, picture in enumerate(small):
        row.paste(picture, (place * pixels, 0))
    out = io.BytesIO()
    row.save(out, format="PNG")
    return out.getvalue()


def at_a_glance(image: bytes, most: int) -> bytes | None:
    """A picture as WebP of at most ``most`` bytes, as large as that allows; None where it would be too small to see."""
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        picture = opened.convert("RGB")
    for pixels, quality in product(_GLANCE_PIXELS, _GLANCE_QUALITIES):
        out = io.BytesIO()
        smaller = picture.copy()
        smaller.thumbnail((pixels, pixels))
        smaller.save(out, format="WEBP", quality=quality, method=6)
        if out.tell() <= most:
            return out.getvalue()
    return None


def read_pictures(tar: str, keys: Iterable[str]) -> dict[str, bytes]:
    """The pictures of a webdataset tar by sample key; keys that it lacks are left out.

    Raises:
        OSError, tarfile.TarError: the tar cannot be read.
    """
    wanted = set(keys)
    found: dict[str, bytes] = {}
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if name.stem in wanted and name.suffix in (".jpg", ".png", ".webp"):
                content = archive.extractfile(member)
                if content is not None:
                    found[name.stem] = content.read()
            if len(found) == len(wanted):
                break
    return found


def picture_fault(content: bytes) -> str | None:
    """What keeps a picture from being decoded; None where nothing does."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the picture cannot be decoded: {' '.join(str(error).split())[:100]}"
    return None
