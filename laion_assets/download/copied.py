"""The pictures of one bucket of an import that holds them already: copied byte for byte, without one request.

Foreign tars mix all buckets. A bucket reads its own pictures alone, by tar and offset, in the order in which they lie
there, so that each tar is passed through once and forwards, and writes them to tars of its own.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import duckdb

from laion_assets.common.digests import json_digest
from laion_assets.common.duck import number as number_of
from laion_assets.common.duck import temporary_tables
from laion_assets.common.files import appearing, fresh_path, remove_unfinished
from laion_assets.consent.decision import refusal
from laion_assets.consent.embedded import said_within
from laion_assets.consent.removals import RemovalMatcher, Removals
from laion_assets.consent.signals import SIGNALS, as_column
from laion_assets.download.bucket import FetchedTar
from laion_assets.download.driver import only_writer, rows_of
from laion_assets.download.failures import Failure, FetchFailed
from laion_assets.download.hosts import NOBODY_ASKED, Heed
from laion_assets.download.options import DownloadOptions
from laion_assets.download.refusals import refuse_listed, refuse_listed_body, refuse_out_of_bounds, refuse_unexpected
from laion_assets.download.results import Row, answers, write_rows
from laion_assets.images.decode import decoded
from laion_assets.images.exif import exif_tags
from laion_assets.images.header import read_header
from laion_assets.images.parts import TooCostlyPicture, UndecodablePicture, take_apart
from laion_assets.images.perceptual_hash import perceptual_hash
from laion_assets.webdataset.reader import TarReader
from laion_assets.webdataset.samples import PICTURE_EXTENSIONS, key_and_extension
from laion_assets.webdataset.writer import write_samples

PLACES: Final = ("path", "file_number", "record_offset", "original_sha256")
"""What of a pair says where its picture lies, and what it was made from."""
_ORDERED: Final = "_copied_in_order"
_FORMAT_VERSION: Final = 1
_TAR_NUMBER_DIGITS: Final = 5
_BOUNDS: Final = ("max_bytes", "min_image_size", "max_image_area", "max_aspect_ratio", "urls_per_tar")
_EXTENSIONS: Final = {"jpeg": "jpg", "png": "png", "webp": "webp"}
_IN_JSON: Final = (
    "url_id", "url", "status", "width", "height", "original_width", "original_height", "content_type", "byte_size",
    "sha256", "perceptual_hash", "exif",
)  # fmt: skip


class Tars(Protocol):
    """Where the pictures lie: ``laion_assets.sources.tars.folder.ForeignTars`` is one."""

    def open(self, path: str) -> TarReader:
        """A tar by the path that the pairs name; read from one thread, mostly forwards."""

    def written_at(self, path: str) -> datetime:
        """When the tar was made, as far as its folder tells."""

    def digest_of(self, path: str) -> str:
        """What the tar's bytes were when it was imported."""


class _Place(NamedTuple):
    """Where a sample says that its picture lies, and what it says of its bytes."""

    path: str
    offset: int
    original_sha256: str | None
    """Of the picture as it was downloaded, before somebody encoded it anew."""


class _Wanted(NamedTuple):
    url_id: int
    url: str
    expected: str | None
    """Digests of which the picture must have one."""
    places: tuple[_Place, ...]


_Result = tuple[Row, tuple[str, bytes] | None]
"""A url's row, and the extension and the bytes of what is stored."""


class _Found(NamedTuple):
    """A member as it was read; without content where it is larger than may be."""

    content: bytes | None
    size: int
    extension: str
    fetched_at: datetime


@dataclass(frozen=True, kw_only=True)
class _Tar:
    number: int
    wanted: list[_Wanted]
    request: str
    path: Path

    @property
    def rows(self) -> Path:
        return self.path.with_suffix(".parquet")


