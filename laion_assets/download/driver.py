"""Downloading many urls: tars of pictures, and one row for each url. Importing this does not import img2dataset.

What is downloaded is decided by the callers; so is what becomes of the tars once their rows are known.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pickle
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from laion_assets.common.digests import file_sha256, json_digest
from laion_assets.common.locks import locked, share
from laion_assets.consent.signals import SIGNALS
from laion_assets.download.hosts import NOBODY_ASKED, Heed
from laion_assets.download.options import DownloadOptions
from laion_assets.download.pool import DownloadError, WorkerHost, worker_host
from laion_assets.download.refusals import Removal
from laion_assets.download.results import SCHEMA, answers
from laion_assets.download.worker import LOCK, TAR_NUMBER_DIGITS, TarTask

_FORMAT_VERSION = 2
_LOCK_SECONDS = 10.0
_FEWEST_URLS_PER_TAR = 200
_WITHOUT_EFFECT_ON_ROWS = ("processes", "threads", "connections_per_host", "delay_seconds")


def result_schema() -> pl.Schema:
    """Names and types of the columns that ``download`` yields."""
    empty = pl.from_arrow(SCHEMA.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def download(
    urls: pl.DataFrame,
    *,
    output: str | Path,
    options: DownloadOptions | None = None,
    removals: Removal | str | Path | None = None,
    relative_to: str | Path | None = None,
    heed: Heed = NOBODY_ASKED,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Attempt every distinct url once, with img2dataset's downloader, resizer and webdataset writer.

    Urls are split into tars by ``url_id``, so that the same urls give the same tars whatever their order. Each tar
    appears in ``output`` by rename, and its rows after it; called again with the same urls, options and removals (after
    having been killed, say) finished tars are not downloaded again. Nothing is downloaded before the first ``next``.

    Args:
        urls: columns ``url_id`` (int64) and ``url``; repeated rows count once. Where there is a column ``expected``:
            hex digests (MD5, SHA-256) with spaces between them, of which the picture must have one; null: any will do.
        output: local folder for the tars, ``00000.tar`` and on; made if absent. One download at a time writes there.
        options: limits, manners and format; by default those of ``DownloadOptions()``.
        removals: what must not be fetched: a file written by ``Removals.write``, or a matcher that can be pickled.
        relative_to: folder that ``shard_path`` is relative to; by default the parent of ``output``.
        heed: what of what is said of pictures.
        progress: called with the number of urls done since the last call.

    Yields:
        One frame for each tar, as it is finished, with the columns of ``result_schema()``, in order of ``url_id``:
        exactly one row for each url. ``sha256`` and ``byte_size`` are of the bytes as downloaded; ``width`` and
        ``height``, ``perceptual_hash``, ``shard_path`` and ``sample_key`` of the stored picture, which is upright;
        ``original_width`` and ``original_height`` of the one downloaded, seen upright.

    Raises:
        DownloadError: a worker died or could not write (the message names the tar), another download holds the
            folder, or ``ca_bundle`` has no certificates.
        ValueError: a column is missing or null.
    """
    problems = {"url_id", "url"} - set(urls.columns)
    if problems:
        raise ValueError(f"urls to download need columns url_id and url; missing: {', '.join(sorted(problems))}")
    expected = pl.col("expected") if "expected" in urls.columns else pl.lit(None).alias("expected")
    distinct = urls.select(
        pl.col("url_id").cast(pl.Int64), pl.col("url").cast(pl.String), expected.cast(pl.String)
    ).unique()
    if sum(distinct.select("url_id", "url").null_count().row(0)):
        raise ValueError("urls to download have null values in url_id or url")
    options = options or DownloadOptions()
    _check_certificates(options.ca_bundle)
    folder = Path(output).absolute()
    base = folder.parent if relative_to is None else Path(relative_to).absolute()
    job = _Job(
        urls=distinct.sort("url_id", "url"),
        folder=folder,
        shard_folder=folder.relative_to(base).as_posix(),
        options=options,
        heed=heed,
        progress=progress or (lambda _: None),
    )
    return job.run(removals)


