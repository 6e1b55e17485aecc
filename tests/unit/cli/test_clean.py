"""``laion clean``: what it shows, and what it ends with."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laion_assets.cli.common import UsageError
from laion_assets.cli.main import app
from tests.unit.release.cleaning.copies import contents, laion_list, pairs
from tests.unit.release.cleaning.test_clean import feed_of

ROWS = pairs(9)
FEED = feed_of(("url", ROWS[4].url)).content


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    laion_list(tmp_path / "copy/data/a.parquet", ROWS)
    (tmp_path / "removals.jsonl").write_bytes(FEED)
    return tmp_path / "copy"


def laion_clean(*arguments: str | Path) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["clean", *map(str, arguments)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, ran.output


def test_it_says_first_what_would_go_and_then_what_went(copy: Path) -> None:
    before = contents(copy)
    feed = copy.parent / "removals.jsonl"
    code, said = laion_clean(copy, "--feed", feed, "--dry-run")
    assert (code, contents(copy)) == (0, before)
    assert "rows to remove" in said
    assert "data/a.parquet" in said
    code, said = laion_clean(copy, "--feed", feed)
    assert code == 0
    assert "rows removed" in said
    assert "removals-receipt.json says what was done" in said
    assert laion_clean(copy, "--feed", feed)[1].splitlines()[1] == "nothing in it is listed"


def test_what_it_does_not_understand_is_named_and_the_exit_code_says_so(copy: Path) -> None:
    (copy / "vectors.index").write_bytes(b"IxF2")
    code, said = laion_clean(copy, "--feed", copy.parent / "removals.jsonl")
    assert code == 1
    assert "vectors.index: an index of vectors: build it again" in said


@pytest.fixture
def address() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/removals.jsonl" else 404)
            self.end_headers()
            self.wfile.write(FEED)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_feed_is_taken_from_where_it_is_published(copy: Path, address: str) -> None:
    assert "data/a.parquet" in laion_clean(copy, "--feed", f"{address}/removals.jsonl")[1]
    with pytest.raises(UsageError, match="the server answered 404"):
        laion_clean(copy, "--feed", f"{address}/other")


def test_what_is_no_feed_or_no_copy_is_one_line(copy: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder of this machine, found s3://bucket/copy"):
        laion_clean("s3://bucket/copy", "--feed", copy.parent / "removals.jsonl")
    with pytest.raises(UsageError, match="absent: the feed cannot be read: No such file"):
        laion_clean(copy, "--feed", "absent")
    with pytest.raises(UsageError, match="the feed is cut off"):
        laion_clean(copy, "--feed", copy / "data/a.parquet")
