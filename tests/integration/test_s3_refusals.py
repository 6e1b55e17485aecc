"""A bucket that answers as S3 does to who may read, and may not list: what is absent is refused, not missing.

Common Crawl's own layout, as the role of ``infra/aws`` finds it: the list of crawls lies on another host.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest
from typer.testing import CliRunner

from laion_assets.cli.main import app
from laion_assets.orchestration.resources import SourceResource
from laion_assets.settings import Settings
from laion_assets.sources import index
from laion_assets.sources.index import count_files, list_crawls, list_files
from laion_assets.sources.sources import (
    RetryPolicy,
    Source,
    SourceError,
    SourceRefused,
    SourceUnreachable,
    open_source,
)
from tests.integration.conftest import serving
from tests.pipeline.conftest import materialise

pytestmark = pytest.mark.integration

WITH_WAT, OLD, NOTHING = "CC-MAIN-2025-13", "CC-MAIN-2009-2010", "CC-MAIN-2099-01"


def listing(crawl: str, kind: str) -> tuple[str, bytes]:
    return f"crawl-data/{crawl}/{kind}.paths.gz", gzip.compress(f"crawl-data/{crawl}/a.{kind}.gz\n".encode())


OBJECTS = dict(listing(crawl, kind) for crawl, kind in ((WITH_WAT, "wat"), (WITH_WAT, "warc"), (OLD, "warc")))
COLLINFO = json.dumps([{"id": WITH_WAT}, {"id": OLD}, {"id": NOTHING}]).encode()


class S3(BaseHTTPRequestHandler):
    """GetObject of one bucket, with S3's own answers.

    ``reader`` may get objects and may not list; nobody else may do anything, and an unknown key id is no credential.
    Without a signature only what is public is read.
    """

    def __init__(self, asked: list[str], public: bool, *arguments: Any) -> None:
        self._asked, self._public = asked, public
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self._asked.append(path)
        signed = re.search(r"Credential=(\w+)/", self.headers.get("Authorization", ""))
        user = signed[1] if signed else "anonymous"
        body = OBJECTS.get(path.removeprefix("/commoncrawl").lstrip("/"))
        if user not in ("reader", "stranger", "anonymous"):
            self._refuse("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        elif body is None or not (user == "reader" or (user == "anonymous" and self._public)):
            self._refuse("AccessDenied", "Access Denied")
        else:
            self._send(200, body, "binary/octet-stream")

    def _refuse(self, code: str, message: str) -> None:
        body = f"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"""
        self._send(403, body.encode(), "application/xml")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Collinfo(BaseHTTPRequestHandler):
    """The host that lists Common Crawl's crawls."""

    def do_GET(self) -> None:
        found = self.path == "/collinfo.json"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(COLLINFO) if found else 0))
        self.end_headers()
        self.wfile.write(COLLINFO if found else b"")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def asked() -> list[str]:
    """The paths that the bucket was asked for."""
    return []


