"""The pictures of the sample and how their server answers: files on disk, no network.

All bodies lie uncompressed in one zip archive, `web.zip`, so that ten thousand pictures are one file; `web.json` lists
the paths that are answered in any other way than with their picture.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CONTENT_TYPES: Final = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "html": "text/html; charset=utf-8",
}

MIN_BYTES: Final = 5_000
"""LAION's lower bound for a picture file, which every ordinary picture of the sample exceeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """How the server answers a path, where it does not simply send the file of that name."""

    status: int = 200
    """HTTP status; with a body only if a file has the path's name."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers. Content-Type replaces the usual one."""
    delay_seconds: float = 0.0
    """Silence before the answer."""
    drip_seconds: float = 0.0
    """Silence between single bytes of the body; 0 sends it at once."""
    claimed_bytes: int | None = None
    """A false Content-Length; the connection closes after the true body."""


class WebWriter:
    """Writes `web.zip` and `web.json`; a context manager."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._archive = zipfile.ZipFile(root / "web.zip", "w", zipfile.ZIP_STORED)
        self._replies: dict[str, Reply] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._archive.close()
        if kind is None:
            replies = {path: _brief(reply) for path, reply in sorted(self._replies.items())}
            (self._root / "web.json").write_text(json.dumps(replies, indent=0, ensure_ascii=False), "utf-8")

    def add(self, path: str, body: bytes | None, reply: Reply | None = None) -> None:
        """Serve `body` at `path` (which starts with a slash and has no query), answered as `reply` says."""
        if body is not None:
            self._archive.writestr(zipfile.ZipInfo(path.removeprefix("/"), (2026, 1, 1, 0, 0, 0)), body)
        if reply is not None:
            self._replies[path] = reply


def _brief(reply: Reply) -> dict[str, Any]:
    usual = asdict(Reply())
    return {name: value for name, value in asdict(reply).items() if value != usual[name]}


def read_replies(root: Path) -> dict[str, Reply]:
    """What `web.json` lists, by path."""
    listed = json.loads((root / "web.json").read_text("utf-8"))
    return {path: Reply(**reply) for path, reply in listed.items()}


def write_web(root: Path, files: Iterable[tuple[str, bytes | None, Reply | None]]) -> None:
    """Make any files servable by `SampleServer`: (path, body, reply) each, as `WebWriter.add` takes them."""
    with WebWriter(root) as writer:
        for path, body, reply in files:
            writer.add(path, body, reply)


def encode(picture: NDArray[np.uint8], extension: str, *, min_bytes: int = MIN_BYTES) -> bytes:
    """A picture as a JPEG, PNG or WebP file of at least `min_bytes`.

    Args:
        picture: uint8 [height, width, 3], RGB.
        extension: jpg, png or webp.
        min_bytes: Quality rises until the file is that large; 0 takes the first.

    Raises:
        ValueError: No quality gives that many bytes.
    """
    image = Image.fromarray(picture)
    settings: tuple[dict[str, Any], ...]
    if extension == "jpg":
        settings = tuple({"format": "JPEG", "quality": quality, "subsampling": 0} for quality in (95, 98, 100))
    elif extension == "webp":
        settings = ({"format": "WEBP", "quality": 98, "method": 0}, {"format": "WEBP", "lossless": True, "method": 0})
    else:
        settings = ({"format": "PNG", "compress_level": 1},)
    for setting in settings:
        out = BytesIO()
        image.save(out, **setting)
        if out.tell() >= min_bytes:
            return out.getvalue()
    raise ValueError(
        f"a picture of {picture.shape[0]} pixels gives a .{extension} of {out.tell()} bytes, not {min_bytes}"
    )


def small_jpeg(picture: NDArray[np.uint8], quality: int = 40) -> bytes:
    """A JPEG of few bytes."""
    out = BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=quality)
    return out.getvalue()


def plain_png(width: int, height: int, colour: tuple[int, int, int] = (200, 205, 210)) -> bytes:
    """A one-coloured PNG of any size: spacers, banners."""
    out = BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def bomb_png(side: int = 30_000) -> bytes:
    """A PNG of few bytes whose header claims `side` × `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
