"""Why a url gave no picture: the taxonomy, and which failures are worth another try.

img2dataset reports failures as free text; ``failure_of_message`` maps that text here.
"""

from dataclasses import dataclass
from enum import StrEnum

from laion_assets.common.passing import PASSING_REFUSALS


class Failure(StrEnum):
    """The reasons for which a url gives no picture. The values are those of the ``failure`` column."""

    DNS = "dns"
    """The host name has no address, or the resolver did not answer in time."""
    CONNECT = "connect"
    """No connection, no trusted certificate, or a connection that broke off before the whole answer."""
    TIMEOUT = "timeout"
    """The server was too slow to connect, to go on answering, or to finish within the deadline."""
    PROTOCOL = "protocol"
    """An answer that breaks HTTP's rules or is not the whole: a malformed head, part of a picture, an odd encoding."""
    HTTP_4XX = "http_4xx"
    """An answer with a status of 400 to 499."""
    HTTP_5XX = "http_5xx"
    """An answer with a status of 500 to 599."""
    NOT_AN_IMAGE = "not_an_image"
    """A body that is no picture, whatever its content type says."""
    DECODE = "decode"
    """A picture that is broken, or in a format that is not supported."""
    TOO_SMALL = "too_small"
    """A side is shorter than ``min_image_size``."""
    TOO_LARGE = "too_large"
    """More than ``max_bytes`` bytes, or more than ``max_image_area`` pixels."""
    TOO_COSTLY = "too_costly"
    """Decoding it would take more memory or time than one picture may, whatever its size."""
    ASPECT = "aspect"
    """The sides' ratio is over ``max_aspect_ratio``."""
    OPTED_OUT = "opted_out"
    """The server said so in X-Robots-Tag."""
    BLOCKED_ADDRESS = "blocked_address"
    """A scheme other than http and https, a port of another protocol, or an address outside the public internet."""
    HASH_LISTED = "hash_listed"
    """The url's or the body's hash is on a list of hashes to remove."""
    HASH_MISMATCH = "hash_mismatch"
    """The picture is not the one that a list or a tar promised: its bytes have another digest, and for good."""
    DENY_LISTED = "deny_listed"
    """The url or its domain is on a deny list or in a takedown."""
    OTHER = "other"
    """Anything else, such as a malformed url, too many redirects, or a sample img2dataset lost."""


TRANSIENT_FAILURES = (Failure.DNS, Failure.CONNECT, Failure.TIMEOUT, Failure.PROTOCOL, Failure.HTTP_5XX)
"""Failures that another attempt may turn into a picture, whatever the HTTP status."""


@dataclass(eq=False)
class FetchFailed(Exception):
    """A try of a url has failed."""

    failure: Failure
    detail: str
    """What happened, for people."""
    again: bool = False
    """Whether it is worth another try at once."""
    wait_seconds: float | None = None
    """How long the server asks to wait before that; None where it does not say."""


def failed_by(error: Exception) -> FetchFailed:
    """What an exception means for a try: a failure is one, anything else is a failure that nobody foresaw."""
    return error if isinstance(error, FetchFailed) else FetchFailed(Failure.OTHER, f"{type(error).__name__}: {error}")


def is_transient(failure: Failure | str | None, http_status: int | None = None) -> bool:
    """Whether ``--retry-failed`` attempts a url again: whether another day may bring the picture.

    http_4xx is permanent as a type, but 408 (Request Timeout), 425 (Too Early) and 429 (Too Many Requests) are not.

    Args:
        failure: the failure, or None for a success, which is never attempted again.
        http_status: the HTTP status of the last answer, None where there was none.

    Raises:
        ValueError: ``failure`` is none of the taxonomy.
    """
    if failure is None:
        return False
    failure = Failure(failure)
    return failure in TRANSIENT_FAILURES or (failure is Failure.HTTP_4XX and http_status in PASSING_REFUSALS)


def failure_of_status(status: int) -> Failure:
    """The failure that an HTTP status other than 200 stands for."""
    if 400 <= status <= 499:
        return Failure.HTTP_4XX
    if status >= 500:  # RFC 9110, section 15: what is beyond 599 is treated like a 5xx
        return Failure.HTTP_5XX
    return Failure.OTHER


_VALUES = frozenset(failure.value for failure in Failure)

_MESSAGES: tuple[tuple[str, Failure], ...] = (
    ("too costly", Failure.TOO_COSTLY),
    ("image too small", Failure.TOO_SMALL),
    ("image area too large", Failure.TOO_LARGE),
    ("aspect ratio too large", Failure.ASPECT),
    ("image decoding error", Failure.DECODE),
)


def failure_of_message(message: str, *, resizing: bool = False) -> Failure:
    """The failure behind one of img2dataset's messages, or behind a value of ``Failure`` passed through it.

    Args:
        message: the text of img2dataset's ``error_message``.
        resizing: whether the picture was fetched and failed afterwards, in which case text that nothing else explains
            (an exception of OpenCV) means that it could not be decoded.
    """
    lowered = message.strip().lower()
    if lowered in _VALUES:
        return Failure(lowered)
    for part, failure in _MESSAGES:
        if part in lowered:
            return failure
    return Failure.DECODE if resizing else Failure.OTHER
