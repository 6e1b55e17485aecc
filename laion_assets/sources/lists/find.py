"""Which files somebody means: a file, a folder, a pattern, on this machine or in a bucket."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from laion_assets.sources.address import parse_address, shown
from laion_assets.sources.lists.batches import EXPECTED
from laion_assets.sources.lists.errors import ListError
from laion_assets.sources.lists.formats import format_of
from laion_assets.sources.sources import SourceNotFound, SourceUnreachable

_WILD = "*?["


def find_files(
    given: Sequence[str], *, s3_client: Callable[[], Any], wanted: Callable[[str], bool] | None = None
) -> list[str]:
    """The files that are meant, each once: in the order in which they were given, those of a folder by name.

    Args:
        given: paths, patterns and folders of this machine; ``s3://`` addresses of a file, with a pattern, or of a
            folder (ending in a slash); ``https://`` addresses of files.
        s3_client: gives a boto3 S3 client, where one is needed.
        wanted: which files of folders are meant, by their names; None: those that are called like lists.

    Raises:
        SourceError: there is no such file, or none in a folder.
        ListError: an address has credentials, which cannot be kept for the steps that will read it.
    """
    wanted = wanted or (lambda name: format_of(name)[0] is not None)
    found = [uri for one in given for uri in _found(one, s3_client, wanted)]
    return list(dict.fromkeys(found))


def _found(given: str, s3_client: Callable[[], Any], wanted: Callable[[str], bool]) -> list[str]:
    address = parse_address(given)
    if address.user or address.password or address.query:
        raise ListError(
            f"{address.uri} was given with credentials or a query, which no table may keep: for S3 set AWS_…, or "
            "download it and import the file"
        )
    if address.scheme == "s3":
        return _in_bucket(address.uri, given.rstrip().endswith("/"), s3_client(), wanted)
    if address.scheme in ("http", "https"):
        return [address.uri]
    if address.scheme not in ("", "file"):
        raise ListError(f"a list is a file, a folder, s3://… or https://…, found {shown(given)}")
    return list(_on_this_machine(Path(given.removeprefix("file://")).expanduser(), wanted))


def _on_this_machine(path: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    if path.is_file():
        yield str(path.absolute())
        return
    if path.is_dir():
        found = [file for file in path.absolute().rglob("*") if file.is_file()]
        found = [
            file for file in found if not any(p.startswith((".", "_")) for p in file.relative_to(path.absolute()).parts)
        ]
    elif any(mark in str(path) for mark in _WILD):
        anchor = Path(path.anchor) if path.is_absolute() else Path.cwd()
        found = [file for file in anchor.glob(str(path.relative_to(path.anchor))) if file.is_file()]
        wanted = bool
    else:
        raise SourceNotFound(f"there is no file or folder {path}")
    names = sorted(str(file) for file in found if wanted(file.name))
    if not names:
        raise SourceNotFound(f"{path} holds no list: {EXPECTED}")
    yield from names


def _in_bucket(uri: str, is_folder: bool, client: Any, wanted: Callable[[str], bool]) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    is_pattern = any(mark in key for mark in _WILD)
    if key and not is_folder and not is_pattern and format_of(key)[0] is not None:
        return [uri]
    prefix = key[: min(key.find(mark) for mark in _WILD if mark in key)] if is_pattern else f"{key}/" if key else ""
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))
    except (BotoCoreError, ClientError) as error:
        told = " ".join(str(error).split())
        raise SourceUnreachable(f"{uri} cannot be listed: {told}; check bucket and credentials (AWS_…)") from error
    if is_pattern:
        keys = [name for name in keys if fnmatch.fnmatchcase(name, key)]
    else:
        keys = [name for name in keys if wanted(name) and not name.rpartition("/")[2].startswith((".", "_"))]
    if not keys and not is_folder and not is_pattern and key:
        return [uri]  # a file whose name says nothing; whoever opens it is told whether it is there
    if not keys:
        raise SourceNotFound(f"{uri} holds no list: {EXPECTED}")
    return [f"s3://{bucket}/{name}" for name in keys]
