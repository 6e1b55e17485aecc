"""What hosts say of their pictures, asked by a real fetch of a real server."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from laion_assets.consent.signals import SIGNALS
from laion_assets.download.failures import is_transient
from laion_assets.download.fetch import Fetcher
from laion_assets.download.hosts import DOCUMENTS, Document, HostBook, asked_on, forget_earlier_days
from tests.unit.download.conftest import OPTIONS
from tests.unit.download.loopback_web import Web, picture

JPEG = picture()
ROBOTS, TDMREP, AI_TXT = DOCUMENTS
USAGE_YES, USAGE_NO = ("Content-Usage", "train-ai=y"), ("Content-Usage", "train-ai=n")
NO_TRAINING = b"http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[..., Fetcher]]:
    """Makes fetchers that share what hosts say."""
    made: list[Fetcher] = []

    def make(**options: object) -> Fetcher:
        hosts = HostBook(tmp_path / "hosts", OPTIONS.agent, patience=60)
        made.append(Fetcher(replace(OPTIONS, **options), hosts=hosts))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for fetcher in made:
        fetcher.close()


def tdmrep(value: int) -> bytes:
    return json.dumps([{"location": "/", "tdm-reservation": value}]).encode()


CASES: dict[str, tuple[dict[str, bytes], list[tuple[str, str]], bytes, str | None, bool]] = {
    # what the host says, the answer's headers, the picture, the signal that refuses it, whether it is asked for
    "nothing": ({}, [], JPEG, None, True),
    "robots": ({ROBOTS: b"User-agent: *\nDisallow: /a"}, [], JPEG, "robots_txt", False),
    "robots for others": ({ROBOTS: b"User-agent: other\nDisallow: /"}, [], JPEG, None, True),
    "content usage": ({ROBOTS: b"User-agent: *\nContent-Usage: train-ai=n"}, [], JPEG, "content_usage_robots", False),
    "content signal": ({ROBOTS: b"User-agent: *\nContent-Signal: ai-train=no"}, [], JPEG, "content_signal", False),
    "ai.txt": ({AI_TXT: b"User-agent: *\nDisallow: *.jpg"}, [], JPEG, "ai_txt", False),
    "tdmrep": ({TDMREP: tdmrep(1)}, [], JPEG, "tdmrep_file", True),
    "tdmrep overridden": ({TDMREP: tdmrep(1)}, [("tdm-reservation", "0")], JPEG, None, True),
    "tdm header": ({TDMREP: tdmrep(0)}, [("tdm-reservation", "1"), ("tdm-policy", "/p")], JPEG, "tdm_header", True),
    "usage header": ({}, [USAGE_YES, USAGE_NO], JPEG, "content_usage", True),
    "a yes and a no": ({ROBOTS: b"User-agent: *\nContent-Usage: train-ai=y"}, [USAGE_NO], JPEG, "content_usage", True),
    "x-robots-tag": ({}, [("X-Robots-Tag", "noai")], JPEG, "x_robots_tag", True),
    "data mining": ({}, [], JPEG + NO_TRAINING, "iptc_data_mining", True),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_signal_refuses_a_picture_and_is_kept_as_evidence(
    web: Web, asking: Callable[..., Fetcher], case: str
) -> None:
    documents, headers, body, signal, is_asked = CASES[case]
    for path, content in documents.items():
        web.serve(path, content)
    outcome = asking().fetch(web.serve("/a.jpg", body, *headers))
    assert (outcome.failure, web.requests["/a.jpg"]) == (None if signal is None else "opted_out", int(is_asked))
    assert (outcome.attempts, outcome.body is None) == (int(is_asked), signal is not None)
    forbidding = {said.signal: said for said in outcome.said if said.forbids}
    if signal is None:
        assert forbidding.keys() <= {"tdmrep_file"}
    else:
        assert signal in forbidding
        assert set(forbidding[signal].forbids) <= set(SIGNALS[signal].forbids)
    assert all(web.requests[path] == 1 for path in DOCUMENTS)


def test_a_host_is_asked_once_whoever_asks(web: Web, asking: Callable[..., Fetcher]) -> None:
    """Many urls, in several workers at once, and then others later the same day."""
    urls = [web.serve(f"/{number}.jpg", JPEG) for number in range(40)]
    web.serve(ROBOTS, b"User-agent: *\nDisallow: /7.jpg")

    def work(share: int) -> dict[int, str | None]:
        outcomes = asking().fetch_all(enumerate(urls[share::2]))
        return {share + 2 * number: outcome.failure for number, outcome in outcomes}

    with ThreadPoolExecutor(2) as pool:
        failures = {number: failure for found in pool.map(work, range(2)) for number, failure in found.items()}
    assert {number for number, failure in failures.items() if failure} == {7}
    assert asking().fetch(urls[7]).failure == "opted_out"
    assert {path: web.requests[path] for path in DOCUMENTS} == dict.fromkeys(DOCUMENTS, 1)
    assert web.requests["/7.jpg"] == 0


@pytest.mark.parametrize(("status", "failure"), [(404, None), (403, None), (500, "http_5xx"), (503, "http_5xx")])
def test_a_host_that_has_no_robots_txt_forbids_nothing_and_one_that_is_broken_all(
    web: Web, asking: Callable[..., Fetcher], status: int, failure: str | None
) -> None:
    """RFC 9309, section 2.3.1; a failure that can pass, so that the pictures are asked for another day."""
    web.serve(ROBOTS, b"sorry", status=status)
    url = web.serve("/a.jpg", JPEG)
    for _ in range(2):
        assert asking(retries=0).fetch(url).failure == failure
    assert web.requests[ROBOTS] == 1
    assert (web.requests["/a.jpg"] == 0) == (failure is not None)


def test_a_host_that_hangs_up_is_not_asked_for_its_pictures(web: Web, asking: Callable[..., Fetcher]) -> None:
    web.raw(ROBOTS, b"")
    outcome = asking(retries=0).fetch(web.serve("/a.jpg", JPEG))
    assert (outcome.failure, outcome.attempts) == ("connect", 0)
    assert "robots.txt" in str(outcome.failure_detail)
    assert web.requests["/a.jpg"] == web.requests[TDMREP] == 0


def test_robots_txt_is_followed_through_redirects_and_so_are_pictures(web: Web, asking: Callable[..., Fetcher]) -> None:
    web.redirect(ROBOTS, "/elsewhere.txt")
    web.serve("/elsewhere.txt", b"User-agent: *\nDisallow: /secret")
    web.serve("/secret.jpg", JPEG)
    outcome = asking().fetch(web.redirect("/open.jpg", "/secret.jpg"))
    assert outcome.failure == "opted_out"
    assert "redirect to" in str(outcome.failure_detail)
    assert (web.requests["/open.jpg"], web.requests["/secret.jpg"]) == (1, 0)


def test_somebody_who_died_while_asking_is_not_waited_for(tmp_path: Path) -> None:
    first, second = (HostBook(tmp_path, "agent", patience=30) for _ in range(2))
    assert first.begin("http://h")
    assert not second.begin("http://h")
    [asked] = tmp_path.rglob("*.asked")
    os.utime(asked, (0, 0))
    assert second.begin("http://h")
    assert not first.begin("http://h"), "the other has just begun"


def test_what_was_said_holds_for_its_day(tmp_path: Path) -> None:
    day = date(2026, 11, 30)
    book = HostBook(tmp_path, "agent", 30, today=lambda: day)
    book.put("http://h", {ROBOTS: Document(200, b"User-agent: *\nDisallow: /\xff")})
    again = HostBook(tmp_path, "agent", 30, today=lambda: day)
    says = again.get("http://h")
    assert says is not None
    assert says.said("http://h/a.jpg") == [], "a path of other bytes"
    assert (asked_on(tmp_path, day), asked_on(tmp_path, date(2026, 11, 29))) == (1, 0)
    day = date(2026, 12, 1)
    assert again.get("http://h") is None
    assert again.begin("http://h")


def test_a_torn_answer_is_no_answer(tmp_path: Path) -> None:
    book = HostBook(tmp_path, "agent", 30)
    book.put("http://h", {ROBOTS: Document(404)})
    [written] = tmp_path.rglob("*.json")
    whole = written.read_bytes()
    others = [b"[]", b'{"documents": {"/robots.txt": {"status": 1, "body": "", "more": 2}}}', b'{"documents": []}']
    for content in (*(whole[:length] for length in range(0, len(whole), 7)), *others):
        written.write_bytes(content)
        again = HostBook(tmp_path, "agent", 30)
        assert again.get("http://h") is None
        assert again.begin("http://h"), "it is asked anew"


def test_days_long_gone_are_removed(tmp_path: Path) -> None:
    for name in ("2020-01-01", "9999-01-01", "other"):
        (tmp_path / name).mkdir()
    forget_earlier_days(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["9999-01-01", "other"]


def test_long_documents_are_not_kept_in_memory_by_the_thousand(tmp_path: Path) -> None:
    book = HostBook(tmp_path, "agent", 30)
    text = b"User-agent: *\nDisallow: /a\n" + b"#" * 400_000
    for number in range(60):
        book.put(f"http://h{number}", {ROBOTS: Document(200, text)})
    assert sum(says.bytes for says in book._known.values()) <= 16 * 1024**2
    assert all((says := book.get(f"http://h{number}")) and says.said("http://h/a") for number in range(60))


@pytest.mark.parametrize("status", [429, 500])
def test_a_host_that_cannot_answer_for_now_loses_no_picture_for_good(
    web: Web, asking: Callable[..., Fetcher], status: int
) -> None:
    web.serve(ROBOTS, b"", status=status)
    outcome = asking(retries=0).fetch(web.serve("/a.jpg", JPEG))
    assert is_transient(outcome.failure, outcome.http_status)


def test_a_robots_txt_that_leads_to_a_dead_host_is_not_one_that_allows_all(
    web: Web, asking: Callable[..., Fetcher]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    web.redirect(ROBOTS, f"http://127.0.0.1:{port}/robots.txt")
    outcome = asking(retries=0).fetch(web.serve("/a.jpg", JPEG))
    assert (outcome.failure, web.requests["/a.jpg"]) == ("connect", 0)


def test_a_robots_txt_that_leads_round_and_round_forbids_nothing(web: Web, asking: Callable[..., Fetcher]) -> None:
    web.redirect(ROBOTS, ROBOTS)
    assert asking(retries=0).fetch(web.serve("/a.jpg", JPEG)).failure is None


def test_ai_txt_is_asked_for_though_another_document_cannot_be_had(web: Web, asking: Callable[..., Fetcher]) -> None:
    web.raw(TDMREP, b"")
    web.serve(AI_TXT, b"User-agent: *\nDisallow: /")
    assert asking(retries=0).fetch(web.serve("/a.jpg", JPEG)).failure == "opted_out"


def test_a_folder_that_holds_nothing_loses_no_picture_for_good(web: Web, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("no folder")
    fetcher = Fetcher(OPTIONS, hosts=HostBook(tmp_path / "hosts", OPTIONS.agent, patience=60))
    outcome = fetcher.fetch(web.serve("/a.jpg", JPEG))
    fetcher.close()
    assert is_transient(outcome.failure, outcome.http_status)
    assert "cannot be kept" in str(outcome.failure_detail)


def test_a_host_that_is_not_obeyed_need_not_answer(web: Web, tmp_path: Path) -> None:
    web.serve(ROBOTS, b"", status=500)
    hosts = HostBook(tmp_path / "hosts", OPTIONS.agent, patience=60)
    fetcher = Fetcher(replace(OPTIONS, retries=0), hosts=hosts, obeyed=("x_robots_tag",))
    assert fetcher.fetch(web.serve("/a.jpg", JPEG)).failure is None
    fetcher.close()
