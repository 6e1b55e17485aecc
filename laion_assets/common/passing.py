"""What can pass: answers of servers and errors of libraries that may well not come again a little later.

Errors of other libraries are known by name: importing boto3 or DuckDB's extensions to ask would cost more than the
question. What our own errors mean, and how often and how patiently something is tried again, is said where they are
raised and caught.
"""

import errno
import re
import socket
from typing import Final

PASSING_REFUSALS: Final = (408, 425, 429)
"""The HTTP statuses of 400 to 499 that can pass: Request Timeout, Too Early, Too Many Requests."""

_LASTING_FAILURES: Final = (501, 505)
"""Those from 500 on that cannot: Not Implemented, HTTP Version Not Supported (RFC 9110, section 15.6)."""

_S3_CODES: Final = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
    }
)
_NAMES: Final = frozenset(
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
    }
)
_ERRNOS: Final = frozenset(
    {errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ECONNREFUSED, errno.ESTALE}
)
_LOOKUPS: Final = frozenset({socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY})
# What Delta's and DuckDB's object stores say has no type of its own.
_TALKS_TO_A_STORE: Final = frozenset(
    {"OSError", "DeltaError", "HTTPException", "IOException", "ComputeError", "TableNotFoundError"}
)
_WORDS: Final = re.compile(
    r"\b(?:HTTP|status|code|error)\W{0,3}(?:408|425|429|50[0234])\b|SlowDown|Slow Down|Too Many Requests"
    r"|Service Unavailable|Internal Server Error|error sending request|timed out|connection (?:reset|refused|closed)",
    re.IGNORECASE,
)


def status_can_pass(status: int) -> bool:
    """Whether a server that answered with this HTTP status may answer otherwise later."""
    return status in PASSING_REFUSALS or (status >= 500 and status not in _LASTING_FAILURES)


def s3_refusal_can_pass(code: str, status: int) -> bool:
    """The same of an answer in S3's protocol, which gives a code beside the status."""
    return code in _S3_CODES or status_can_pass(status)


def error_can_pass(error: BaseException) -> bool:
    """Whether an error of the system or of a library can pass; what it came from is not looked at."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    name = type(error).__name__
    if name in _NAMES:
        return True
    if isinstance(error, socket.gaierror):  # whose numbers are not those of other errors
        return error.errno in _LOOKUPS
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    status = getattr(error, "status_code", None)  # of DuckDB's HTTPException
    if isinstance(status, int) and status_can_pass(status):
        return True
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's ClientError
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return s3_refusal_can_pass(str(response.get("Error", {}).get("Code", "")), status)
    return name in _TALKS_TO_A_STORE and _WORDS.search(str(error)) is not None
