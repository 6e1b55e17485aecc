"""A crawl in an S3 bucket, read with the client that is handed in."""

import time
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from laion_assets.common.passing import s3_refusal_can_pass
from laion_assets.common.s3 import BROKEN_BODY, MISSING, UNREACHED, refusal
from laion_assets.sources.address import parse_address
from laion_assets.sources.transfer import (
    ABSENT_OR_REFUSED,
    Body,
    ResumingStream,
    RetryPolicy,
    SourceNotFound,
    SourceRefused,
    SourceUnreachable,
    TransferError,
    TransientFailure,
)


class S3Source:
    """Files below ``s3://bucket[/prefix]``."""

    def __init__(
        self, uri: str, *, client: Any, retry: RetryPolicy, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Keep the client; nothing is fetched yet.

        Args:
            uri: ``s3://bucket`` or ``s3://bucket/prefix``.
            client: A boto3 S3 client.
            retry: How failures are met, on top of what the client itself does.
            sleep: Waits between attempts.

        Raises:
            ValueError: The address names no bucket, or has a query.
        """
        address = parse_address(uri)
        self._uri = address.uri
        self._bucket, _, self._prefix = self._uri.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise ValueError(f"an S3 source is s3://bucket or s3://bucket/prefix, found {self._uri!r}")
        if address.query:
            raise ValueError(f"an S3 source has no query, found one after {self._uri}: keys belong into AWS_…")
        self._client = client
        self._retry = retry
        self._sleep = sleep

    @property
    def uri(self) -> str:
        """The address, without credentials and trailing slash."""
        return self._uri

    def open(self, path: str, *, offset: int = 0) -> BinaryIO:
        """Open one file; see ``Source.open``."""
        key = f"{self._prefix}/{path.lstrip('/')}" if self._prefix else path.lstrip("/")
        connect = _Connector(self._client, self._bucket, key).connect
        name = f"s3://{self._bucket}/{key}"
        return cast("BinaryIO", ResumingStream(name, connect, self._retry, offset=offset, sleep=self._sleep))

    def read(self, path: str) -> bytes:
        """The whole of one file; see ``Source.read``."""
        with self.open(path) as stream:
            return stream.read()


class _Connector:
    """Opens one object's connections."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client = client
        self._request = {"Bucket": bucket, "Key": key}
        self._name = f"s3://{bucket}/{key}"

    def connect(self, offset: int, version: str | None) -> Body:
        """The object from an offset on, in bytes; of the version (ETag) that was begun with, where there is one."""
        request = dict(self._request)
        if offset:
            request["Range"] = f"bytes={offset}-"
        if version is not None:
            request["IfMatch"] = version
        try:
            answer = self._client.get_object(**request)
        except ClientError as error:
            return self._refused(error, offset)
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise SourceUnreachable(
                f"{self._name}: {error}; configure AWS credentials, or use the HTTPS mirror"
            ) from error
        except UNREACHED as error:
            raise TransientFailure(f"{type(error).__name__}: {error}") from error
        except BotoCoreError as error:
            raise SourceUnreachable(f"{self._name} cannot be asked for: {error}") from error
        return _S3Body(answer["Body"], offset + int(answer["ContentLength"]), answer.get("ETag"))

    def _refused(self, error: ClientError, offset: int) -> Body:
        code, status = refusal(error)
        if s3_refusal_can_pass(code, status):
            raise TransientFailure(f"{code} (HTTP {status})") from error
        if code in MISSING or status == 404:
            raise SourceNotFound(f"{self._name} does not exist ({code})") from error
        if code == "PreconditionFailed" or status == 412:
            raise TransferError(f"{self._name} changed while it was read; read it again from the start") from error
        if code == "InvalidRange" or status == 416:
            return _S3Body(None, offset, None)
        refused = f"{self._name} is refused ({code}, HTTP {status})"
        if code == "AccessDenied":
            raise SourceRefused(f"{refused}: {ABSENT_OR_REFUSED}; check path, credentials and bucket") from error
        raise SourceUnreachable(f"{refused}; check credentials and bucket") from error


class _S3Body:
    def __init__(self, stream: Any, total_bytes: int, version: str | None) -> None:
        self._stream = stream
        self.total_bytes: int | None = total_bytes
        self.version = version

    def read(self, size: int) -> bytes:
        if self._stream is None:
            return b""
        try:
            return cast("bytes", self._stream.read(size))
        except (*BROKEN_BODY, OSError) as error:
            raise TransientFailure(f"{type(error).__name__}: {error}") from error
        except BotoCoreError as error:
            raise TransferError(f"the object arrived damaged: {error}; run this again") from error

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
