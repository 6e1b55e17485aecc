"""Lists in a bucket and on the web, read through real servers: whole folders, row groups by ranges, changes told."""

import gzip
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.describe import describe, ensure_same
from laion_assets.sources.lists.errors import ListChanged
from laion_assets.sources.lists.find import find_files
from laion_assets.sources.lists.pieces import ImportedList
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import RetryPolicy, Source, SourceNotFound, SourceUnreachable, open_source

pytestmark = pytest.mark.integration

FAST = RetryPolicy(attempts=2, base_delay_seconds=0.1)
FRAME = pl.DataFrame(
    {
        "url": [f"https://a.example/{n}.jpg" for n in range(30_000)],
        "caption": [f"a caption of some length, number {n}" for n in range(30_000)],
        "ballast": [f"{n * 7919 % 100_003:099}" for n in range(30_000)],
    }
)


def parquet() -> bytes:
    import io

    sink = io.BytesIO()
    FRAME.write_parquet(sink, row_group_size=10_000, compression="uncompressed")
    return sink.getvalue()


CONTENT = {
    "lists/part 0.parquet": parquet(),
    "lists/part-1.csv.gz": gzip.compress(FRAME.head(10).write_csv().encode()),
    "lists/_SUCCESS": b"",
    "lists/readme.txt": b"no list",
}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip
    client.create_bucket(Bucket="them")
    for name, body in CONTENT.items():
        client.put_object(Bucket="them", Key=name, Body=body)
    yield client
    server.stop()


@pytest.fixture(scope="module")
def web() -> Iterator[tuple[str, list[int]]]:
    """The address of the same files on a server that knows ranges, and how many bytes each answer had."""
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = CONTENT.get(self.path.lstrip("/").replace("%20", " "))
            if body is None:
                self.send_error(404)
                return
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.send_header("ETag", f'"{len(body)}"')
            self.end_headers()
            try:
                sent.append(0)
                for at in range(start, len(body), 1 << 16):
                    sent[-1] += self.wfile.write(body[at : at + (1 << 16)])
            except OSError:  # the reader has had enough
                return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()


def opener(client: Any) -> Callable[[str], Source]:
    return lambda uri: open_source(uri, s3_client=client, retry=FAST)


def pairs(files: Files, uri: str) -> pl.DataFrame:
    about = describe(files, uri, {})
    pieces = ImportedList(files, uri, about.columns.taken, about.rows)
    frames = [
        frame
        for first, count in pieces.units()
        for frame in pieces.pairs(first, count, ExtractionOptions(), ExtractionCounts())
    ]
    return pl.concat(frames)


def test_a_folder_of_a_bucket_is_read(client: Any) -> None:
    files = Files(opener(client))
    for given in ("s3://them/lists/", "s3://them/lists", "s3://them/lists/part*"):
        found = find_files([given], s3_client=lambda: client)
        assert found == ["s3://them/lists/part 0.parquet", "s3://them/lists/part-1.csv.gz"], given
    whole, small = (pairs(files, uri) for uri in found)
    assert whole["url"].to_list() == FRAME["url"].to_list()
    assert small["text"].to_list() == FRAME["caption"].head(10).to_list()
    with pytest.raises(SourceNotFound, match="s3://them/nothing holds no list"):
        find_files(["s3://them/nothing/"], s3_client=lambda: client)
    with pytest.raises(SourceUnreachable, match=r"s3://nobody cannot be listed: .*NoSuchBucket"):
        find_files(["s3://nobody/"], s3_client=lambda: client)


def test_a_list_of_the_web_is_read_by_ranges(client: Any, web: tuple[str, list[int]]) -> None:
    address, sent = web
    uri = f"{address}/lists/part%200.parquet"
    files = Files(opener(client))
    [found] = find_files([uri], s3_client=lambda: client)
    about = describe(files, found, {})
    assert (about.rows, about.row_groups, about.stamp.bytes) == (30_000, 3, len(CONTENT["lists/part 0.parquet"]))
    sent.clear()
    pieces = ImportedList(files, found, about.columns.taken, about.rows)
    [frame] = pieces.pairs(10_000, 10_000, ExtractionOptions(), ExtractionCounts())
    assert frame["row_number"].to_list() == list(range(10_000, 20_000))
    assert pairs(files, f"{address}/lists/part-1.csv.gz").height == 10
    with pytest.raises(SourceNotFound, match="does not exist"):
        describe(files, f"{address}/lists/gone.csv", {})


def test_an_object_that_was_replaced_is_told(client: Any) -> None:
    files, uri = Files(opener(client)), "s3://them/moving.csv"

    def put(text: str) -> None:
        client.put_object(Bucket="them", Key="moving.csv", Body=f"url,text\nhttps://a.example/1.jpg,{text}\n".encode())

    put("one text")
    then = describe(files, uri, {})
    known = {"bytes": then.stamp.bytes, "stamp": then.stamp.mark, "sha256": then.sha256, "again": "laion import x"}
    assert then.stamp.mark
    ensure_same(files, uri, **known)
    put("two text")
    with pytest.raises(ListChanged, match="its bytes are others"):
        ensure_same(files, uri, **known)
