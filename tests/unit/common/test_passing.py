"""What can pass is the same for a lake in a bucket, for a source of crawls, for a lookup and for a step."""

import errno
import socket
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from laion_assets.common.passing import error_can_pass, s3_refusal_can_pass, status_can_pass


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 522, 599])
def test_a_status_that_can_pass(status: int) -> None:
    assert status_can_pass(status)
    assert s3_refusal_can_pass("AnyCode", status)


@pytest.mark.parametrize("status", [0, 200, 206, 301, 400, 401, 403, 404, 409, 410, 412, 416, 451, 501, 505])
def test_a_status_that_would_come_again(status: int) -> None:
    assert not status_can_pass(status)
    assert not s3_refusal_can_pass("AccessDenied", status)
    assert s3_refusal_can_pass("SlowDown", status)


@pytest.mark.parametrize("said", [503, 429, 404, "503", None])
def test_the_status_that_an_error_carries_is_heard_if_it_is_one(said: Any) -> None:
    error = duckdb.HTTPException("HTTP Error: the server answered")
    error.status_code = said
    assert error_can_pass(error) is (said in (503, 429))


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (OSError(errno.EHOSTUNREACH, "No route to host"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ConnectionResetError("reset"), True),
        (EndpointConnectionError(endpoint_url="http://x"), True),
        (ClientError({"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "Get"), True),
        (ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "Get"), False),
        (OSError("Generic S3 error: Server returned non-2xx status code: 503 Service Unavailable"), True),
        (OSError("schema mismatch at line 503"), False),
        (ValueError("HTTP 503"), False),
    ],
    ids=lambda value: f"{type(value).__name__}: {value}"[:50],
)
def test_what_an_error_says_of_itself(error: Exception, passing: bool) -> None:
    assert error_can_pass(error) is passing
