"""Which failures are worth another try, told by real errors where a real library raises them."""

import errno
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import duckdb
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from deltalake.exceptions import CommitFailedError, DeltaError

from laion_assets.delta.errors import LakeError, PartitionBusy, UpstreamMissing, ValidationFailed
from laion_assets.download.driver import DownloadError
from laion_assets.orchestration.execution.failures import can_pass, told
from laion_assets.orchestration.execution.watch import LimitExceeded
from laion_assets.settings import SettingsError
from laion_assets.sources.sources import (
    RetryPolicy,
    SourceError,
    SourceNotFound,
    SourceUnreachable,
    TransferError,
    open_source,
)
from laion_assets.tables.needs import RetryOptions


def refused(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


PASSING = [
    PartitionBusy("another process is building it"),
    TransferError("it arrived in part only"),
    refused("SlowDown", 503),
    refused("InternalError", 500),
    EndpointConnectionError(endpoint_url="http://x"),
    CommitFailedError("a concurrent transaction"),
    OSError("Generic S3 error: Server returned non-2xx status code: 503 Service Unavailable: SlowDown"),
    DeltaError("Generic S3 error: error sending request for url (http://127.0.0.1:1/x)"),
    ConnectionResetError("reset"),
    TimeoutError("timed out"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    caused(LakeError("the table cannot be read"), refused("SlowDown", 503)),
]
LASTING = [
    ValidationFailed("images", "crawl=a/bucket=0", ()),
    caused(ValidationFailed("images", "crawl=a/bucket=0", ()), TimeoutError()),
    caused(LimitExceeded("too much memory"), ConnectionResetError("its child was killed")),
    UpstreamMissing("nobody built it"),
    SettingsError("wrong"),
    SourceNotFound("no such crawl"),
    refused("AccessDenied", 403),
    refused("NoSuchKey", 404),
    DeltaError("Invalid table: schema mismatch at line 503"),
    KeyError("height"),
    MemoryError(),
    FileNotFoundError(2, "No such file"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda e: f"{type(e).__name__}: {e}"[:60])
def test_what_can_pass(error):
    assert can_pass(error)


@pytest.mark.parametrize("error", LASTING, ids=lambda e: f"{type(e).__name__}: {e}"[:60])
def test_what_would_only_fail_again(error):
    assert not can_pass(error)


@pytest.mark.parametrize(("status", "passing"), [(503, True), (500, True), (429, True), (403, False), (404, False)])
def test_a_source_that_answers_so(status, passing):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}", retry=RetryPolicy(attempts=1))
        with pytest.raises(SourceError) as raised:
            source.read("collinfo.json")
        server.shutdown()
    assert can_pass(raised.value) is passing


def test_a_source_that_is_not_there():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = open_source(f"http://127.0.0.1:{port}", retry=RetryPolicy(attempts=1))
    with pytest.raises(SourceUnreachable) as raised:
        source.read("collinfo.json")
    assert can_pass(raised.value)


def test_dagster_is_told_to_wait_longer_each_time():
    options = RetryOptions(times=4, seconds=10)
    waits = []
    for before in range(3):
        verdict = told(PartitionBusy("busy"), options, before)
        assert isinstance(verdict, dg.RetryRequested)
        assert verdict.max_retries == 4
        waits.append(float(verdict.seconds_to_wait or 0))
    assert 0 <= waits[0] <= 20 <= waits[1] <= 40 <= 60 <= waits[2] <= 80


def test_dagster_is_told_not_to_try_again():
    verdict = told(UpstreamMissing("nobody built it"), RetryOptions(), 0)
    assert isinstance(verdict, dg.Failure)
    assert (verdict.description, verdict.allow_retries) == ("nobody built it", False)


def test_without_tries_nothing_is_tried_again():
    assert isinstance(told(PartitionBusy("busy"), RetryOptions(times=0), 0), dg.Failure)


def test_of_an_error_that_is_not_ours_its_kind_is_told():
    verdict = told(KeyError("height"), RetryOptions(), 0)
    assert isinstance(verdict, dg.Failure)
    assert verdict.description == "KeyError: 'height'"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/scratch/rows.parquet"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        DownloadError("making 00003.tar failed: OSError: [Errno 28] No space left on device; finished tars are kept"),
        duckdb.IOException('IO Error: Could not write file "/scratch/spill/x.tmp": No space left on device'),
        duckdb.OutOfMemoryException("failed to offload data block: see the 'max_temp_directory_size' setting"),
        RuntimeError("Generic LocalFileSystem error: Unable to copy: No space left on device (os error 28)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_is_told_at_once_and_not_tried_again(error):
    told_ = told(error, RetryOptions(times=3), 0)
    assert isinstance(told_, dg.Failure)
    assert not told_.allow_retries
    assert told_.description is not None
    assert told_.description.startswith("the disk is full (")
    assert "what was finished is kept; make room" in told_.description
    assert "\n" not in told_.description