def copy_bucket(
    con: duckdb.DuckDBPyConnection,
    *,
    pairs: str,
    tars: Tars,
    root: Path,
    output: Path,
    options: DownloadOptions,
    removals: Removals,
    progress: Callable[[int], None],
    heed: Heed = NOBODY_ASKED,
) -> Iterator[FetchedTar]:
    """Copy the pictures of the urls that ``plan_attempts`` left; tars that were finished before are taken as they are.

    What a row says is computed from the bytes in the tar: ``sha256`` and ``byte_size`` are those of the file that is
    copied, which need not be the one that its url once gave. ``fetched_at`` is the member's own time, else the tar's.
    No request is made: ``attempts`` is 0, ``http_status`` and ``final_url`` are null. Where several samples have one
    url, the first that gives a picture counts.

    Args:
        con: has the table ``attempted``, with the digests of which each picture must have one, where such are known.
        pairs: relation with ``url`` and ``PLACES``.
        tars: the tars that ``path`` names.
        root: folder that the rows' ``shard_path`` is relative to.
        output: folder for the tars, below ``root``.
        options: limits of a picture, urls a tar, and how many pictures are looked at side by side (``processes``).
        removals: what must not be copied; a sample's own word on the bytes it was made from counts as well.
        progress: called with the number of urls done since the last call.
        heed: what of what pictures say of themselves.

    Yields:
        Each tar, once it is in place.

    Raises:
        TarError: a tar is not what the pairs were read from.
        DownloadError: somebody else writes to the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    folder = output.relative_to(root).as_posix()
    limits = {name: value for name, value in dataclasses.asdict(options).items() if name in _BOUNDS}
    limits |= {"passed over": passed} if (passed := sorted(SIGNALS.keys() - set(heed.obeyed))) else {}
    common = json_digest([_FORMAT_VERSION, folder, removals.digest, limits], sort_keys=True)
    with only_writer(output), temporary_tables(con, _ORDERED):
        remove_unfinished(output)
        _order(con, pairs)
        for tar in _plan(con, output, options.urls_per_tar, common, tars):
            if answers(tar.rows, tar.request) and tar.path.is_file():
                progress(len(tar.wanted))
            else:
                with _Copier(tars, options, removals.matcher(), progress, heed) as copier:
                    copier.copy(tar, f"{folder}/{tar.path.name}")
            yield FetchedTar(rows_of(tar.rows, len(tar.wanted)))


def _order(con: duckdb.DuckDBPyConnection, pairs: str) -> None:
    """Number the urls in the order in which their first pictures lie in the tars."""
    con.execute(f"""
        CREATE TEMP TABLE {_ORDERED} AS
        SELECT *, row_number() OVER (ORDER BY first, url_id, url) - 1 AS number FROM (
            SELECT url_id, url, expected, min({{'file': file_number, 'at': record_offset}}) AS first,
                   list([path, record_offset::VARCHAR, original_sha256] ORDER BY file_number, record_offset) AS places
            FROM attempted JOIN (SELECT DISTINCT url, {", ".join(PLACES)} FROM {pairs}) USING (url)
            GROUP BY url_id, url, expected)
    """)


def _plan(con: duckdb.DuckDBPyConnection, output: Path, urls_per_tar: int, common: str, tars: Tars) -> Iterator[_Tar]:
    """Split the urls evenly into as few tars as allowed; one tar's urls are held at a time."""
    urls = number_of(con, f"SELECT count(*) FROM {_ORDERED}")
    count = -(-urls // urls_per_tar)
    bounds = [urls * number // count for number in range(count + 1)] if count else []
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        found = con.execute(f"""
            SELECT url_id, url, expected, places FROM {_ORDERED} WHERE number >= {start} AND number < {end}
            ORDER BY number
        """).fetchall()
        wanted = [
            _Wanted(url_id, url, expected, tuple(_Place(path, int(offset), told) for path, offset, told in places))
            for url_id, url, expected, places in found
        ]
        request = hashlib.sha256(common.encode())
        for path in sorted({place.path for entry in wanted for place in entry.places}):
            request.update(f"\n{tars.digest_of(path)}".encode())
        for entry in wanted:
            request.update(f"\n{entry}".encode("utf-8", "surrogatepass"))
        path_of_tar = output / f"{number:0{_TAR_NUMBER_DIGITS}d}.tar"
        yield _Tar(number=number, wanted=wanted, request=request.hexdigest(), path=path_of_tar)


class _Copier:
    """Copies the pictures of one tar. Bytes are read in one thread; what they are is looked at in several."""

    def __init__(
        self,
        tars: Tars,
        options: DownloadOptions,
        removals: RemovalMatcher,
        progress: Callable[[int], None],
        heed: Heed,
    ) -> None:
        self._tars, self._options, self._removals = tars, options, removals
        self._progress = progress
        self._obeyed = heed.obeyed
        self._held = contextlib.ExitStack()
        self._open: tuple[str, TarReader] | None = None

    def __enter__(self) -> "_Copier":
        self._pool = self._held.enter_context(ThreadPoolExecutor(self._options.processes, "copy"))
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._held.close()

    def copy(self, tar: _Tar, shard_path: str) -> None:
        """Write the tar, then its rows."""
        digits = math.ceil(math.log10(max(self._options.urls_per_tar, 2)))
        rows: list[Row] = []

        def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
            for place, (row, stored) in enumerate(self._looked_at(tar.wanted)):
                rows.append(row)
                if stored is not None:
                    extension, content = stored
                    key = f"{tar.number * 10**digits + place:0{_TAR_NUMBER_DIGITS + digits}d}"
                    row["shard_path"], row["sample_key"] = shard_path, key
                    yield key, {extension: content, "json": _as_json(row, key)}
                self._progress(1)

        with appearing(tar.path, durable=True) as fresh:
            write_samples(fresh, samples())
        write_rows(rows, tar.rows, request=tar.request, scratch=fresh_path(tar.rows))

    def _looked_at(self, wanted: list[_Wanted]) -> Iterator[_Result]:
        """What became of each url, in order; a few pictures are held at a time."""
        waiting: deque[tuple[_Wanted, Future[_Result]]] = deque()
        for entry in wanted:
            waiting.append((entry, self._submit(entry, entry.places[0])))
            if len(waiting) > 2 * self._options.processes:
                yield self._settled(*waiting.popleft())
        while waiting:
            yield self._settled(*waiting.popleft())

    def _settled(self, entry: _Wanted, first: Future[_Result]) -> _Result:
        """The first of a url's places that gives a picture, else what became of the first of all."""
        result = found = first.result()
        for place in entry.places[1:]:
            if found[1] is not None:
                break
            found = self._submit(entry, place).result()
        return result if found[1] is None else found

    def _submit(self, entry: _Wanted, place: _Place) -> Future[_Result]:
        """Read a picture, and have it looked at; one that must not be had is not read."""
        listed: FetchFailed | None = None
        try:
            refuse_listed(self._removals, entry.url)
            told = [*(entry.expected or "").split(), *([place.original_sha256] if place.original_sha256 else [])]
            if any(map(self._removals.match_digest, told)):
                raise FetchFailed(Failure.HASH_LISTED, "the body that it was made from is on a list of hash entries")
        except FetchFailed as refused:
            listed = refused
        found = self._read(place, leave_out=listed is not None)
        return self._pool.submit(self._look_at, entry, found, listed)

    def _read(self, place: _Place, *, leave_out: bool) -> _Found:
        if self._open is None or self._open[0] != place.path:
            self._close()
            self._open = place.path, self._tars.open(place.path)
        reader = self._open[1]
        member = reader.member_at(place.offset)
        extension = (key_and_extension(member.name) or ("", ""))[1]
        at = datetime.fromtimestamp(member.modified, UTC) if member.modified else self._tars.written_at(place.path)
        content = None
        if not leave_out and member.size <= self._options.max_bytes:
            content = reader.read(member.offset, member.size)
        return _Found(content, member.size, PICTURE_EXTENSIONS.get(extension, "jpg"), at)

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].__exit__()
            self._open = None

    def _look_at(self, entry: _Wanted, found: _Found, refused: FetchFailed | None) -> _Result:
        row = _nothing(entry, found)
        try:
            if refused is not None:
                raise refused
            if found.content is None:
                raise FetchFailed(Failure.TOO_LARGE, f"{found.size} bytes, over {self._options.max_bytes}")
            row["byte_size"], row["sha256"] = found.size, hashlib.sha256(found.content).hexdigest()
            refuse_listed_body(self._removals, found.content)
            refuse_unexpected(found.content, entry.expected)
            extension = self._fill(row, found)
        except FetchFailed as failed:
            row["status"], row["failure"], row["failure_detail"] = "failed", failed.failure.value, failed.detail
            return row, None
        return row, (extension, found.content)

    def _fill(self, row: Row, found: _Found) -> str:
        """Say of a picture what its bytes say; gives the extension it is stored under."""
        content = found.content or b""
        header = read_header(content)
        if header is None:
            raise FetchFailed(Failure.NOT_AN_IMAGE, f"starts with {content[:16]!r}" if content else "empty body")
        row["content_type"] = f"image/{header.format}"
        refuse_out_of_bounds(header, self._options)
        try:
            picture = take_apart(content)
            look = perceptual_hash(content)
            if look is None:
                with decoded(picture, reduction=8):  # says why it cannot be
                    pass
        except TooCostlyPicture as error:
            raise FetchFailed(Failure.TOO_COSTLY, f"too costly: {error}") from error
        except UndecodablePicture as error:
            raise FetchFailed(Failure.DECODE, str(error)) from error
        row["width"], row["height"] = row["original_width"], row["original_height"] = picture.size
        row["perceptual_hash"], row["exif"] = look, exif_tags(content)
        said = said_within(content, f"image/{header.format}") if self._options.respect_opt_outs else []
        row["signals"] = as_column(said)
        if (no := refusal(said, self._obeyed)) is not None:
            raise FetchFailed(Failure.OPTED_OUT, f"{no.signal}: {no.raw}")
        return _EXTENSIONS.get(header.format, found.extension)


def _nothing(entry: _Wanted, found: _Found) -> Row:
    return Row(
        url_id=entry.url_id,
        url=entry.url,
        status="success",
        failure=None,
        failure_detail=None,
        http_status=None,
        width=None,
        height=None,
        original_width=None,
        original_height=None,
        final_url=None,
        content_type=None,
        attempts=0,
        byte_size=None,
        sha256=None,
        perceptual_hash=None,
        exif=None,
        signals=None,
        asked_at=None,
        shard_path=None,
        sample_key=None,
        expected=entry.expected,
        fetched_at=found.fetched_at,
    )


def _as_json(row: Row, key: str) -> bytes:
    """The sample's json, with the fields that a downloaded one has."""
    return json.dumps({"key": key, **{name: row[name] for name in _IN_JSON}}, indent=4).encode()
