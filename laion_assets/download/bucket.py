"""The pictures of one bucket: what is known of its urls, attempting the others, and what became of all of them."""

# Names of relations, never values, are put into SQL here.

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

from laion_assets.common.digests import text_digest
from laion_assets.consent.removals import Removals
from laion_assets.download.driver import download
from laion_assets.download.failures import is_transient
from laion_assets.download.hosts import Heed
from laion_assets.download.options import DownloadOptions

EARLIER = "earlier_images"
"""The view that :func:`open_earlier` makes."""
_SHOWN_HOSTS = 20


@dataclass(frozen=True, slots=True)
class FetchedTar:
    """One finished tar, or urls that gave no picture."""

    rows: pl.DataFrame
    """One row a url, with the columns of ``download.driver.result_schema``."""

    @property
    def tars(self) -> list[str]:
        """Its ``shard_path``; empty where no picture was stored."""
        return self.rows["shard_path"].drop_nulls().unique().to_list()

    @property
    def counts(self) -> Counter[str]:
        """Requests, bytes, and urls by what became of them."""
        counts = Counter(
            {"requests": int(self.rows["attempts"].sum()), "bytes downloaded": int(self.rows["byte_size"].sum())}
        )
        for failure, rows in self.rows.group_by("failure").len().sort("failure").iter_rows():
            counts[f"failure: {failure}" if failure else "succeeded"] += rows
        return counts


class HostOutcome(NamedTuple):
    """What became of a host's urls."""

    host: str
    urls: int
    success: float
    """Share of the urls, 0 to 1."""
    commonest: str | None
    """The most frequent failure; None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """What became of all urls of a bucket, whenever they were attempted."""

    by_kind: Counter[str]
    """Urls by failure, ``success`` among them."""
    transient: int
    """Urls that failed for a reason that can pass."""
    bytes: int
    """Bytes of all pictures as downloaded."""
    hosts: list[HostOutcome]
    """The hosts with most urls: a bad resolver or a blocked agent shows at once."""

    @property
    def success_rate(self) -> float:
        """Share of the urls, 0 to 1; 0 where there are none."""
        return self.by_kind["success"] / (sum(self.by_kind.values()) or 1)


def open_earlier(con: duckdb.DuckDBPyConnection, views: dict[bool, str], broken: Collection[str]) -> str:
    """Make the view of what is known of a bucket's urls, with a column ``outdated`` as ``plan_attempts`` takes it.

    Args:
        con: knows the views.
        views: earlier rows, by whether other code made them.
        broken: tars that were found damaged: their pictures are not known, so that they alone are downloaded again.

    Returns:
        The view's name.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE broken_tars (name VARCHAR)")
    if broken:
        con.executemany("INSERT INTO broken_tars VALUES (?)", [[name] for name in sorted(broken)])
    rows = " UNION ALL ".join(f"SELECT *, {outdated} AS outdated FROM {view}" for outdated, view in views.items())
    con.execute(f"""
        CREATE OR REPLACE VIEW {EARLIER} AS SELECT * FROM ({rows})
        WHERE shard_path IS NULL OR shard_path NOT IN (FROM broken_tars)
    """)
    return EARLIER


def attempts_token(con: duckdb.DuckDBPyConnection, previous: int) -> str:
    """Names the work folder of a download: after a kill the finished tars of the same urls are found again.

    Args:
        con: has the table ``attempted`` that ``plan_attempts`` leaves.
        previous: version of the rows that the urls are attempted on top of, -1 for none.
    """
    digest = con.execute(
        "SELECT count(*), sum(md5_number_lower(concat_ws(' ', url, expected))::HUGEINT) FROM attempted"
    ).fetchone()
    return text_digest(repr((digest, previous)), digits=32)


def fetch_bucket(
    con: duckdb.DuckDBPyConnection,
    *,
    root: Path,
    output: Path,
    options: DownloadOptions,
    removals: Removals,
    scratch: Path,
    heed: Heed,
    progress: Callable[[int], None],
) -> Iterator[FetchedTar]:
    """Attempt the urls that ``plan_attempts`` left; tars that were finished with these options are taken as they are.

    Args:
        con: has the table ``attempted``.
        root: folder that the rows' ``shard_path`` is relative to.
        output: folder for the tars, below ``root``.
        options: limits, manners and format.
        removals: what must not be fetched.
        scratch: file to write the removals to.
        heed: what of what is said of pictures.
        progress: called with the number of urls done since the last call.

    Yields:
        Each tar, once it is in place.

    Raises:
        DownloadError: see ``download``.
    """
    removals.write(scratch)
    urls = con.table("attempted").pl()
    for rows in download(
        urls, output=output, relative_to=root, options=options, removals=scratch, heed=heed, progress=progress
    ):
        yield FetchedTar(rows)


def outcomes(con: duckdb.DuckDBPyConnection, rows: str) -> Outcomes:
    """Sum up the rows of a bucket.

    Args:
        con: knows the relation.
        rows: relation with the columns of ``images``, all that there are of the bucket.
    """
    found = con.execute(f"""
        SELECT failure, http_status, count(*), coalesce(sum(byte_size), 0)::BIGINT FROM {rows} GROUP BY ALL ORDER BY ALL
    """).fetchall()
    by_kind: Counter[str] = Counter()
    for failure, _, urls, _ in found:
        by_kind[failure or "success"] += urls
    hosts = con.execute(f"""
        SELECT regexp_extract(url, '^[a-z]+://(?:[^/@]*@)?([^/:?#]+)', 1) AS host, count(*) AS urls,
               avg((status = 'success')::INT) AS success, mode(failure) AS commonest
        FROM {rows} GROUP BY host ORDER BY urls DESC, host LIMIT {_SHOWN_HOSTS}
    """).fetchall()
    return Outcomes(
        by_kind=by_kind,
        transient=sum(urls for failure, status, urls, _ in found if is_transient(failure, status)),
        bytes=sum(size for *_, size in found),
        hosts=[HostOutcome(*host) for host in hosts],
    )
