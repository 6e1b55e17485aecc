"""5,000 damaged answers and pictures: each url has one outcome, in bounded time, and no opt-out is overheard."""

import gzip
import hashlib
import os
import re
import resource
import socket
import time
from pathlib import Path

import polars as pl
import pytest

from laion_assets.download import DownloadOptions, Failure
from laion_assets.download.driver import download
from laion_assets.download.fetch import Fetched, Fetcher
from laion_assets.download.guard import Guard
from laion_assets.download.pool import shut_down
from tests.conftest import REPOSITORY
from tests.mutation import inputs
from tests.mutation.mutator import Mutator
from tests.mutation.raw_server import raw_server
from tests.mutation.watch import Watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DATA = Path(os.environ.get("LAION_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
OPTIONS = DownloadOptions(
    allowed_networks=("127.0.0.0/8",),
    timeout_seconds=2,
    deadline_seconds=4,
    retries=1,
    retry_delay_seconds=0,
    max_bytes=1_000_000,
    image_size=64,
    processes=2,
    threads=16,
)
OPT_OUT = b"\r\nX-Robots-Tag: noai\r\n\r\n"
OURS = re.compile(r"(?:Attribute|Key|Index|Type|Name|Assertion|UnicodeDecode|Memory|Recursion|Runtime)Error")


class Loopback(Guard):
    """Lets nothing through but this machine: a damaged redirect may lead anywhere."""

    def permits(self, address: str) -> bool:
        return address == "127.0.0.1"


def no_names(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host == "127.0.0.1":
        return [(socket.AF_INET, host)]
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


def sound(outcome: Fetched) -> None:
    """What holds of every outcome."""
    if outcome.failure is None:
        assert outcome.body
        assert outcome.sha256 == hashlib.sha256(outcome.body).hexdigest()
        assert len(outcome.body) <= OPTIONS.max_bytes
    else:
        assert Failure(outcome.failure)
        assert outcome.body is None
        assert outcome.failure_detail
        assert OURS.match(outcome.failure_detail) is None, outcome.failure_detail


def fetched(fetcher: Fetcher, url: str) -> Fetched:
    """One outcome, in the time that one url may take."""
    started = time.monotonic()
    outcome = fetcher.fetch(url)
    assert time.monotonic() - started < OPTIONS.deadline_seconds + 2
    sound(outcome)
    return outcome


def test_a_damaged_head_is_read_or_refused(record_property):
    """Every other one ends with an opt-out: it is seen, or there is no picture, whatever stands before it."""
    watch = Watch("HTTP heads")
    whole = inputs.answers()
    heads = [answer.partition(b"\r\n\r\n")[0] for answer in whole if b"302" not in answer]
    before_opt_out, anything = Mutator(heads, inputs.HEAD_TOKENS), Mutator(whole, inputs.HEAD_TOKENS)
    body = inputs.picture()
    mutants = [
        before_opt_out.mutant(number) + OPT_OUT + body if number % 2 else anything.mutant(number)
        for number in range(2_000)
    ]
    served = dict(enumerate(mutants))

    def answer(path: str) -> bytes:
        number = path.strip("/").partition("?")[0]
        return served[int(number)] if number.isdigit() and int(number) in served else whole[0]

    with raw_server(answer) as port:
        fetcher = Fetcher(OPTIONS, guard=Loopback(lookup=no_names))
        for number, mutant in enumerate(mutants):
            with watch.over(number, mutant):
                outcome = fetched(fetcher, f"http://127.0.0.1:{port}/{number}")
                redirected = outcome.final_url is None or not outcome.final_url.endswith(f"/{number}")
                assert outcome.failure is not None or number % 2 == 0 or redirected, "an opt-out was not seen"
            watch.ends[str(outcome.failure or "fetched")] += 1
        fetcher.close()
    watch.tell(record_property)


def test_a_damaged_body_is_whole_or_refused(record_property):
    """A body cut short never counts as whole, whatever it is encoded with."""
    watch = Watch("HTTP bodies")
    bodies = inputs.bodies()
    mutator = Mutator(
        [body for _, body in bodies], [b"\x00" * 9, b"\r\n", b"0\r\n\r\n", b"ffffffff\r\n", b"\x1f\x8b\x08\x00"]
    )
    served = []
    for number, mutant in mutator.mutants(1_500):
        header, original = bodies[number % len(bodies)]
        length = b"" if b"chunked" in header or number % 3 == 0 else b"Content-Length: %d\r\n" % len(mutant)
        served.append((original, header, mutant, b"HTTP/1.1 200 OK\r\n" + header + length + b"\r\n" + mutant))
    with raw_server(lambda path: served[int(path.strip("/"))][-1]) as port:
        fetcher = Fetcher(OPTIONS, guard=Loopback(lookup=no_names))
        for number, (original, header, mutant, _) in enumerate(served):
            with watch.over(number, mutant):
                outcome = fetched(fetcher, f"http://127.0.0.1:{port}/{number}")
                if header and mutant != original and original.startswith(mutant) and not _is_whole(header, mutant):
                    assert outcome.failure is not None, "a body cut short is taken for whole"
                if mutant == original:
                    assert outcome.body == bodies[0][1]
                if not header and outcome.failure is None:
                    assert outcome.body == mutant
            watch.ends[str(outcome.failure or "fetched")] += 1
        fetcher.close()
    watch.tell(record_property)


def _is_whole(header: bytes, cut: bytes) -> bool:
    """Whether what was cut off is nothing that its coding needs: a further gzip member, the end of chunks."""
    if b"gzip" in header:
        try:
            return bool(gzip.decompress(cut))
        except (EOFError, OSError):
            return False
    return b"chunked" in header and b"0\r\n" in cut[-6:]


def test_a_damaged_picture_is_stored_or_fails(tmp_path, record_property):
    """Through a build's workers, decoder and tar writer: each url has a row, and a picture where it says so."""
    watch = Watch("pictures")
    tokens = [b"\xff\xda", b"\xff\xd8", b"\xff\xc2", b"IDAT", b"IEND", b"tRNS", b"acTL", b"VP8X", b"ALPH", b"\xff" * 4]
    mutator = Mutator(inputs.pictures(DATA if DATA.is_dir() else None), tokens)
    mutants = {n: inputs.with_its_checksums(mutant) if n % 2 else mutant for n, mutant in mutator.mutants(1_500)}
    head = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with raw_server(lambda path: head.format(len(body := mutants[int(path.strip("/"))])).encode() + body) as port:
        urls = [f"http://127.0.0.1:{port}/{number}" for number in mutants]
        table = pl.DataFrame({"url_id": list(mutants), "url": urls}, schema={"url_id": pl.Int64, "url": pl.String})
        try:
            rows = pl.concat(download(table, output=tmp_path / "images", options=OPTIONS)).sort("url_id")
        finally:
            shut_down()
    assert rows["url"].to_list() == urls
    for row in rows.iter_rows(named=True):
        with watch.over(row["url_id"], mutants[row["url_id"]]):
            assert (row["status"] == "success") == (row["failure"] is None) == (row["shard_path"] is not None)
            assert "lost this url" not in (row["failure_detail"] or ""), row["failure_detail"]
            if row["failure"] is None:
                assert 0 < row["width"] <= OPTIONS.max_image_area
                assert row["sha256"] == hashlib.sha256(mutants[row["url_id"]]).hexdigest()
        watch.ends[row["failure"] or "stored"] += 1
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # which a process that was just forked holds as well
    most = max(before.ru_maxrss, own, 2_000_000)
    assert after.ru_maxrss <= most, f"a worker took {after.ru_maxrss / 1e6:.1f} GB"
    assert after.ru_utime - before.ru_utime < 0.1 * len(mutants), "the workers took too much processor time"
    watch.tell(record_property)
