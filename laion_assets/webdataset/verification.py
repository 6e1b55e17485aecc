"""Whether a tar of pictures holds what rows say of it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from laion_assets.webdataset.reader import TarError, TarReader
from laion_assets.webdataset.samples import PICTURE_EXTENSIONS
from laion_assets.webdataset.writer import BLOCK, member_size

PictureCheck = Callable[[bytes], str | None]
"""What keeps a picture from being decoded; None where nothing does."""


def tar_fault(tar: Path, wanted: Mapping[str, str], picture: PictureCheck | None) -> str | None:
    """What is wrong with a tar of pictures; None where nothing is.

    Args:
        tar: the file.
        wanted: by sample key, the SHA-256 of the picture as downloaded.
        picture: looks whether a picture decodes; None: the tar's bytes are known to be right, and members are only
            counted.
    """
    missing, end = dict(wanted), 0
    try:
        with TarReader(tar) as reader:
            for member in reader.members():
                name, end = PurePosixPath(member.name), member.offset - BLOCK + member_size(member.size)
                if name.stem not in wanted:
                    continue
                if picture is not None:
                    content = reader.read(member.offset, member.size)
                    what = _member_fault(name, content, wanted[name.stem], picture)
                    if what is not None:
                        return what
                if name.suffix[1:] in PICTURE_EXTENSIONS:
                    missing.pop(name.stem, None)
    except TarError as error:
        return f"the tar cannot be read to its end: {error}"
    if missing:
        return f"the tar lacks the pictures of {len(missing)} of {len(wanted)} sample keys, {min(missing)} among them"
    return _end_fault(tar, end) if picture is not None else None


def _member_fault(name: PurePosixPath, content: bytes, sha256: str, picture: PictureCheck) -> str | None:
    if name.suffix == ".json":
        try:
            told = json.loads(content).get("sha256")
        except (ValueError, AttributeError):
            return f"{name} in it cannot be read"
        return None if told in (None, sha256) else f"{name} in it speaks of another picture than its row"
    if name.suffix[1:] in PICTURE_EXTENSIONS and hashlib.sha256(content).hexdigest() != sha256:
        what = picture(content)  # it was encoded anew when it was stored
        return None if what is None else f"{name} in it: {what}"
    return None


def _end_fault(tar: Path, end: int) -> str | None:
    """Whether the archive ends as tars do: with two blocks of zeros at least, and nothing after (POSIX pax, ustar)."""
    with tar.open("rb") as file:
        file.seek(end)
        rest = file.read()
    if rest.strip(b"\0"):
        return f"the tar is damaged from byte {end:,} on"
    return None if len(rest) >= 2 * BLOCK else "the tar is cut off"
