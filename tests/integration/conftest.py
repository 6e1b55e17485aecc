"""Whole crawls, built as Dagster runs in the test's own process, and a loopback server for what they link to."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from laion_assets.clip.options import EncoderOptions
from laion_assets.delta.flow import partitions_of
from laion_assets.delta.lake import Lake
from laion_assets.download.options import DownloadOptions
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.pairs.policy import FilterOptions
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import ALWAYS
from tests.pipeline.conftest import Quiet, encoder

__all__ = ["encoder"]


@pytest.fixture(scope="session")
def lake_settings(encoder: EncoderOptions) -> Callable[..., Settings]:
    """Settings of a lake at a path, of a source, that may fetch from loopback and keeps every embedded pair."""

    def make(lake: Path, source: Path | str, **changes: Any) -> Settings:
        download = DownloadOptions(
            allowed_networks=("127.0.0.0/8", "::1/128"),
            timeout_seconds=20,
            deadline_seconds=40,
            retries=0,
            connections_per_host=64,
        )
        defaults: dict[str, Any] = {
            "shards": 2,
            "buckets": 2,
            "download": download,
            "encoder": encoder,
            "filter": FilterOptions(policy="none"),
        }
        return Settings(_env_file=None, lake=str(lake), source=str(source), **defaults | changes)  # type: ignore[call-arg]

    return make


def build(settings: Settings, *crawls: str, **request: Any) -> Outcome:
    """Build crawls, as `laion build` does."""
    with dg.DagsterInstance.ephemeral() as instance:
        return Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=crawls, **request))


def rows(lake: Lake, table: str, crawl: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows of one crawl."""
    if not lake.exists(table):
        return pl.DataFrame()
    found = lake.scan(table).filter(crawl=crawl).collect()
    return found.select(columns) if columns else found


def funnel(lake: Lake, table: str, crawl: str) -> tuple[int, dict[str, int], int]:
    """Rows in, drops by reason, and rows out of all partitions of one crawl, as their commits have it."""
    commits = [lake.commit(table, partition) for partition in partitions_of(lake, table, crawl)]
    assert all(commits), f"{table} is not built"
    drops: dict[str, int] = {}
    for commit in commits:
        for reason, count in commit.drops.items():  # type: ignore[union-attr]
            drops[reason] = drops.get(reason, 0) + count
    return sum(c.rows_in for c in commits if c), drops, sum(c.rows for c in commits if c)


def assert_conserved(lake: Lake, crawl: str) -> None:
    """Every row of every table of a crawl is there, or dropped under a name; stages join without a gap."""
    for table in ALWAYS:
        rows_in, drops, rows_out = funnel(lake, table, crawl)
        assert rows_in == rows_out + sum(drops.values()), table
        assert rows(lake, table, crawl).height == rows_out, table
    unique = funnel(lake, "unique_pairs", crawl)[2]
    assert funnel(lake, "unique_pairs", crawl)[0] == funnel(lake, "candidate_pairs", crawl)[2]
    assert funnel(lake, "clip_embeddings", crawl)[0] == unique
    assert funnel(lake, "filtered_pairs", crawl)[0] == unique


class _Server(ThreadingHTTPServer):
    # As many as may connect at once: with the five of the standard library connections are dropped, and a client
    # waits ever longer before it tries again.
    request_queue_size = 1024


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    """A threaded server on loopback; gives its port."""
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class FolderHandler(SimpleHTTPRequestHandler):
    """Serves the files of its folder, in silence."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


def folder_handler(folder: Path) -> Callable[..., BaseHTTPRequestHandler]:
    """A handler that serves the files of a folder."""
    return partial(FolderHandler, directory=str(folder))
