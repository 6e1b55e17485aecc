"""Whether an error means that a disk is full, or may only be read, whoever says it."""

import errno
import re
from collections.abc import Collection, Iterator

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
# Delta, polars and DuckDB pass on what the system said; DuckDB itself counts what it may spill.
_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|max_temp_directory_size|not enough disk space",
    re.IGNORECASE,
)
_FULL, _KEPT_OUT = "the disk is full", "the system refuses it"
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_REFUSED_WORDS = re.compile(r"Read-only file system|os error (?:30|13)\b|file .*: Permission denied", re.IGNORECASE)


def disk_trouble(error: BaseException) -> str | None:
    """What to tell where a disk is full or may only be read, in one line; None: it is of another kind."""
    full, refused = no_space_left(error), _said(error, _REFUSED, _REFUSED_WORDS)
    if full is not None:
        return f"{_FULL} ({full}): what was finished is kept; make room, and the same command goes on from there"
    if refused is not None:
        return f"{_KEPT_OUT} ({refused}): let this user read and write there, and the same command goes on"
    return None


def tells_disk_trouble(told: str) -> bool:
    """Whether that is what :func:`disk_trouble` gave of some error."""
    return told.startswith((_FULL, _KEPT_OUT))


def no_space_left(error: BaseException) -> str | None:
    """What says of the error, or one that it came from, that a disk is full, in one line; None: nothing does."""
    return _said(error, _NUMBERS, _WORDS)


def _said(error: BaseException, numbers: Collection[int], words: re.Pattern[str]) -> str | None:
    for link in causes(error):
        if isinstance(link, OSError) and link.errno in numbers:
            return f"{link.strerror}: {link.filename}" if link.filename else str(link.strerror)
        found = next((line for line in str(link).splitlines() if words.search(line)), None)
        if found is not None:
            return found.strip()
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, step by step."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
