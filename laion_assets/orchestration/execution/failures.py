"""Which failures of a step can pass, and how long to wait before it is tried again.

A step that could not reach something is tried again a few times. One whose rows broke a check, whose settings are
wrong, that hit a limit or found the disk full would fail again, and runs once. Kinds of errors of other libraries are
known by name: importing boto3 or DuckDB's extensions to ask would cost more than the question.
"""

import errno
import re
import socket

import dagster as dg

from laion_assets.delta.errors import PartitionBusy, StorageUnavailable, ValidationFailed
from laion_assets.delta.space import causes, disk_trouble, no_space_left
from laion_assets.orchestration.execution.watch import LimitExceeded
from laion_assets.sources.transfer import TransferError, TransientFailure
from laion_assets.tables.needs import RetryOptions

_PASSING_NAMES = frozenset(
    {
        # botocore, s3transfer
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ConnectionClosedError",
        "HTTPClientError",
        "IncompleteReadError",
        "ResponseStreamingError",
        # urllib3, http.client
        "MaxRetryError",
        "NewConnectionError",
        "ProtocolError",
        "IncompleteRead",
        "RemoteDisconnected",
        # deltalake: somebody else committed first
        "CommitFailedError",
        # a worker process died, of memory or by hand: finished tars are kept
        "DownloadError",
    }
)
_PASSING_ERRNOS = frozenset(
    {errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ECONNREFUSED, errno.ESTALE}
)
_PASSING_CODES = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError"})
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# What Delta's and DuckDB's object stores say has no type of its own.
_TALKS_TO_A_STORE = frozenset(
    {"OSError", "DeltaError", "HTTPException", "IOException", "ComputeError", "TableNotFoundError"}
)
_PASSING_WORDS = re.compile(
    r"\b(?:HTTP|status|code|error)\W{0,3}(?:408|425|429|50[0234])\b|SlowDown|Slow Down|Too Many Requests"
    r"|Service Unavailable|Internal Server Error|error sending request|timed out|connection (?:reset|refused|closed)",
    re.IGNORECASE,
)


def policy(options: RetryOptions) -> dg.RetryPolicy:
    """The same patience for Dagster, which applies it to steps whose process or machine was lost."""
    return dg.RetryPolicy(
        max_retries=options.times,
        delay=options.seconds,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )


def can_pass(error: BaseException) -> bool:
    """Whether the same step may well go through if it is tried again: the error, or one that it came from, says so."""
    if isinstance(error, ValidationFailed | LimitExceeded) or no_space_left(error) is not None:
        return False
    return any(_passes(link) for link in causes(error))


def _passes(error: BaseException) -> bool:
    if isinstance(
        error, PartitionBusy | StorageUnavailable | TransientFailure | TransferError | ConnectionError | TimeoutError
    ):
        return True
    name = type(error).__name__
    if name in _PASSING_NAMES:
        return True
    if isinstance(error, socket.gaierror):  # whose numbers are not those of other errors
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, OSError) and error.errno in _PASSING_ERRNOS:
        return True
    if getattr(error, "status_code", None) in _PASSING_STATUSES:  # DuckDB's HTTPException
        return True
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's ClientError
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return response.get("Error", {}).get("Code") in _PASSING_CODES or status in _PASSING_STATUSES
    return name in _TALKS_TO_A_STORE and _PASSING_WORDS.search(str(error)) is not None


def told(error: Exception, options: RetryOptions, tries_before: int) -> Exception:
    """The exception that tells Dagster what became of a step, with the error as its last cause.

    Args:
        error: what the step failed of.
        options: how often to try again.
        tries_before: how often it was tried again already.
    """
    failure = dg.Failure(description=_words(error), allow_retries=False)
    failure.__cause__ = error
    if not can_pass(error) or options.times == 0:
        return failure
    again = dg.RetryRequested(
        max_retries=options.times, seconds_to_wait=policy(options).calculate_delay(tries_before + 1)
    )
    again.__cause__ = failure
    return again


def _words(error: Exception) -> str:
    """What the error says. One of ours explains itself; of others the kind is part of what they say."""
    kind = type(error)
    if kind.__module__.partition(".")[0] == "laion_assets" and no_space_left(error) is None:
        return str(error)
    return disk_trouble(error) or f"{kind.__name__}: {error}"
