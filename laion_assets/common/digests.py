"""Digests of values and files: SHA-256 in hexadecimal digits, all 64 of them or the first few.

Many are written down (in commits, seals and rows), name folders in which work is gone on with, or are the keys of what
is kept between processes: other digits for the same value would make whole lakes stale. What a caller gives besides the
value (whether keys are sorted, how many digits) is therefore fixed for good, and stands at the call.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def json_digest(
    value: object, *, sort_keys: bool, digits: int = 64, default: Callable[[Any], Any] | None = None
) -> str:
    """The digest of a value as JSON, in ASCII, with a blank after each comma and colon.

    Args:
        value: what JSON can hold; tuples count as lists.
        sort_keys: whether the order in which a mapping was made does not count.
        digits: how many are given.
        default: makes something else of what JSON cannot hold.
    """
    return text_digest(json.dumps(value, sort_keys=sort_keys, default=default), digits=digits)


def text_digest(text: str, *, digits: int = 64) -> str:
    """The digest of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
