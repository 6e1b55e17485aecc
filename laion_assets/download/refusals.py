"""What is refused of a url or a picture, wherever its bytes come from: lists of removals, and bounds of size."""

import hashlib
from typing import Protocol

from laion_assets.download.failures import Failure, FetchFailed
from laion_assets.download.options import DownloadOptions
from laion_assets.images.header import PictureHeader


class Removal(Protocol):
    """What must not be had: ``laion_assets.consent.removals.RemovalMatcher`` is one."""

    def match_url(self, url: str) -> str | None:
        """``url`` or ``domain`` where a deny list or takedown names the url, ``hash`` where a hash list does."""

    def match_body(self, body: bytes) -> bool:
        """Whether a list of hashes names these bytes."""


def refuse_listed(removals: Removal | None, url: str, how: str = "") -> None:
    """Refuse a url that a list names.

    Args:
        removals: the lists.
        url: the address.
        how: what led there, as in ``redirect to ``.

    Raises:
        FetchFailed: it is on a list.
    """
    kind = None if removals is None else removals.match_url(url)
    if kind is not None:
        failure = Failure.HASH_LISTED if kind == "hash" else Failure.DENY_LISTED
        raise FetchFailed(failure, f"{how}{'a' if how else 'the'} url on a list of {kind} entries")


def refuse_listed_body(removals: Removal | None, body: bytes) -> None:
    """Refuse bytes that a list of hashes names.

    Raises:
        FetchFailed: they are on a list.
    """
    if removals is not None and removals.match_body(body):
        raise FetchFailed(Failure.HASH_LISTED, "the body is on a list of hash entries")


def refuse_unexpected(body: bytes, expected: str | None) -> None:
    """Refuse bytes that are not those that were promised.

    Args:
        body: the bytes.
        expected: hex digests (MD5, SHA-256) with spaces between them, of which they must have one; None: any will do.

    Raises:
        FetchFailed: they have another digest.
    """
    if expected is None:
        return
    sha256 = hashlib.sha256(body).hexdigest()
    if {sha256, hashlib.md5(body, usedforsecurity=False).hexdigest()}.isdisjoint(expected.split()):
        told = f"SHA-256 {sha256}, and {expected.replace(' ', ' or ')} was expected"
        raise FetchFailed(Failure.HASH_MISMATCH, told)


def refuse_out_of_bounds(header: PictureHeader, options: DownloadOptions) -> None:
    """Refuse a picture of a format or a size that is not taken, as its own header states them.

    Raises:
        FetchFailed: it is refused.
    """
    if not header.supported:
        raise FetchFailed(Failure.DECODE, f"{header.format} pictures are not supported")
    short, long = sorted((header.width, header.height))
    size = f"{header.width} x {header.height} pixels"
    if short == 0:
        raise FetchFailed(Failure.DECODE, f"a {header.format} picture without a size")
    if short * long > options.max_image_area:
        raise FetchFailed(Failure.TOO_LARGE, f"{size}, over {options.max_image_area} in all")
    if short < options.min_image_size:
        raise FetchFailed(Failure.TOO_SMALL, f"{size}, under {options.min_image_size} on a side")
    if long / short > options.max_aspect_ratio:
        raise FetchFailed(Failure.ASPECT, f"{size}, over {options.max_aspect_ratio:g} to 1")
