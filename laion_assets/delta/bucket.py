"""A lake in a bucket that speaks S3's protocol: AWS, or whatever ``AWS_ENDPOINT_URL`` names.

How it is reached boto3 finds out (``laion_assets.common.s3``), and delta-rs, polars and DuckDB are told.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from laion_assets.common.digests import text_digest
from laion_assets.common.folders import user_cache
from laion_assets.common.passing import s3_refusal_can_pass
from laion_assets.common.s3 import (
    ANSWER_SECONDS,
    ATTEMPTS,
    BROKEN_BODY,
    CONNECT_SECONDS,
    MISSING,
    UNREACHED,
    refusal,
    s3_client,
    s3_credentials,
)
from laion_assets.delta.errors import LakeError, StorageUnavailable
from laion_assets.delta.partition import literal
from laion_assets.delta.storage import Storage, StoredFile, plain_name

_RETRY_SECONDS = 300
_FETCHED_AT_ONCE = 8
_DELETED_AT_ONCE = 1000  # the protocol's limit


class BucketStorage(Storage):
    """A lake below a prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        """Nothing is asked of the bucket yet.

        Args:
            uri: ``s3://bucket`` or ``s3://bucket/prefix``, without a slash at the end.
        """
        self.uri = uri
        self._bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise LakeError(f"a lake in a bucket is s3://bucket or s3://bucket/prefix, found {uri!r}")
        self._prefix = f"{prefix}/" if prefix else ""
        self.scratch = _scratch(uri)

    @property
    def is_local(self) -> bool:
        return False

    @property
    def delta_options(self) -> dict[str, str]:
        return {
            **self._reach_options(),
            "max_retries": str(ATTEMPTS),
            "retry_timeout": f"{_RETRY_SECONDS}s",
            # As delivered the first waits are so short that ten of them are over in two seconds.
            "backoff_config.init_backoff": "500ms",
            "backoff_config.max_backoff": "30s",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "timeout": f"{2 * ANSWER_SECONDS}s",  # of a whole answer, body included
        }

    @property
    def polars_options(self) -> dict[str, Any]:
        return {**self._reach_options(), "max_retries": ATTEMPTS, "retry_timeout_ms": _RETRY_SECONDS * 1000}

    def _reach_options(self) -> dict[str, str]:
        reach = reached()
        options = {
            "aws_access_key_id": reach.key,
            "aws_secret_access_key": reach.secret,
            "aws_session_token": reach.token,
            "aws_region": reach.region,
            "aws_endpoint_url": reach.endpoint,
            "aws_allow_http": "true" if reach.endpoint.startswith("http://") else "",
        }
        return {name: value for name, value in options.items() if value}

    def address(self, name: str) -> str:
        return f"{self.uri}/{plain_name(name)}" if name else self.uri

    def admit(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB read the lake's prefix, with this machine's credentials and nothing of them in its settings."""
        reach = reached()
        con.execute(f"LOAD {literal(str(_httpfs()))}")
        for name in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
            con.execute(f"SET {name} = ''")  # it takes them from the environment, and a query could read them there
        con.execute(f"SET http_retries = {ATTEMPTS - 1}")
        con.execute("SET http_retry_backoff = 2")
        con.execute(f"SET http_timeout = {ANSWER_SECONDS}")
        given = {
            "KEY_ID": reach.key,
            "SECRET": reach.secret,
            "SESSION_TOKEN": reach.token,
            "REGION": reach.region,
            "SCOPE": f"{self.uri}/",
        }
        if reach.endpoint:
            parts = urlsplit(reach.endpoint)
            given |= {"ENDPOINT": parts.netloc + parts.path.rstrip("/"), "URL_STYLE": "path"}
            given["USE_SSL"] = str(parts.scheme == "https").lower()
        options = ", ".join(f"{name} {literal(value)}" for name, value in given.items() if value)
        con.execute(f"CREATE OR REPLACE TEMPORARY SECRET lake (TYPE s3, {options})")

    def exists(self, name: str) -> bool:
        try:
            with self._asking(name):
                _client().head_object(**self._object(name))
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        for attempt in range(ATTEMPTS):
            with self._asking(name):
                body = _client().get_object(**self._object(name))["Body"]
                try:
                    return bytes(body.read())
                except BROKEN_BODY:  # boto3 retries all but the body
                    if attempt + 1 == ATTEMPTS:
                        raise
                    time.sleep(0.1 * 2**attempt)
        raise AssertionError

    def create(self, name: str, content: bytes) -> bool:
        try:
            with self._asking(name):
                _client().put_object(**self._object(name), Body=content, IfNoneMatch="*")
        except LakeError as error:
            cause = error.__cause__
            if not isinstance(cause, ClientError) or refusal(cause)[1] not in (409, 412):
                raise
            # It may have been us: of an attempt whose answer was lost nobody knows whether it was carried out.
            return bool(cause.response["ResponseMetadata"].get("RetryAttempts")) and self.read(name) == content
        return True

    def replace(self, name: str, content: bytes, *, durable: bool = False) -> None:  # noqa: ARG002 — here it always is
        with self._asking(name):
            _client().put_object(**self._object(name), Body=content)

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        for page in self._pages(folder):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # what some tools make to show an empty folder
                    name = found["Key"].removeprefix(self._prefix)
                    yield StoredFile(name, int(found["Size"]), found["LastModified"])

    def folders(self, folder: str = "") -> list[str]:
        pages = self._pages(folder, Delimiter="/")
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in found)

    def delete(self, names: Iterable[str]) -> None:
        rest = iter(names)
        while some := list(islice(rest, _DELETED_AT_ONCE)):
            keys = [{"Key": self._prefix + plain_name(name)} for name in some]
            with self._asking(some[0]):
                answer = _client().delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})
            for failed in answer.get("Errors", ()):
                raise StorageUnavailable(
                    f"s3://{self._bucket}/{failed['Key']} was not deleted ({failed['Code']}): do it again"
                )

    def publish(self, local: Path, name: str) -> None:
        with self._asking(name):
            _client().upload_file(str(local), self._bucket, self._prefix + plain_name(name), Config=_transfer())

    @contextmanager
    def mirror(self, names: Iterable[str]) -> Iterator[Path]:
        self._fetched.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._fetched) as folder:
            self._fetch({name: Path(folder) / plain_name(name) for name in names})
            yield Path(folder)

    def copy_of(self, folder: str) -> Path:
        copy = self.scratch / "copies" / plain_name(folder)
        there = {copy / file.name.removeprefix(f"{folder}/"): file for file in self.files(folder)}
        for path in copy.rglob("*"):
            if path.is_file() and path not in there:
                path.unlink()
        due = {path: file for path, file in there.items() if not _is_copy(path, file)}
        self._fetch({file.name: path for path, file in due.items()})
        for path, file in due.items():
            if path.is_file():
                os.utime(path, (file.modified_at.timestamp(),) * 2)
        return copy

    @property
    def _fetched(self) -> Path:
        return self.scratch / "fetched"

    def _fetch(self, targets: Mapping[str, Path]) -> None:
        """Fetch several files at once; each appears whole, and those that are not there are passed over."""

        def fetch(name: str) -> None:
            target = targets[name]
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError), self._asking(name):
                key = self._prefix + plain_name(name)
                _client().download_file(self._bucket, key, str(target), Config=_transfer())

        with ThreadPoolExecutor(_FETCHED_AT_ONCE, "fetch") as pool:
            for _ in pool.map(fetch, targets):
                pass

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + plain_name(name)}

    def _pages(self, folder: str, **options: str) -> Iterator[dict[str, Any]]:
        prefix = self._prefix + (f"{plain_name(folder).rstrip('/')}/" if folder else "")
        with self._asking(folder):
            pages = _client().get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self._bucket, Prefix=prefix, **options)

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Say in the lake's words what went wrong with one request."""
        address = self.address(name)
        try:
            yield
        except ClientError as error:
            code, status = refusal(error)
            if code in MISSING or (status == 404 and code != "NoSuchBucket"):
                raise FileNotFoundError(address) from error
            if code == "NoSuchBucket":
                raise LakeError(f"there is no bucket {self._bucket}: make it, or name another lake") from error
            if s3_refusal_can_pass(code, status):
                raise StorageUnavailable(
                    f"{address}: the bucket kept answering {code} ({status}); this can pass: try again later"
                ) from error
            raise LakeError(f"{address} is refused ({code}, {status}): check credentials and the bucket") from error
        except UNREACHED as error:
            raise StorageUnavailable(f"{address} cannot be reached: {error}; this can pass: try again later") from error
        except (BotoCoreError, Boto3Error) as error:
            raise LakeError(f"{address}: {error}; see the AWS settings (AWS_…)") from error


class Reach:
    """How a bucket is reached: what boto3 found out, for those who cannot ask it."""

    def __init__(self, client: Any, credentials: Any) -> None:
        known = credentials.get_frozen_credentials()
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        self.key, self.secret, self.token = str(known.access_key), str(known.secret_key), str(known.token or "")
        self.region = str(client.meta.region_name)
        self.endpoint = "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else client.meta.endpoint_url


def reached() -> Reach:
    """How buckets are reached now: with credentials that hold for some minutes at least.

    Raises:
        LakeError: there are no credentials.
    """
    client = _client()
    try:
        credentials = s3_credentials()
        if credentials is None:
            raise LakeError("there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role")
        return Reach(client, credentials)
    except BotoCoreError as error:
        raise StorageUnavailable(f"AWS credentials cannot be had: {error}") from error


def _client() -> Any:
    try:
        return s3_client()
    except (BotoCoreError, ValueError) as error:
        raise LakeError(f"no S3 client can be made: {error}; see the AWS settings (AWS_…)") from error


def _is_copy(path: Path, file: StoredFile) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return found.st_size == file.bytes and found.st_mtime == file.modified_at.timestamp()


def _transfer() -> TransferConfig:
    return TransferConfig(max_concurrency=4, num_download_attempts=ATTEMPTS)


def _scratch(uri: str) -> Path:
    """This machine's folder for work on the lake: below ``LAION_SCRATCH``, else the user's cache, else the temp."""
    digest = text_digest(uri, digits=16)
    given = os.environ.get("LAION_SCRATCH")
    if given:
        return Path(given).expanduser().resolve() / digest
    cache = user_cache()
    there = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    return (cache if os.access(there, os.W_OK) else Path(tempfile.gettempdir()) / cache.name) / digest


@lru_cache(maxsize=1)
def _httpfs() -> Path:
    # The wheel carries the extension, so nothing is fetched at run time.
    import duckdb_extension_httpfs

    return next(Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension"))
