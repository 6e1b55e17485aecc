"""Whether an error means that a disk is full, whoever says it."""

import errno
import re
from collections.abc import Iterator

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
# Delta, polars and DuckDB pass on what the system said; DuckDB itself counts what it may spill.
_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|max_temp_directory_size|not enough disk space",
    re.IGNORECASE,
)


def no_space_left(error: BaseException) -> str | None:
    """What says of the error, or one that it came from, that a disk is full, in one line; None: nothing does."""
    for link in causes(error):
        if isinstance(link, OSError) and link.errno in _NUMBERS:
            return f"{link.strerror}: {link.filename}" if link.filename else str(link.strerror)
        found = next((line for line in str(link).splitlines() if _WORDS.search(line)), None)
        if found is not None:
            return found.strip()
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, step by step."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
