"""What is recorded of a list when it is imported: its columns, rows and digest."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from laion_assets.sources.lists.batches import ListReader
from laion_assets.sources.lists.columns import Columns, map_columns
from laion_assets.sources.lists.errors import ListChanged
from laion_assets.sources.lists.formats import format_of, open_list
from laion_assets.sources.lists.streams import Files, Stamp, is_remote

_BATCH_ROWS = 100_000
_TICK_NS = 2_000_000_000


@dataclass(frozen=True, kw_only=True)
class ListFile:
    """One list, as it was when it was imported."""

    uri: str
    format: str
    """``parquet``, ``csv``, ``tsv`` or ``jsonl``, and what it is compressed with: ``csv.gzip``."""
    columns: Columns
    rows: int
    row_groups: int | None
    """Row groups, where it is Parquet."""
    sha256: str
    stamp: Stamp


def columns_of(files: Files, uri: str, said: Mapping[str, str]) -> Columns:
    """What the columns of a list mean; see ``map_columns``. Little of the file is read.

    Raises:
        SourceError: it is not there, or is no list that can be taken.
    """
    with closing(open_list(files, uri)) as reader:
        return map_columns(uri, reader.columns, reader.sample, said)


def describe(files: Files, uri: str, said: Mapping[str, str]) -> ListFile:
    """Read a list once, from end to end.

    Raises:
        SourceError: it is not there, or is no list that can be taken.
        ListChanged: it changed meanwhile.
    """
    before = files.stamp(uri)
    with closing(open_list(files, uri)) as reader:
        columns = map_columns(uri, reader.columns, reader.sample, said)
        rows = _rows(reader, columns)
        sha256 = files.sha256(uri)
        compression = format_of(uri)[1]
        found = ListFile(
            uri=uri,
            format=f"{reader.format}.{compression}" if compression else reader.format,
            columns=columns,
            rows=rows,
            row_groups=None if reader.row_groups is None else len(reader.row_groups),
            sha256=sha256,
            stamp=before,
        )
    if files.stamp(uri) != before:
        raise ListChanged(f"{uri} changed while it was read: import it once it is whole")
    return found if _tells(uri, before) else replace(found, stamp=replace(before, mark=""))


def _tells(uri: str, stamp: Stamp) -> bool:
    """Whether a time of modification tells a file from what is written next: two writes may share a clock's tick."""
    return is_remote(uri) or time.time_ns() - int(stamp.mark) > _TICK_NS


def _rows(reader: ListReader, columns: Columns) -> int:
    if reader.row_groups is not None:
        return sum(reader.row_groups)
    return sum(batch.num_rows for batch in reader.read([columns.taken["url"]], 0, None, _BATCH_ROWS))


def ensure_same(files: Files, uri: str, *, bytes: int, stamp: str, sha256: str, again: str) -> None:
    """Make sure that a list is what it was when it was imported. It is read only where its stamp is another one.

    Args:
        files: reads it.
        uri: the list.
        bytes: its size then.
        stamp: its mark then.
        sha256: its digest then.
        again: the command that imports it again.

    Raises:
        SourceNotFound: it is gone.
        ListChanged: it changed.
    """
    now = files.stamp(uri)
    if now.bytes != bytes:
        what = f"it had {bytes:,} bytes, and has {now.bytes:,}"
    elif (stamp and now.mark == stamp) or files.sha256(uri) == sha256:
        return
    else:
        what = "its bytes are others (SHA-256)"
    raise ListChanged(f"{uri} changed since it was imported: {what}; put it back, or enter it again with `{again}`")
