"""Sources deliver whole files or say why not, whatever the network does."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from laion_assets.crawl.sources import (
    RetryPolicy,
    Source,
    SourceNotFound,
    SourceUnreachable,
    TransferError,
    open_source,
)

CONTENT = bytes(range(256)) * 4096  # 1 MiB
FAST = RetryPolicy(
    attempts=4, base_delay_seconds=0.5, max_delay_seconds=8, connect_timeout_seconds=60, read_timeout_seconds=60
)


@dataclass
class Script:
    """How the server answers, request by request; the last step repeats."""

    steps: list[Callable[[BaseHTTPRequestHandler, int], None]]
    ranges: list[str | None] = field(default_factory=list)


def whole(handler, start):
    send(handler, start, CONTENT[start:])


def cut_after(count: int):
    """Announces everything that is left and closes the connection early."""
    return lambda handler, start: send(handler, start, CONTENT[start : start + count], announced=len(CONTENT) - start)


def status(code: int, **headers: str):
    def answer(handler, start):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def without_ranges(count: int | None = None):
    return lambda handler, start: send(handler, 0, CONTENT[:count], announced=len(CONTENT))


def changed(handler, start):
    send(handler, start, CONTENT[start:], etag='"other"')


def send(
    handler, start: int, body: bytes, *, announced: int | None = None, etag: str = '"one"', keep: bool = False
) -> None:
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", etag)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(len(body) if announced is None else announced))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = not keep


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Source, Script, list[float]]]]:
    servers = []

    def start(*steps, **policy) -> tuple[Source, Script, list[float]]:
        script = Script(list(steps))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                wanted = self.headers.get("Range")
                script.ranges.append(wanted)
                step = script.steps.pop(0) if len(script.steps) > 1 else script.steps[0]
                step(self, int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        waits: list[float] = []
        source = open_source(f"http://127.0.0.1:{server.server_port}/base/", retry=FAST, sleep=waits.append)
        return source, script, waits

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_file_is_streamed_and_read_whole(serve):
    source, _, waits = serve(whole)
    with source.open("a file.gz") as stream:
        assert stream.read(10) == CONTENT[:10]
        assert stream.tell() == 10
        assert stream.read() == CONTENT[10:]
        assert stream.read(5) == b""
    assert source.read("x") == CONTENT
    assert waits == []


def test_a_connection_that_the_server_gives_up_between_two_files_is_no_failure(serve):
    """As servers do with what they kept open: the next request finds the connection closed, and gets no answer."""
    met = set()

    def once(handler, start):
        handler.close_connection = handler.client_address in met
        if not handler.close_connection:
            met.add(handler.client_address)
            send(handler, start, CONTENT[start:], keep=True)

    source, script, waits = serve(once)
    for _ in range(3):
        assert source.read("x") == CONTENT
    assert (len(script.ranges), waits) == (3, [])


def test_reading_can_begin_anywhere(serve):
    source, script, _ = serve(whole)
    with source.open("x", offset=1000) as stream:
        assert stream.tell() == 1000
        assert stream.read() == CONTENT[1000:]
    assert script.ranges == ["bytes=1000-"]


def test_a_short_transfer_is_resumed_where_it_broke(serve):
    source, script, waits = serve(cut_after(300_000), cut_after(300_000), whole)
    assert source.read("x") == CONTENT
    assert script.ranges == [None, "bytes=300000-", "bytes=600000-"]
    assert len(waits) == 2


def test_a_server_without_ranges_is_read_again_from_the_start(serve):
    source, _, _ = serve(without_ranges(400_000), without_ranges())
    assert source.read("x") == CONTENT


def test_busy_servers_are_tried_again_as_patiently_as_they_ask(serve):
    source, script, waits = serve(status(503, Retry_After="7"), status(429, Retry_After="999"), status(500), whole)
    assert source.read("x") == CONTENT
    assert len(script.ranges) == 4
    assert waits[0] == 7
    assert waits[1] == FAST.max_delay_seconds
    assert 0 <= waits[2] <= 2.0


def test_a_transfer_that_never_comes_to_its_end_is_an_error(serve):
    source, script, _ = serve(cut_after(1000))
    with source.open("x") as stream, pytest.raises(TransferError, match=r"4 attempts.*in part only"):
        stream.read()
    assert len(script.ranges) == FAST.attempts


def test_a_file_that_changes_under_the_reader_is_an_error(serve):
    source, _, _ = serve(cut_after(1000), changed)
    with pytest.raises(TransferError, match="changed while it was read"):
        source.read("x")


@pytest.mark.parametrize(
    ("code", "error", "requests"),
    [(404, SourceNotFound, 1), (403, SourceUnreachable, 1), (503, SourceUnreachable, FAST.attempts)],
)
def test_refusals_are_told_apart(code, error, requests, serve):
    source, script, _ = serve(status(code))
    with pytest.raises(error, match=str(code)):
        source.open("x")
    assert len(script.ranges) == requests


def test_a_host_that_does_not_answer_is_unreachable():
    source = open_source("http://127.0.0.1:1", retry=FAST, sleep=lambda _: None)
    with pytest.raises(SourceUnreachable, match="4 attempts"):
        source.open("x")


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_a_folder_is_a_source(form, tmp_path):
    (tmp_path / "crawl data").mkdir()
    (tmp_path / "crawl data" / "x").write_bytes(CONTENT)
    source = open_source(form.format(tmp_path))
    assert source.uri == str(tmp_path)
    assert source.read("crawl data/x") == CONTENT
    with source.open("crawl data/x", offset=7) as stream:
        assert (stream.read(3), stream.tell()) == (CONTENT[7:10], 10)


@pytest.mark.parametrize("path", ["missing", ".", "../outside", "/etc/hostname", "x/y", "nul\0"])
def test_a_folder_gives_its_own_files_only(path, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "root" / "x").write_text("here")
    with pytest.raises(SourceNotFound):
        open_source(str(tmp_path / "root")).open(path)


@pytest.mark.parametrize("uri", ["gopher://x/y", "file://host/x"])
def test_other_addresses_are_refused(uri):
    with pytest.raises(ValueError, match="found"):
        open_source(uri)


def test_a_missing_folder_or_client_is_said_plainly(tmp_path):
    with pytest.raises(SourceNotFound, match="does not exist"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="s3_client"):
        open_source("s3://commoncrawl")


@pytest.mark.parametrize("values", [{"attempts": 0}, {"base_delay_seconds": -1}, {"read_timeout_seconds": 0}])
def test_a_policy_that_reads_nothing_is_refused(values):
    with pytest.raises(ValueError, match="found"):
        RetryPolicy(**values)
