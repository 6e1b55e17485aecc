"""A source that asks for a password, lists files twice, and sends error pages in place of files."""

import base64
import gzip
import logging
import re
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.settings import Settings
from laion_assets.tables.needs import RetryOptions
from tests.integration import foreign
from tests.integration.conftest import FolderHandler, build, funnel, rows, serving
from tests.pipeline.conftest import Quiet

pytestmark = pytest.mark.integration

CRAWL = "CC-MAIN-2025-13"
SLOW_DOWN = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code></Error>'
SECRETS = ("geheim", "T0ken", base64.b64encode(b"leser:geheim/wort").decode())


@pytest.fixture
def wats(tmp_path: Path) -> list[Path]:
    """The WAT files of a crawl of two pages in two files."""
    pages = [[(f"http://pages.test/{n}", [foreign.Link(f"/{n}.jpg", f"a picture in file {n}")])] for n in range(2)]
    foreign.write(tmp_path / "source", CRAWL, pages)
    return sorted((tmp_path / "source" / "crawl-data" / CRAWL / "segments" / "wat").iterdir())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (SLOW_DOWN, "XML.*SlowDown"),
        (gzip.compress(SLOW_DOWN), "gzip data that holds XML.*SlowDown"),
        (b"", "an empty file"),
        (b"\x28\xb5\x2f\xfd\x00", "zstd"),
    ],
    ids=["an error of S3", "compressed", "nothing", "zstd"],
)
def test_an_error_page_in_place_of_a_file_fails_its_partition_alone(content, found, wats, lake_settings, tmp_path):
    whole = wats[0].read_bytes()
    wats[0].write_bytes(content)
    settings = lake_settings(tmp_path / "lake", tmp_path / "source", shards=2, buckets=1, retries=RetryOptions(times=0))
    ((table, partition, error),) = build(settings, CRAWL, until="candidate_pairs").failures
    assert (table, partition) == ("candidate_pairs", f"crawl={CRAWL}/shard=0")
    assert str(wats[0]) in error
    assert re.search(found, error)
    assert len(error.splitlines()) == 1
    lake = settings.open_lake()
    assert lake.commit("candidate_pairs", {"crawl": CRAWL, "shard": 0}) is None
    assert rows(lake, "candidate_pairs", CRAWL)["text"].to_list() == ["a picture in file 1"]
    wats[0].write_bytes(whole)
    assert build(settings, CRAWL, until="candidate_pairs").failures == []
    assert rows(lake, "candidate_pairs", CRAWL).height == 2


def test_a_file_that_is_listed_twice_is_read_once_and_the_second_entry_is_counted(wats, lake_settings, tmp_path):
    paths = [str(path.relative_to(tmp_path / "source")) for path in wats]
    entries = [paths[0], f"https://data.commoncrawl.org/{paths[1]}", f"s3://commoncrawl/{paths[0]}"]
    listing = tmp_path / "source" / "crawl-data" / CRAWL / "wat.paths.gz"
    listing.write_bytes(gzip.compress("\r\n".join(entries).encode()))
    settings = lake_settings(tmp_path / "lake", tmp_path / "source")
    assert build(settings, CRAWL, until="candidate_pairs").failures == []
    lake = settings.open_lake()
    assert funnel(lake, "wat_files", CRAWL) == (3, {"listed_twice": 1}, 2)
    assert rows(lake, "wat_files", CRAWL).sort("file_number")["path"].to_list() == paths
    assert rows(lake, "candidate_pairs", CRAWL).height == 2
    assert rows(lake, "crawl_snapshots", CRAWL)["wat_file_count"].to_list() == [2]


class Locked(FolderHandler):
    """Serves a folder to whoever knows the password, or has the token in the query."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if self.headers.get("Authorization") != f"Basic {SECRETS[2]}" and query != "sig=T0ken":
            self.send_error(401)
            return
        self.path = path
        super().do_GET()


@pytest.mark.parametrize(
    "address", ["http://leser:geheim%2Fwort@{}/", "http://leser:geheim/wort@{}", "http://{}?sig=T0ken"]
)
@pytest.mark.parametrize("broken", [False, True], ids=["all is well", "a file is missing"])
def test_credentials_of_a_source_fetch_and_are_kept_nowhere(address, broken, wats, lake_settings, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    if broken:
        wats[1].unlink()
    with serving(partial(Locked, directory=str(tmp_path / "source"))) as port:
        settings: Settings = lake_settings(tmp_path / "lake", address.format(f"127.0.0.1:{port}"))
        with dg.DagsterInstance.ephemeral() as instance:
            outcome = Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=[CRAWL], until="candidate_pairs"))
            told = [repr(outcome), *everything_of(instance), repr(settings)]
    assert len(outcome.failures) == int(broken)
    lake = settings.open_lake()
    (uri,) = rows(lake, "crawl_snapshots", CRAWL)["source_uri"]
    assert uri == f"http://127.0.0.1:{port}"
    assert rows(lake, "candidate_pairs", CRAWL).height == 2 - broken
    resources = build_definitions(settings).get_repository_def().get_top_level_resources()
    shown = str(resources["source"].config_schema.default_value)
    assert uri in shown
    told += [shown, caplog.text]
    told += [path.read_bytes().decode("latin-1") for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    for secret in SECRETS:
        assert not [text[max(0, text.index(secret) - 200) :][:400] for text in told if secret in text]


def everything_of(instance: dg.DagsterInstance) -> list[str]:
    """What Dagster keeps of all runs."""
    runs = instance.get_runs()
    events = [repr(entry) for run in runs for entry in instance.all_logs(run.run_id)]
    return [*events, *map(repr, runs)]