@pytest.fixture
def bucket(asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Source]]:
    """The source s3://commoncrawl as the user with this key id sees it; index.commoncrawl.org is on loopback, too."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    with serving(partial(S3, asked, False)) as port, serving(Collinfo) as other:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(index, "_COLLINFO_OF_COMMON_CRAWL", f"http://127.0.0.1:{other}")

        def opened(user: str) -> Source:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", user)
            return SourceResource(uri="s3://commoncrawl").open(RetryPolicy(attempts=2, base_delay_seconds=0))

        yield opened


def test_crawls_are_listed_where_the_bucket_only_says_that_it_refuses(bucket: Callable[[str], Source]) -> None:
    assert [crawl.crawl for crawl in list_crawls(bucket("reader"))] == [WITH_WAT, OLD, NOTHING]


def test_a_crawl_without_wat_files_has_none_though_their_list_is_refused(bucket: Callable[[str], Source]) -> None:
    source = bucket("reader")
    assert (count_files(source, WITH_WAT, "wat"), count_files(source, OLD, "wat")) == (1, 0)
    assert list_files(source, OLD, "warc") == [f"crawl-data/{OLD}/a.warc.gz"]


def test_a_crawl_of_which_nothing_can_be_read_is_an_error_that_says_both(bucket: Callable[[str], Source]) -> None:
    with pytest.raises(SourceRefused) as error:
        count_files(bucket("reader"), NOTHING, "wat")
    assert str(error.value) == (
        f"s3://commoncrawl/crawl-data/{NOTHING}/wat.paths.gz is refused (AccessDenied, HTTP 403): it is not there, or "
        "may not be read: who may not list a bucket is not told which; check path, credentials and bucket"
    )


def test_who_may_read_nothing_is_told_so_at_the_first_file(bucket: Callable[[str], Source]) -> None:
    source = bucket("stranger")
    assert len(list_crawls(source)) == 3, "that list is public"
    with pytest.raises(SourceRefused, match=r"AccessDenied.*check path, credentials and bucket"):
        count_files(source, WITH_WAT, "wat")


def test_credentials_that_are_wrong_stay_an_error_of_their_own(
    bucket: Callable[[str], Source], asked: list[str]
) -> None:
    source = bucket("nobody")
    for ask in (list_crawls, lambda s: count_files(s, WITH_WAT, "wat")):
        with pytest.raises(SourceUnreachable, match=r"InvalidAccessKeyId, HTTP 403\); check credentials") as error:
            ask(source)
        assert not isinstance(error.value, SourceRefused)
    assert len(asked) == 2, "nothing else was asked for"


def test_a_bucket_of_somebody_else_without_a_list_of_crawls_is_an_error(bucket: Callable[[str], Source]) -> None:
    bucket("reader")
    with pytest.raises(SourceRefused, match=r"s3://mirror/collinfo.json is refused"):
        list_crawls(SourceResource(uri="s3://mirror").open())


def test_a_bucket_behind_http_is_understood_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(partial(S3, [], True)) as port, serving(Collinfo) as other:
        monkeypatch.setattr(index, "_COLLINFO_OF_COMMON_CRAWL", f"http://127.0.0.1:{other}")
        monkeypatch.setattr(index, "_COMMON_CRAWL", frozenset({("http", f"127.0.0.1:{port}")}))
        source = open_source(f"http://127.0.0.1:{port}")
        assert len(list_crawls(source)) == 3
        assert (count_files(source, WITH_WAT, "wat"), count_files(source, OLD, "wat")) == (1, 0)
        with pytest.raises(SourceRefused, match=r"HTTP 403.*not there, or may not be read"):
            list_files(source, NOTHING, "wat")


def test_a_signature_that_is_wrong_is_no_absent_file() -> None:
    class Signed(S3):
        def do_GET(self) -> None:
            self._refuse("SignatureDoesNotMatch", "The request signature we calculated does not match")

    with serving(partial(Signed, [], True)) as port, pytest.raises(SourceError) as error:
        list_files(open_source(f"http://127.0.0.1:{port}/?X-Amz-Signature=s3cr3t"), WITH_WAT, "wat")
    assert not isinstance(error.value, SourceRefused)
    assert "(HTTP 403), SignatureDoesNotMatch" in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_the_first_stages_and_the_command_line_work_with_such_a_role(
    bucket: Callable[[str], Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket("reader")
    (tmp_path / "models" / "models").mkdir(parents=True)
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, lake=str(tmp_path / "lake"), source="s3://commoncrawl", models=str(tmp_path / "models")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        for crawl in (WITH_WAT, OLD):
            assert materialise(settings, instance, "crawl_snapshots", {"crawl": crawl})
        assert materialise(settings, instance, "wat_files", {"crawl": WITH_WAT})
        assert not materialise(settings, instance, "crawl_snapshots", {"crawl": NOTHING})
    listed = settings.open_lake().scan("crawl_snapshots").collect().sort("crawl")
    assert listed.select("crawl", "wat_file_count").rows() == [(OLD, 0), (WITH_WAT, 1)]
    monkeypatch.setenv("LAION_LAKE", settings.lake)
    ran = CliRunner().invoke(app, ["crawls", "--source", "s3://commoncrawl"])
    assert ran.exit_code == 0, ran.output
    assert WITH_WAT in ran.output
