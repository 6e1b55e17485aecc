"""Whether a release is what its manifest says: every file, the removals feed, and what is to be removed by now."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from laion_assets.common.digests import file_sha256
from laion_assets.common.files import UNFINISHED
from laion_assets.consent.removals import Removals
from laion_assets.delta.engine import open_engine
from laion_assets.delta.partition import literal
from laion_assets.delta.storage import Storage
from laion_assets.release.build import sizes_at
from laion_assets.release.cleaning.staging import RECEIPT
from laion_assets.release.feed import FEED, FeedError, bytes_digest, read_feed
from laion_assets.release.ids import IDS
from laion_assets.release.manifest import MANIFEST, Manifest, read_manifest
from laion_assets.release.parts import ReleasedFile

_SCANNED_AT_ONCE = 500


@dataclass(frozen=True)
class ReleaseFault:
    """One thing about a release that is not as it should be."""

    path: str
    what: str

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.path}: {self.what}"


def verify_release(place: Storage, removals: Removals | None = None, *, content: bool = True) -> Iterator[ReleaseFault]:
    """What is wrong with a release, as it is found. No lake is needed.

    Args:
        place: of the release.
        removals: what is to be removed by now, as a lake knows it; None: what the release's own feed says, where files
            are read.
        content: whether every file is read, or only looked at for its size.

    Raises:
        ReleaseError: there is no release, or none that can be read.
    """
    manifest = read_manifest(place)
    sizes = sizes_at(place)
    sound: list[ReleasedFile] = []
    for file in manifest.files:
        what = _fault(place, file, sizes, content=content)
        if what is None:
            sound.append(file)
        else:
            yield ReleaseFault(file.path, what)
    for path in sorted(sizes.keys() - manifest.by_path.keys() - {MANIFEST, FEED, RECEIPT}):
        left = "left by a process that died" if path.endswith(UNFINISHED) else "not in the manifest"
        yield ReleaseFault(path, f"{left}; remove it")
    yield from _feed_faults(place, manifest)
    if removals is None:
        removals = _removals_of_feed(place) if content else Removals.none()
    for path, rows in removed_rows(place, sound, removals).items():
        one = rows == 1
        yield ReleaseFault(
            path,
            f"{rows:,} {'row is' if one else 'rows are'} to be removed by now: `laion release feed` tells those who "
            "have copies, `laion clean` takes them out of one",
        )


def _fault(place: Storage, file: ReleasedFile, sizes: Mapping[str, int], *, content: bool) -> str | None:
    if file.path not in sizes:
        return "the file is gone"
    if sizes[file.path] != file.bytes:
        return f"the file has {sizes[file.path]:,} bytes of {file.bytes:,}"
    if not content:
        return None
    try:
        with place.local(file.path) as local:
            same = file_sha256(local) == file.sha256
    except FileNotFoundError:
        return "the file is gone"
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"
    return None if same else "the file is not as it was written (SHA-256)"


def _feed_faults(place: Storage, manifest: Manifest) -> Iterator[ReleaseFault]:
    try:
        feed = place.read(FEED)
    except FileNotFoundError:
        yield ReleaseFault(FEED, "the removals feed is gone; `laion release feed` writes it again")
        return
    for version in manifest.feed:
        if bytes_digest(feed[: version.bytes]) != version.sha256:
            yield ReleaseFault(FEED, f"does not begin with the feed of {version.at} ({version.rows:,} rows)")
            return
    known = manifest.feed[-1].bytes if manifest.feed else 0
    if len(feed) > known:
        yield ReleaseFault(FEED, "goes on after what the manifest knows; `laion release feed` records it")
    try:
        read_feed(feed)
    except FeedError as error:
        yield ReleaseFault(FEED, str(error))


def _removals_of_feed(place: Storage) -> Removals:
    """What the release's own feed says; nothing where it cannot be read, which is a fault of its own."""
    try:
        return read_feed(place.read(FEED)).removals
    except (FileNotFoundError, FeedError):
        return Removals.none()


def removed_rows(place: Storage, files: list[ReleasedFile], removals: Removals) -> dict[str, int]:
    """How many rows of a release are to be removed, by file, of the files that have any.

    Looked at are the Parquet files of one of its formats that name addresses: each pair is in one of them. An address
    that a picture was led to from its own is not in a release, and says nothing here.

    Args:
        place: of the release.
        files: of it.
        removals: what is to be removed.
    """
    found: dict[str, int] = {}
    listed = files_with_addresses(place, files)
    if removals.frame.is_empty() or not listed:
        return found
    with tempfile.TemporaryDirectory(prefix="laion-verify-") as spill, open_engine(Path(spill), place) as con:
        known = removals.register(con)
        for start in range(0, len(listed), _SCANNED_AT_ONCE):
            some = listed[start : start + _SCANNED_AT_ONCE]
            names = {place.address(file.path): file.path for file in some}
            relation = addresses_sql(con, list(names))
            annotated = known.annotate(relation, pair_id="pair_id", sha256="sha256")
            query = f"SELECT file, count(*) FROM ({annotated}) WHERE removal IS NOT NULL GROUP BY file"
            found |= {names[address]: rows for address, rows in con.execute(query).fetchall()}
    return dict(sorted(found.items()))


def files_with_addresses(place: Storage, files: list[ReleasedFile]) -> list[ReleasedFile]:
    """The Parquet files of the kind that has a column of addresses and most rows: vectors are not of every pair."""
    kinds: dict[str, list[ReleasedFile]] = {}
    for file in files:
        if file.path.endswith(".parquet") and file.kind != IDS:
            kinds.setdefault(file.kind, []).append(file)
    for of_kind in sorted(kinds.values(), key=lambda files: -sum(file.rows or 0 for file in files)):
        with place.local(of_kind[0].path) as local:
            if "url" in {name.lower() for name in pq.read_schema(local).names}:
                return of_kind
    return []


def addresses_sql(con: duckdb.DuckDBPyConnection, files: list[str]) -> str:
    """SQL of url, pair_id and sha256 of the rows of files, with the file."""
    listed = ", ".join(map(literal, files))
    rows = f"read_parquet([{listed}], hive_partitioning = false, filename = 'file')"
    there = {str(row[0]).lower(): str(row[0]) for row in con.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    columns = [
        f'"{there[name]}" AS {name}' if name in there else f"NULL::{kind} AS {name}"
        for name, kind in (("url", "VARCHAR"), ("pair_id", "BIGINT"), ("sha256", "VARCHAR"))
    ]
    return f"(SELECT file, {', '.join(columns)} FROM {rows})"
