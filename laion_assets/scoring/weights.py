"""A head's file: read from where it lies, or fetched once into the user's cache, and held against its digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from laion_assets.clip.options import EncoderOptions, content_sha256
from laion_assets.common.digests import file_sha256
from laion_assets.common.files import write_file
from laion_assets.common.folders import user_cache
from laion_assets.scoring.head import Head, feeding
from laion_assets.scoring.tensors import MOST_BYTES, HeadError, Tensor, read_tensors

_TIMEOUT_SECONDS: Final = 60


def checked(head: Head, encoders: Mapping[str, EncoderOptions]) -> Head:
    """The head itself, where a lake with these encoders can use it, as far as can be told without loading it.

    Raises:
        HeadError: it was made for no encoder of the lake, or its file is not there, or is not the one that was pinned.
        EncoderError: the weights file of an encoder is not there.
    """
    feeding(head, encoders)
    if not head.weights.startswith("https://"):
        file = Path(head.weights)
        if not file.is_file():
            raise HeadError(f"the head {head.name}: expected its file at {file}, found none")
        _hold(head, content_sha256(file))
    return head


def tensors_of(head: Head) -> dict[str, Tensor]:
    """The named tensors of a head.

    Raises:
        HeadError: its file is not there, is another than the one that was pinned, or is no file of tensors.
    """
    content = _content(head)
    _hold(head, hashlib.sha256(content).hexdigest())
    return read_tensors(content, head.weights)


def _hold(head: Head, found: str) -> None:
    if found != head.sha256:
        raise HeadError(
            f"the head {head.name}: {head.weights} has the SHA-256 {found}, and {head.sha256} is pinned: get the file "
            "that was meant, or pin the other one where you trust it"
        )


def _content(head: Head) -> bytes:
    if head.weights.startswith("https://"):
        kept = user_cache() / "heads" / head.sha256
        if not kept.is_file() or file_sha256(kept) != head.sha256:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_file(kept, _fetched(head))
        return kept.read_bytes()
    try:
        return Path(head.weights).read_bytes()
    except OSError as error:
        raise HeadError(
            f"the head {head.name}: expected its weights at {head.weights}, found none: {error.strerror}"
        ) from error


def _fetched(head: Head) -> bytes:
    import urllib3

    content = b""
    try:
        with (
            urllib3.PoolManager(timeout=urllib3.Timeout(_TIMEOUT_SECONDS)) as pool,
            pool.request("GET", head.weights, preload_content=False) as answer,
        ):
            if answer.status == 200:
                content = answer.read(MOST_BYTES + 1)
            said = f"status {answer.status}, {len(content):,} bytes"
    except urllib3.exceptions.HTTPError as error:
        said = str(error)
    if hashlib.sha256(content).hexdigest() == head.sha256:  # nothing else is kept
        return content
    raise HeadError(
        f"the head {head.name}: {head.weights} does not give the file with the SHA-256 {head.sha256} ({said}): put "
        "that file beside the description, and name it there"
    )
