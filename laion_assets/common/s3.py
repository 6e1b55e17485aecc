"""The client of a lake in a bucket, and what the errors of S3's clients are. Sources are read with dagster-aws' client.

How a bucket is reached is read from where every AWS tool reads it: ``AWS_…`` variables, a profile, the role of the
machine or pod. That is boto3's: of the clients at hand it alone finds all of them, tries again by the rules of AWS' own
tools, and says of a write how often it was sent, without which nobody knows whose a file is that is there already.
"""

import os
from functools import lru_cache
from typing import Any, Final

import boto3
from boto3.exceptions import RetriesExceededError
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, ResponseStreamingError
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.exceptions import HTTPError

ATTEMPTS: Final = 10
"""Of one request, unless a caller tries again by itself."""
CONNECT_SECONDS: Final = 10
ANSWER_SECONDS: Final = 60
"""Longest silence while an answer is waited for."""

MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
"""Codes of answers that say that there is no such object."""
BROKEN_BODY: Final = (ResponseStreamingError, IncompleteReadError, HTTPClientError, HTTPError)
"""What reading an object's bytes raises where the connection breaks: boto3 tries everything else again."""
UNREACHED: Final = (HTTPClientError, BotoConnectionError, HTTPError, RetriesExceededError)
"""What is raised where no answer came."""


def s3_client() -> Any:
    """The boto3 client for this process' environment; safe to share between threads.

    Raises:
        botocore.exceptions.BotoCoreError, ValueError: the environment makes no sense.
    """
    return _session_and_client(_environment())[1]


def s3_credentials() -> Any:
    """Botocore's credentials of that client, which renew themselves; None where there are none.

    Raises:
        botocore.exceptions.BotoCoreError: they cannot be had now, or the environment makes no sense.
    """
    return _session_and_client(_environment())[0].get_credentials()


def refusal(error: ClientError) -> tuple[str, int]:
    """What a server answered instead: S3's code and the HTTP status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code, int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=4)
def _session_and_client(environment: tuple[tuple[str, str], ...]) -> tuple[Any, Any]:
    session = boto3.Session()
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        max_pool_connections=32,
    )
    # AWS_REGION is what everybody but boto3 reads.
    region = dict(environment).get("AWS_REGION") or session.region_name or "us-east-1"
    return session, session.client("s3", region_name=region, config=config)
