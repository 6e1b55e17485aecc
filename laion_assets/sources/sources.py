"""Where a crawl's files lie: Common Crawl's bucket, its HTTPS mirror or one like it, or a folder of the same layout.

A source reads; it knows nothing of what the files mean (``index``, ``extract``).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import unquote, urlsplit

from laion_assets.sources.address import parse_address, shown
from laion_assets.sources.transfer import (
    ErrorPage,
    RetryPolicy,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceUnreachable,
    TransferError,
    UnexpectedContent,
)

__all__ = [
    "ErrorPage",
    "FolderSource",
    "RetryPolicy",
    "Source",
    "SourceError",
    "SourceNotFound",
    "SourceRefused",
    "SourceUnreachable",
    "TransferError",
    "UnexpectedContent",
    "open_source",
]


class Source(Protocol):
    """A read-only tree of files, as Common Crawl publishes them."""

    @property
    def uri(self) -> str:
        """The address of the tree without credentials, as recorded in ``crawl_snapshots``."""

    def open(self, path: str, *, offset: int = 0) -> BinaryIO:
        """Open one file for streaming: memory is bounded whatever the file's size.

        Args:
            path: Relative to the source, with ``/`` between its parts.
            offset: First byte to deliver.

        Returns:
            A binary stream whose ``tell`` is the offset in the file. It resumes a broken connection by itself, and
            ends only where the file ends.

        Raises:
            SourceNotFound: No such file.
            SourceRefused: No such file, or none for us: it does not say which.
            SourceUnreachable: The source does not answer, or refuses.
            TransferError: Raised by reads too: the file cannot be had whole.
        """

    def read(self, path: str) -> bytes:
        """The whole of one (small) file; raises as ``open`` does."""


def open_source(
    uri: str,
    *,
    s3_client: Any = None,
    retry: RetryPolicy | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Source:
    """Open the source an address names. Nothing is fetched yet.

    Args:
        uri: ``s3://bucket[/prefix]``, ``https://host[/prefix]``, ``http://…``, a folder, or a ``file:`` address of one.
            User name and password in an http(s) address are sent as HTTP's basic authentication asks for; a query (a
            token, a signature) is sent with every request. None of them is in any error, log line or ``Source.uri``.
        s3_client: A boto3 S3 client, needed for ``s3://`` only; its credentials, region and endpoint are used as they
            are.
        retry: How failing requests are met; the defaults suit Common Crawl.
        sleep: Waits between attempts; for tests.

    Returns:
        A source; its methods raise ``SourceError`` alone.

    Raises:
        SourceNotFound: The folder does not exist.
        ValueError: The address is of no known kind, or the client is missing.
    """
    policy = retry or RetryPolicy()
    address = parse_address(uri)
    match address.scheme:
        case "s3":
            from laion_assets.sources.s3_source import S3Source

            if s3_client is None:
                raise ValueError(f"{address.uri} needs an S3 client: hand in boto3.client('s3') as s3_client")
            return S3Source(uri, client=s3_client, retry=policy, sleep=sleep)
        case "http" | "https":
            from laion_assets.sources.http_source import HttpSource

            return HttpSource(uri, retry=policy, sleep=sleep)
        case "file":
            parts = urlsplit(address.uri)
            if parts.netloc not in ("", "localhost"):
                raise ValueError(
                    f"a file: address names a folder of this machine, found the host {parts.netloc!r} in {address.uri}"
                )
            return FolderSource(Path(unquote(parts.path)))
        case "":
            return FolderSource(Path(uri))
        case _:
            raise ValueError(f"a source is s3://…, https://…, http://…, file:… or a folder, found {address.uri!r}")


class FolderSource:
    """A folder of the same layout as Common Crawl's bucket."""

    def __init__(self, root: Path) -> None:
        """Take a folder.

        Args:
            root: An existing folder.

        Raises:
            SourceNotFound: There is no such folder.
        """
        self._root = root.expanduser().resolve()
        if not self._root.is_dir():
            raise SourceNotFound(
                f"the source folder {shown(str(root))} does not exist; "
                "name a folder that holds collinfo.json and crawl-data/"
            )

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def open(self, path: str, *, offset: int = 0) -> BinaryIO:
        """Open one file; see ``Source.open``."""
        try:
            stream = self._locate(path).open("rb")
            stream.seek(offset)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
            raise SourceNotFound(f"{self._root} has no file {path}") from error
        except OSError as error:
            raise SourceUnreachable(f"{self._root}/{path} cannot be opened: {error.strerror}") from error
        return cast("BinaryIO", _FolderStream(stream, f"{self._root}/{path}"))

    def read(self, path: str) -> bytes:
        """The whole of one file; see ``Source.read``."""
        with self.open(path) as stream:
            return stream.read()

    def _locate(self, path: str) -> Path:
        located = (self._root / path).resolve()
        if not located.is_relative_to(self._root):
            raise SourceNotFound(f"{path} lies outside of the source {self._root}: a source reads its own files only")
        return located


class _FolderStream:
    """A local file whose read errors are typed as every source's are."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            raise TransferError(f"{self._name} cannot be read: {error.strerror}") from error

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "_FolderStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
