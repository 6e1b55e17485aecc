"""The receipt of a cleaned copy: by which feed, what each file lost, and what could not be cleaned.

It holds no time, and nothing of what was removed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from laion_assets.common.files import write_file
from laion_assets.release.cleaning.faults import CopyError
from laion_assets.release.cleaning.staging import RECEIPT, Record
from laion_assets.release.feed import Feed

_FORMAT: Final = 1


class Fault(msgspec.Struct, frozen=True, order=True):
    """A file of a copy that was not cleaned, or not of everything."""

    path: str
    reason: str


class CleanedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was changed."""

    path: str
    rows_removed: int
    sha256_before: str
    sha256_after: str


class Cleaning(msgspec.Struct, frozen=True, kw_only=True):
    """What one feed took out."""

    feed_sha256: str
    feed_rows: int
    files: tuple[CleanedFile, ...]
    not_cleaned: tuple[Fault, ...]


class _Receipt(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    cleanings: tuple[Cleaning, ...]


def cleaning_of(feed: Feed, records: Sequence[Record], faults: Sequence[Fault]) -> Cleaning:
    """What stands in a receipt of a cleaning."""
    files = tuple(
        CleanedFile(path=one.path, rows_removed=one.removed, sha256_before=one.before, sha256_after=one.after)
        for one in sorted(records, key=lambda one: one.path)
        if one.before != one.after
    )
    return Cleaning(
        feed_sha256=feed.digest, feed_rows=len(feed.rows), files=files, not_cleaned=tuple(sorted(set(faults)))
    )


def write_receipt(copy: Path, cleaning: Cleaning) -> None:
    """Add a cleaning to the receipt of a copy; what the receipt says already is not said again.

    Raises:
        CopyError: what is there is no receipt.
    """
    path = copy / RECEIPT
    cleanings = [*read_receipt(copy)]
    last = cleanings[-1] if cleanings else None
    if last is not None and last.feed_sha256 == cleaning.feed_sha256 and cleaning.files in ((), last.files):
        cleanings[-1] = msgspec.structs.replace(last, not_cleaned=cleaning.not_cleaned)
    else:
        cleanings.append(cleaning)
    encoded = msgspec.json.encode(_Receipt(format=_FORMAT, cleanings=tuple(cleanings)))
    content = msgspec.json.format(encoded, indent=2) + b"\n"
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content, durable=True)


def read_receipt(copy: Path) -> tuple[Cleaning, ...]:
    """The cleanings of a copy, the first one first.

    Raises:
        CopyError: what is there is no receipt.
    """
    path = copy / RECEIPT
    if not path.exists():
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Receipt).cleanings
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise CopyError(f"{path} is no receipt of a cleaning: {error}; move it away") from error
