"""A removals feed from where it is published: a file, an address of the web, an object in a bucket."""

from pathlib import Path
from typing import Final

from laion_assets.release.feed import Feed, FeedError, read_feed

_SECONDS: Final = 60
_LARGEST: Final = 4 * 2**30  # bytes


def fetch_feed(address: str) -> Feed:
    """The feed at a path, ``https://…``, ``http://…`` or ``s3://bucket/name``.

    Raises:
        FeedError: it cannot be had, or is no feed.
    """
    scheme, _, rest = address.partition("://")
    if not rest:
        try:
            return read_feed(Path(address))
        except OSError as error:
            raise FeedError(f"{address}: the feed cannot be read: {error.strerror}") from error
    if scheme in ("http", "https"):
        return read_feed(_web(address))
    if scheme == "s3":
        return read_feed(_bucket(address, rest))
    raise FeedError(f"--feed: expected a file, https://… or s3://bucket/name, found {address}")


def _web(address: str) -> bytes:
    import urllib3

    try:
        answer = urllib3.request("GET", address, timeout=_SECONDS, retries=3, preload_content=False)
        content = answer.read(_LARGEST + 1)
    except urllib3.exceptions.HTTPError as error:
        raise FeedError(f"{address}: the feed cannot be fetched: {error}") from error
    if answer.status != 200:
        raise FeedError(f"{address}: the feed cannot be fetched: the server answered {answer.status}")
    if len(content) > _LARGEST:
        raise FeedError(f"{address}: no feed is as long as this: more than {_LARGEST:,} bytes")
    return content


def _bucket(address: str, rest: str) -> bytes:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    from laion_assets.common.s3 import s3_client

    bucket, _, name = rest.partition("/")
    try:
        return bytes(s3_client().get_object(Bucket=bucket, Key=name)["Body"].read())
    except (BotoCoreError, Boto3Error, ClientError, ValueError) as error:
        raise FeedError(f"{address}: the feed cannot be fetched: {error}") from error
