"""Sources deliver whole files or say why not, whatever the network does."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from laion_assets.sources.address import parse_address, shown
from laion_assets.sources.sources import (
    RetryPolicy,
    Source,
    SourceError,
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


BASIC = "Basic bGVzZXI6Z2VoZWltL3dvcnQ="  # RFC 7617, section 2: base64 of "leser:geheim/wort"
SECRETS = ("geheim", "bGVzZXI6", "T0ken")


@pytest.mark.parametrize(
    ("given", "uri", "user", "password", "query"),
    [
        ("https://leser:geheim@h.test/p/", "https://h.test/p", "leser", "geheim", ""),
        ("https://leser:geheim%2Fwort@h.test", "https://h.test", "leser", "geheim/wort", ""),
        ("https://leser:geheim/wort@h.test/p", "https://h.test/p", "leser", "geheim/wort", ""),
        ("https://leser:geheim?#@h.test/p", "https://h.test/p", "leser", "geheim?#", ""),
        ("https://a@b:geheim@h.test/p@q", "https://h.test/p@q", "a@b", "geheim", ""),
        ("https://T0ken@h.test/p", "https://h.test/p", "T0ken", "", ""),
        ("  HTTPS:\\\\leser:geheim@H.test:443/a/../p", "https://h.test/p", "leser", "geheim", ""),
        ("https:/leser:geheim@h.test", "https://h.test", "leser", "geheim", ""),
        ("http://[::1]:80/p", "http://[::1]/p", "", "", ""),
        ("https://h.test:8080/a@b", "https://h.test:8080/a@b", "", "", ""),
        ("https://h.test/p?X-Amz-Signature=T0ken#f", "https://h.test/p", "", "", "X-Amz-Signature=T0ken"),
        ("https://h.test?sig=T0ken", "https://h.test", "", "", "sig=T0ken"),
        ("s3://AKIA:geheim/+wort@bucket/p", "s3://bucket/p", "AKIA", "geheim/+wort", ""),
        ("s3://bucket/a#b", "s3://bucket/a#b", "", "", ""),
        ("gs://leser:geheim@bucket", "gs://bucket", "leser", "geheim", ""),
        ("/a/folder@home?", "/a/folder@home?", "", "", ""),
    ],
)
def test_an_address_is_taken_apart_into_what_may_be_shown_and_what_may_not(given, uri, user, password, query):
    address = parse_address(given)
    assert (address.uri, address.user, address.password, address.query) == (uri, user, password, query)
    assert shown(given) == uri
    assert not [secret for secret in SECRETS if secret in repr(address)]


@pytest.mark.parametrize(
    "uri",
    [
        "https://leser:geheim@",
        "https://leser:geheim@h.test:port/",
        "https://leser:geheim@h est/",
        "s3://leser:geheim@",
        "s3://bucket?AWS_SECRET_ACCESS_KEY=geheim",
        "gs://leser:geheim@bucket",
        "file://leser:geheim@h.test/x",
        "leser:geheim@h.test/x",
    ],
)
def test_an_address_that_names_no_source_is_refused_without_its_credentials(uri):
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with pytest.raises((ValueError, SourceNotFound)) as raised:
        open_source(uri, s3_client=client)
    assert "geheim" not in "".join(traceback.format_exception(raised.value))


def told_of(error: BaseException) -> str:
    """The error as a log has it, stack trace, causes and all."""
    return "".join(traceback.format_exception(error)) + repr(error)


def redirect(where: str):
    return status(302, Location=where)


@pytest.mark.parametrize(
    "address", ["leser:geheim%2Fwort@{}/base", "leser:geheim/wort@{}/base/", "{}/base?sig=T0ken&t=1"]
)
def test_credentials_are_sent_and_appear_in_no_error_and_no_log(address, serve, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "urllib3.util.retry"):  # some library may have turned them off
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        caplog.set_level(logging.DEBUG, logger=name)
    seen = []

    def noting(step):
        def answer(handler, start):
            seen.append((handler.headers.get("Authorization"), handler.path))
            step(handler, start)

        return answer

    steps = [
        whole,
        status(403),
        status(404),
        status(418),
        status(503),
        cut_after(1000),
        redirect("http://[/?sig=T0ken"),
    ]
    for step in steps:
        mirror, _, _ = serve(noting(step))
        host = mirror.uri.removeprefix("http://").removesuffix("/base")
        source = open_source(f"http://{address.format(host)}", retry=FAST, sleep=lambda _: None)
        assert source.uri == mirror.uri
        if step is whole:
            assert source.read("a file.gz") == CONTENT
            continue
        with pytest.raises(SourceError) as raised:
            source.read("a file.gz")
        assert not [secret for secret in SECRETS if secret in told_of(raised.value)]
        assert f"{mirror.uri}/a%20file.gz" in str(raised.value)
    query = "?sig=T0ken&t=1" if "?" in address else ""
    assert set(seen) == {(None if query else BASIC, f"/base/a%20file.gz{query}")}
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_host_that_does_not_answer_is_told_without_the_credentials(caplog):
    caplog.set_level(logging.DEBUG)
    source = open_source("http://leser:geheim@127.0.0.1:1/p?sig=T0ken", retry=FAST, sleep=lambda _: None)
    with pytest.raises(SourceUnreachable, match="4 attempts") as raised:
        source.open("x")
    assert not [secret for secret in SECRETS if secret in told_of(raised.value) + caplog.text]


def test_credentials_do_not_follow_a_redirect_to_another_host(serve):
    """RFC 9110, section 15.4: who follows a redirect leaves Authorization out where it may be seen by others."""
    seen = []

    def noting(handler, start):
        seen.append(handler.headers.get("Authorization"))
        whole(handler, start)

    other, _, _ = serve(noting)
    mirror, _, _ = serve(redirect(f"{other.uri}/x"))
    source = open_source(mirror.uri.replace("//", "//leser:geheim@"), retry=FAST)
    assert source.read("x") == CONTENT
    assert seen == [None]


@pytest.mark.parametrize("values", [{"attempts": 0}, {"base_delay_seconds": -1}, {"read_timeout_seconds": 0}])
def test_a_policy_that_reads_nothing_is_refused(values):
    with pytest.raises(ValueError, match="found"):
        RetryPolicy(**values)
