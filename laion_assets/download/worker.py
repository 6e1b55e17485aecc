"""One tar: img2dataset's Downloader and WebDatasetSampleWriter around our own fetch and our own resizer.

Runs only in the worker processes that ``host`` forks. What img2dataset has no column for travels beside it, keyed by
url; what it loses (it prints exceptions of a sample and goes on) is found by comparing urls and rows.
"""

import io
import json
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from laion_assets.common.files import put_into_place
from laion_assets.consent.signals import as_column
from laion_assets.download.failures import Failure, FetchFailed, failure_of_message
from laion_assets.download.fetch import Fetched, Fetcher
from laion_assets.download.hosts import NOBODY_ASKED, Heed
from laion_assets.download.options import DownloadOptions
from laion_assets.download.refusals import Removal, refuse_unexpected
from laion_assets.download.resizer import Resizer
from laion_assets.download.results import Row, write_rows
from laion_assets.download.slots import Slots
from laion_assets.images.exif import exif_tags
from laion_assets.images.perceptual_hash import perceptual_hash

TAR_NUMBER_DIGITS = 5
LOCK = ".lock"
"""The file in the folder of the tars whose lock a download and its workers share."""
_DETAIL_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class TarTask:
    """One tar to be made. Paths are absolute."""

    number: int
    """Number of the tar in its folder."""
    tar: str
    """Where the tar goes."""
    rows: str
    """Where its rows go, last."""
    shard_path: str
    """The tar's path as the rows are to name it."""
    request: str
    """Digest of what is asked for."""
    urls: str
    """Arrow file of url_id, url and the digests that are expected, read and deleted by img2dataset."""
    scratch: str
    """Folder of this tar's unfinished files, on the file system of the tar."""
    options: DownloadOptions
    removals: str | None = None
    """Pickled ``Removal`` (``.pickle``), or what ``RemovalMatcher.read`` reads."""
    heed: Heed = NOBODY_ASKED
    """What of what is said of pictures."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """What ``to_json`` wrote."""
        values = json.loads(line)
        heed = Heed(values["heed"]["hosts"], tuple(values["heed"]["obeyed"]))
        return cls(**{**values, "options": DownloadOptions(**values["options"]), "heed": heed})


def run_tar(task: TarTask, slots: Slots | None, count: Callable[[], None]) -> None:
    """Download the urls of a task; the tar appears by rename, then its rows.

    Args:
        task: what to do.
        slots: bounds the requests to one host over all workers.
        count: called once for each url that is done.

    Raises:
        OSError: the tar or the rows could not be written.
    """
    import img2dataset.downloader as library

    options = task.options
    with pa.OSFile(task.urls) as file:
        urls = pa.ipc.open_file(file).read_all().to_pylist()
    notes = _Notes(task, count, {entry["url"]: entry["expected"] for entry in urls if entry["expected"]})
    heed = task.heed
    removals = _read_removals(task.removals)
    fetcher = Fetcher(options, removals, slots=slots, hosts=heed.book(options), obeyed=heed.obeyed)
    library.ThreadPool = lambda _: _Fetching(fetcher, notes)
    downloader = library.Downloader(
        sample_writer_class=_sample_writer(notes),
        resizer=Resizer(options),
        thread_count=len(urls),  # no threads: how many urls img2dataset hands over before it has a picture
        save_caption=False,
        extract_exif=False,  # exifread can be kept busy for minutes by one small picture
        output_folder=task.scratch,
        column_list=["url_id", "url"],
        timeout=options.timeout_seconds,
        number_sample_per_shard=max(options.urls_per_tar, 2),
        oom_shard_count=TAR_NUMBER_DIGITS,
        compute_hash=None,
        verify_hash_type=None,
        encode_format=options.encode_format,
        retries=0,
        user_agent_token=None,
        disallowed_header_directives=None,
    )
    downloader.download_shard((task.number, task.urls))
    if notes.broken is not None:
        raise notes.broken
    for entry in urls:
        notes.account_for(entry)
    scratch = Path(task.scratch)
    unfinished = scratch / f"{task.number:0{TAR_NUMBER_DIGITS}d}.tar"
    put_into_place(unfinished, Path(task.tar), durable=True)
    write_rows(notes.rows, Path(task.rows), request=task.request, scratch=scratch / "rows")


def _read_removals(path: str | None) -> Removal | None:
    if path is None:
        return None
    if path.endswith(".pickle"):
        matcher: Removal = pickle.loads(Path(path).read_bytes())  # noqa: S301 - written by the driver of this run
        return matcher
    from laion_assets.consent.removals import RemovalMatcher

    return RemovalMatcher.read(path)


@dataclass(eq=False)
class _Notes:
    """What is known about the urls of a tar while img2dataset works on them."""

    task: TarTask
    count: Callable[[], None]
    expected: dict[str, str] = field(default_factory=dict)
    """By url, the digests of which its picture must have one; none where anything will do."""
    fetched: dict[str, tuple[Fetched, datetime]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    broken: OSError | None = None
    _done: set[str] = field(default_factory=set)
    _lost: dict[str, str] = field(default_factory=dict)

    def row(self, meta: dict[str, Any], picture: bytes | None) -> Row:
        """The result row for what img2dataset says about a url."""
        fetched, fetched_at = self.fetched[meta["url"]]
        failure, detail = fetched.failure, fetched.failure_detail
        if failure is None and meta["status"] != "success":
            detail = str(meta["error_message"])
            failure = failure_of_message(detail, resizing=meta["status"] == "failed_to_resize")
        stored = picture if failure is None else None
        return Row(
            url_id=meta["url_id"],
            url=meta["url"],
            status="success" if failure is None else "failed",
            failure=None if failure is None else failure.value,
            failure_detail=None if detail is None else _clean(detail),
            http_status=fetched.http_status,
            width=meta["width"],
            height=meta["height"],
            original_width=meta["original_width"],
            original_height=meta["original_height"],
            final_url=fetched.final_url,
            content_type=None if fetched.content_type is None else _clean(fetched.content_type),
            attempts=fetched.attempts,
            byte_size=fetched.byte_size,
            sha256=fetched.sha256,
            perceptual_hash=None if stored is None else perceptual_hash(stored),
            exif=None if stored is None else fetched.exif,
            signals=as_column(fetched.said),
            asked_at=None,
            shard_path=None if stored is None else self.task.shard_path,
            sample_key=None if stored is None else meta["key"],
            expected=self.expected.get(meta["url"]),
            fetched_at=fetched_at,
        )

    def done(self, row: Row) -> None:
        """Take a finished row."""
        self.rows.append(row)
        self._done.add(row["url"])
        self.fetched.pop(row["url"], None)
        self.count()

    def lost(self, url: str, error: Exception) -> None:
        """Remember why img2dataset is about to lose a url."""
        self._lost[url] = f"{type(error).__name__}: {error}"

    def account_for(self, entry: dict[str, Any]) -> None:
        """Give a url that img2dataset has lost the row it is due."""
        url = entry["url"]
        if url in self._done:
            return
        _, fetched_at = self.fetched.get(url, (None, datetime.now(UTC)))
        nothing: dict[str, Any] = dict.fromkeys(("width", "height", "original_width", "original_height", "key"))
        message = f"img2dataset lost this url: {self._lost.get(url, 'no reason given')}"
        outcome, _ = self.fetched.setdefault(url, (Fetched(), fetched_at))
        outcome.failure, outcome.failure_detail = Failure.OTHER, message
        self.done(self.row({**nothing, **entry, "status": "failed", "error_message": message}, None))


class _Fetching:
    """Our fetch in the place of img2dataset's thread pool: it gives pictures as they come, in the thread that asks."""

    def __init__(self, fetcher: Fetcher, notes: _Notes) -> None:
        self._fetcher = fetcher
        self._notes = notes

    def imap_unordered(
        self, _: object, urls: Iterable[tuple[int, str]]
    ) -> Iterator[tuple[int, io.BytesIO | None, str | None]]:
        """What img2dataset's own function for one url returns, for all of them."""
        for (key, url), outcome in self._fetcher.fetch_all(((key, url), url) for key, url in urls):
            body, outcome.body = _as_expected(outcome, self._notes.expected.get(url)), None
            self._notes.fetched[url] = (outcome, datetime.now(UTC))
            outcome.exif = None if body is None else exif_tags(body)
            yield (key, None, str(outcome.failure)) if body is None else (key, io.BytesIO(body), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._fetcher.close()

    def terminate(self) -> None:
        """There is no thread to end."""

    def join(self) -> None:
        """There is no thread to wait for."""


def _as_expected(outcome: Fetched, expected: str | None) -> bytes | None:
    """The body, if it is one that was expected; otherwise what became of the url is that it is another one."""
    try:
        if outcome.body is not None:
            refuse_unexpected(outcome.body, expected)
    except FetchFailed as failed:
        outcome.failure, outcome.failure_detail = failed.failure, failed.detail
        return None
    return outcome.body


def _sample_writer(notes: _Notes) -> type:
    """img2dataset's webdataset writer, noting rows in place of its own Parquet file."""
    from img2dataset.writer import WebDatasetSampleWriter

    class NotingWriter(WebDatasetSampleWriter):  # type: ignore[misc]  # img2dataset has no types
        buffered_parquet_writer: Any

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.buffered_parquet_writer.close()
            self.buffered_parquet_writer = _NoParquet()
            self.tarwriter.mtime = 0  # a fractional time, its default, costs an extra header for every member

        def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
            try:
                row = notes.row(meta, img_str)
                about = ("final_url", "content_type", "byte_size", "sha256", "perceptual_hash", "exif")
                super().write(img_str, key, caption, {**meta, **{name: row[name] for name in about}})  # type: ignore[literal-required]
            except Exception as error:  # img2dataset only prints what is raised here
                notes.lost(meta["url"], error)
                if isinstance(error, OSError):
                    notes.broken = error
                raise
            notes.done(row)

    return NotingWriter


class _NoParquet:
    def write(self, sample: dict[str, Any]) -> None:
        """Take no notice."""

    def close(self) -> None:
        """Nothing to close."""


def _clean(text: str) -> str:
    """Text without anything Parquet or a terminal would stumble over, and not too long."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in plain)[:_DETAIL_CHARACTERS]


class UrlCounter:
    """Counts finished urls, in any thread, for whoever reports them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0

    def count(self) -> None:
        """One more url is done."""
        with self._lock:
            self._done += 1

    @property
    def done(self) -> int:
        """Urls done so far."""
        return self._done