def _check_certificates(bundle: str | None) -> None:
    if bundle is not None:
        try:
            ssl.create_default_context(cafile=bundle)
        except OSError as error:
            raise DownloadError(f"download option ca_bundle: no certificates in {bundle}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Tar:
    number: int
    urls: pl.DataFrame
    request: str
    rows: Path


@dataclass(frozen=True, kw_only=True)
class _Job:
    urls: pl.DataFrame
    folder: Path
    shard_folder: str
    options: DownloadOptions
    heed: Heed
    progress: Callable[[int], None]

    def run(self, removals: Removal | str | Path | None) -> Iterator[pl.DataFrame]:
        """The rows of every tar, as each is done; tars that were finished before are not downloaded again."""
        if self.urls.is_empty():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_writer(self.folder):
            for left in self.folder.glob(".work-*"):
                shutil.rmtree(left, ignore_errors=True)
            scratch = self.folder / f".work-{os.getpid()}-{time.time_ns():x}"
            scratch.mkdir()
            try:
                source, digest = _stage_removals(removals, scratch)
                tars = self._plan(digest)
                unfinished = []
                for tar in tars:
                    if answers(tar.rows, tar.request) and self._tar_path(tar).is_file():
                        self.progress(tar.urls.height)
                        yield rows_of(tar.rows, tar.urls.height)
                    else:
                        unfinished.append(tar)
                if unfinished:
                    with worker_host() as host:
                        yield from self._download(unfinished, host, scratch, source)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _plan(self, removals_digest: str) -> list[_Tar]:
        """Split the urls evenly into as few tars as allowed, but give every process one where there is enough."""
        height = self.urls.height
        count = -(-height // self.options.urls_per_tar)
        count = max(count, min(self.options.processes, height // _FEWEST_URLS_PER_TAR))
        options = {k: v for k, v in dataclasses.asdict(self.options).items() if k not in _WITHOUT_EFFECT_ON_ROWS}
        passed_over = sorted(SIGNALS.keys() - set(self.heed.obeyed))
        asked_for = [
            _FORMAT_VERSION,
            self.shard_folder,
            removals_digest,
            options,
            *([passed_over] if passed_over else []),
        ]
        common = json.dumps(asked_for, sort_keys=True)
        bounds = [height * number // count for number in range(count + 1)]
        tars = []
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            urls = self.urls.slice(start, end - start)
            request = hashlib.sha256(common.encode())
            for url_id, url, expected in urls.iter_rows():
                told = f"\n{url_id} {url}" + (f" {expected}" if expected else "")
                request.update(told.encode("utf-8", "surrogatepass"))
            rows = self.folder / f"{number:0{TAR_NUMBER_DIGITS}d}.parquet"
            tars.append(_Tar(number=number, urls=urls, request=request.hexdigest(), rows=rows))
        return tars

    def _tar_path(self, tar: _Tar) -> Path:
        return tar.rows.with_suffix(".tar")

    def _download(
        self, tars: list[_Tar], host: WorkerHost, scratch: Path, removals: str | None
    ) -> Iterator[pl.DataFrame]:
        open_tars = {tar.number: tar for tar in tars}
        waiting = iter(tars)
        done = dict.fromkeys(open_tars, 0)
        errors: dict[int, str] = {}
        for tar in itertools.islice(waiting, 2 * self.options.processes):
            host.submit(self._task(tar, scratch, removals))
        while open_tars:
            for report in host.reports():
                tar = open_tars[report["tar"]]
                if "error" in report:
                    errors[tar.number] = report["error"]
                    continue
                if report.get("exit", 0) != 0:
                    raise DownloadError(self._explain(tar, report["exit"], errors.get(tar.number)))
                finished = tar.urls.height if "exit" in report else report["done"]
                self.progress(finished - done[tar.number])
                done[tar.number] = finished
                if "exit" in report:
                    del open_tars[tar.number]
                    for following in waiting:
                        host.submit(self._task(following, scratch, removals))
                        break
                    yield rows_of(tar.rows, tar.urls.height)

    def _task(self, tar: _Tar, scratch: Path, removals: str | None) -> TarTask:
        folder = scratch / tar.rows.stem
        folder.mkdir()
        urls = folder / "urls.arrow"
        tar.urls.write_ipc(urls, compat_level=pl.CompatLevel.oldest())
        path = self._tar_path(tar)
        return TarTask(
            number=tar.number,
            tar=str(path),
            rows=str(tar.rows),
            shard_path=f"{self.shard_folder}/{path.name}",
            request=tar.request,
            urls=str(urls),
            scratch=str(folder),
            options=self.options,
            removals=removals,
            heed=self.heed,
        )

    def _explain(self, tar: _Tar, code: int, error: str | None) -> str:
        path = self._tar_path(tar)
        if error is not None:
            reason = error.strip().rpartition("\n")[2]
            return f"making {path} failed: {reason}; finished tars are kept, run it again to go on\n{error}"
        how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"
        return f"the worker that was making {path} {how}; finished tars are kept, run it again to go on"


def rows_of(path: Path, urls: int) -> pl.DataFrame:
    """The rows that lie beside a finished tar, one for each of its urls.

    Raises:
        DownloadError: there are more or fewer.
    """
    rows = pl.read_parquet(path)
    if rows.height != urls:
        raise DownloadError(f"{path} has {rows.height} rows for {urls} urls; delete it and run again")
    return rows


def _stage_removals(removals: Removal | str | Path | None, scratch: Path) -> tuple[str | None, str]:
    """Where the workers read the removals from, and a digest of them that is the same in every process."""
    if removals is None:
        return None, ""
    if isinstance(removals, str | Path):
        path = Path(removals).absolute()
        if pl.scan_parquet(path).select(pl.len()).collect().item() == 0:
            return None, ""
        copy = scratch / "removals.parquet"
        shutil.copyfile(path, copy)
        return str(copy), file_sha256(copy)
    copy = scratch / "removals.pickle"
    copy.write_bytes(pickle.dumps(removals))
    return str(copy), _digest_of(removals)


def _digest_of(matcher: Removal) -> str:
    declared: Any = matcher
    if not dataclasses.is_dataclass(declared):
        return hashlib.sha256(pickle.dumps(matcher)).hexdigest()
    values = {field.name: getattr(matcher, field.name) for field in dataclasses.fields(declared)}
    stable = {k: sorted(map(str, v)) if isinstance(v, frozenset | set) else str(v) for k, v in values.items()}
    return json_digest(stable, sort_keys=True)


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other downloads out of a folder; workers share the lock, so those of a killed download are waited for."""
    with locked(folder / LOCK, wait_seconds=_LOCK_SECONDS) as lock:
        if lock is None:
            raise DownloadError(f"another download is writing to {folder}; wait for it or end it")
        share(lock)
        yield


__all__ = ["DownloadError", "download", "only_writer", "result_schema", "rows_of"]
