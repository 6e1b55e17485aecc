"""Where the tars of an import lie, and what lies beside them."""

import io
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from laion_assets.sources.lists.streams import Files, is_remote
from laion_assets.sources.sources import SourceNotFound
from laion_assets.webdataset.reader import TarReader

_log = logging.getLogger(__name__)

ENDING: Final = ".tar"
"""How tars are called."""
_LATEST: Final = 2**33
"""Seconds since 1970 that are taken for a time: the year 2242."""


class ForeignTars:
    """The tars of an import, each named by its path or address; opened one at a time.

    Args:
        files: reads them, and what lies beside them.
        entered_at: when the import was entered: the time of pictures whose tar says nothing of its own.
        digests: SHA-256 of each, hex, when it was imported; empty where that is happening.
        check: is called with a tar before it is opened; raises where it is not the one that was imported.
    """

    def __init__(
        self,
        files: Files,
        entered_at: datetime,
        *,
        digests: Mapping[str, str] = MappingProxyType({}),
        check: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._files = files
        self._entered_at = entered_at
        self._digests = digests
        self._check = check
        self._written: dict[str, datetime] = {}

    def open(self, uri: str) -> TarReader:
        """A tar. One that is no file of this machine is read from one thread.

        Raises:
            SourceError: it is not there, or cannot be had.
            TarError: it cannot be opened.
        """
        self._check(uri)
        return TarReader(uri, _Remote(self._files, uri) if is_remote(uri) else None)

    def digest_of(self, uri: str) -> str:
        """SHA-256 of a tar when it was imported, hex."""
        return self._digests.get(uri, "")

    def written_at(self, uri: str) -> datetime:
        """When the tar was finished, by the ``NNNNN_stats.json`` that img2dataset puts beside it."""
        if uri not in self._written:
            told = (json_object(self._beside(uri, "_stats.json")) or {}).get("end_time")
            seconds = told if isinstance(told, int | float) and 0 < told < _LATEST else None
            self._written[uri] = self._entered_at if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return self._written[uri]

    def records(self, uri: str) -> dict[str, dict[str, Any]]:
        """The rows of the Parquet file beside a tar, by key; none where there is no such file."""
        content = self._beside(uri, ".parquet")
        if not content:
            return {}
        try:
            rows = pl.read_parquet(io.BytesIO(content))
        except pl.exceptions.PolarsError as error:
            _log.warning("the Parquet file beside %s cannot be read: %s", uri, " ".join(str(error).split())[:200])
            return {}
        return {str(row["key"]): row for row in rows.iter_rows(named=True)} if "key" in rows.columns else {}

    def _beside(self, uri: str, ending: str) -> bytes:
        try:
            with self._files.open(uri.removesuffix(ENDING) + ending) as stream:
                return stream.read()
        except SourceNotFound:
            return b""


class _Remote:
    """The bytes of a file of another machine, a few asked for at a time."""

    def __init__(self, files: Files, uri: str) -> None:
        self._file = files.seekable(uri)
        self.size: int | None = self._file.size()

    def pread(self, size: int, offset: int) -> bytes:
        self._file.seek(offset)
        return bytes(self._file.read(size))

    def close(self) -> None:
        self._file.close()


def json_object(content: bytes | None) -> dict[str, Any] | None:
    """A JSON object; None where the bytes are none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(content or b"")
        return found if isinstance(found, dict) else None
    return None
