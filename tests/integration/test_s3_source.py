"""A crawl in a bucket, read through a real S3 server."""

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import IncompleteReadError
from moto.server import ThreadedMotoServer

from laion_assets.orchestration.resources import SourceResource
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions, extract
from laion_assets.sources.index import list_crawls, list_files
from laion_assets.sources.sources import RetryPolicy, SourceNotFound, SourceUnreachable, TransferError, open_source

pytestmark = pytest.mark.integration

CONTENT = bytes(range(256)) * 4096
FAST = RetryPolicy(attempts=3, base_delay_seconds=0.1)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.create_bucket(Bucket="crawls")
    client.put_object(Bucket="crawls", Key="mirror/blob", Body=CONTENT)
    yield client
    server.stop()


class BreakingClient:
    """The client, but the bodies it hands out break after some bytes."""

    def __init__(self, client: Any, *limits: int) -> None:
        self._client = client
        self._limits = list(limits)
        self.requests: list[dict[str, Any]] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        answer = self._client.get_object(**request)
        if self._limits:
            answer["Body"] = BreakingBody(answer["Body"].read(self._limits.pop(0)))
        return answer


class BreakingBody(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
        return data


def test_objects_are_streamed_from_anywhere(client):
    source = open_source("s3://crawls/mirror/", s3_client=client)
    assert source.uri == "s3://crawls/mirror"
    assert source.read("blob") == CONTENT
    with source.open("blob", offset=1000) as stream:
        assert stream.read(10) == CONTENT[1000:1010]
        assert stream.read() == CONTENT[1010:]
    with source.open("blob", offset=len(CONTENT)) as stream:
        assert stream.read() == b""


def test_a_broken_stream_is_resumed_where_it_broke(client):
    breaking = BreakingClient(client, 300_000, 200_000)
    waits: list[float] = []
    source = open_source("s3://crawls", s3_client=breaking, retry=FAST, sleep=waits.append)
    assert source.read("mirror/blob") == CONTENT
    assert [request.get("Range") for request in breaking.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert len({request.get("IfMatch") for request in breaking.requests[1:]}) == 1
    assert len(waits) == 2


def test_a_stream_that_keeps_breaking_is_an_error(client):
    source = open_source("s3://crawls", s3_client=BreakingClient(client, *[10] * 9), retry=FAST, sleep=lambda _: None)
    with pytest.raises(TransferError, match="3 attempts"):
        source.read("mirror/blob")


def test_an_object_that_changes_under_the_reader_is_an_error(client):
    client.put_object(Bucket="crawls", Key="changing", Body=CONTENT)
    source = open_source("s3://crawls", s3_client=BreakingClient(client, 1000), retry=FAST, sleep=lambda _: None)
    with source.open("changing") as stream:
        stream.read(1000)
        client.put_object(Bucket="crawls", Key="changing", Body=CONTENT[::-1])
        with pytest.raises(TransferError, match="changed while it was read"):
            stream.read()


def test_what_is_missing_or_refused_is_said_plainly(client):
    for uri in ("s3://crawls/mirror", "s3://no-such-bucket"):
        with pytest.raises(SourceNotFound, match="does not exist"):
            open_source(uri, s3_client=client, retry=FAST).read("missing")
    nowhere = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(SourceUnreachable, match="3 attempts"):
        open_source("s3://crawls", s3_client=nowhere, retry=FAST, sleep=lambda _: None).read("x")


def test_a_crawl_is_read_from_its_bucket(client):
    links = [{"path": "IMG@/src", "url": "/a.jpg", "alt": "a red circle"}]
    envelope = {
        "Envelope": {
            "Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": {"Links": links}}},
            "WARC-Header-Metadata": {"WARC-Target-URI": "http://pages.test/"},
        }
    }
    payload = json.dumps(envelope).encode()
    record = b"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (len(payload), payload)
    wat = gzip.compress(record) * 3
    for key, body in {
        "collinfo.json": json.dumps([{"id": "CC-MAIN-2024-10"}]).encode(),
        "crawl-data/CC-MAIN-2024-10/wat.paths.gz": gzip.compress(b"crawl-data/CC-MAIN-2024-10/x.warc.wat.gz\n"),
        "crawl-data/CC-MAIN-2024-10/x.warc.wat.gz": wat,
    }.items():
        client.put_object(Bucket="crawls", Key=key, Body=body)
    source = open_source(
        "s3://crawls", s3_client=BreakingClient(client, 99999, 99999, 50), retry=FAST, sleep=lambda _: None
    )
    crawl = list_crawls(source)[0].crawl
    (path,) = list_files(source, crawl, "wat")
    counts = ExtractionCounts()
    (rows,) = extract(source, path, format="wat", options=ExtractionOptions(), counts=counts)
    assert rows["url"].to_list() == ["http://pages.test/a.jpg"] * 3
    assert counts.balanced


def test_the_dagster_resource_takes_its_client_from_the_environment(client, monkeypatch):
    collinfo = json.dumps([{"id": "CC-MAIN-2026-04", "name": "January 2026 Index"}]).encode()
    client.put_object(Bucket="crawls", Key="collinfo.json", Body=collinfo)
    monkeypatch.setenv("AWS_ENDPOINT_URL", client.meta.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    source = SourceResource(uri="s3://crawls").open()
    assert [crawl.crawl for crawl in list_crawls(source)] == ["CC-MAIN-2026-04"]
