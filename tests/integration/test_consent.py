"""A crawl in which everybody says no in another way: by page, host, answer, within the picture, on a list, by request.

Every row's decision and its evidence are as the specifications have it, nobody who said no is asked for a picture
twice, and nobody at all whose no was known before.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from laion_assets.delta.lake import Lake
from laion_assets.download.hosts import DOCUMENTS
from laion_assets.settings import Settings
from laion_assets.sql.session import connect
from tests.integration import foreign
from tests.integration.conftest import build, funnel, rows, serving
from tests.unit.consent.test_embedded import signed, xmp
from tests.unit.download.loopback_web import picture

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CRAWL = "CC-MAIN-2025-13"
ROBOTS, TDMREP, AI_TXT = DOCUMENTS


@dataclass(frozen=True)
class Case:
    """One way to say no, or yes, and what must become of the picture."""

    signal: str | None
    """By which it must be refused; None: it must be taken."""
    page: tuple[tuple[str, str], ...] = ()
    """Headers of the page that shows it."""
    meta: tuple[tuple[str, str], ...] = ()
    """Meta elements of that page."""
    host: dict[str, bytes | int] = field(default_factory=dict)
    """Documents of its host, or the statuses that it answers with."""
    answer: tuple[tuple[str, str], ...] = ()
    """Headers of the picture's answer."""
    body: Callable[[], bytes] | None = None
    """The picture; None: one without a word."""
    failure: str | None = "opted_out"
    """What became of it, where it was refused after it was found; None: it is not even a row of ``images``."""
    asked: int = 0
    """How often it may be asked for."""
    said: tuple[str, ...] = ()
    """Explicit yeses that are kept as evidence."""


OVER = ("X-Robots-Tag", "unavailable_after: 25 Jun 2020 15:00:00 GMT")


def by_page(signal: str | None, *page: tuple[str, str], meta: tuple[tuple[str, str], ...] = (), **more: Any) -> Case:
    taken = signal is None
    return Case(signal, page=page, meta=meta, failure=None, asked=int(taken), **more)


def by_host(signal: str | None, host: dict[str, bytes | int], **more: Any) -> Case:
    return Case(signal, host=host, **{"asked": int(signal is None), **more})


def by_answer(signal: str | None, *answer: tuple[str, str], **more: Any) -> Case:
    return Case(signal, answer=answer, asked=1, **more)


def tdmrep(value: int) -> bytes:
    return json.dumps([{"location": "/", "tdm-reservation": value, "tdm-policy": "https://p.example/tdm"}]).encode()


def claiming(owner: str) -> Callable[[], bytes]:
    return lambda: signed(f"{owner}.training-mining", {f"{owner}.ai_training": {"use": "notAllowed"}})


def mining(term: str, **options: Any) -> Callable[[], bytes]:
    return lambda: picture(xmp=xmp(f"http://ns.useplus.org/ldf/vocab/DMI-{term}"), **options)


CASES = {
    "page: x-robots-tag noai": by_page("x_robots_page", ("X-Robots-Tag", "noai")),
    "page: x-robots-tag noimageai": by_page("x_robots_page", ("x-robots-tag", "index, NoImageAI")),
    "page: x-robots-tag of others": by_page(None, ("X-Robots-Tag", "otherbot: noai")),
    "page: tdm-reservation": by_page("tdm_header_page", ("tdm-reservation", "1"), ("tdm-policy", "https://p/")),
    "page: content-usage": by_page("content_usage_page", ("Content-Usage", "train-ai=n, search=y")),
    "page: meta robots noai": by_page("meta_robots", meta=(("robots", "noai, noimageai"),)),
    "page: meta robots noml": by_page("meta_robots", meta=(("ROBOTS", "NOML"),)),
    "page: meta by our name": by_page("meta_robots", meta=(("laion-lakehouse", "noai"),)),
    "page: meta tdm-reservation": by_page("tdm_meta", meta=(("tdm-reservation", "1"),)),
    "page: header overridden by meta": by_page(None, ("tdm-reservation", "1"), meta=(("tdm-reservation", "0"),)),
    "host: robots.txt": by_host("robots_txt", {ROBOTS: b"User-agent: *\nDisallow: /"}),
    "host: robots.txt by path": by_host("robots_txt", {ROBOTS: b"User-agent: *\nDisallow: /*.jpg$\nAllow: /$"}),
    "host: robots.txt by our name": by_host(
        "robots_txt", {ROBOTS: b"User-agent: *\nAllow: /\n\nUser-agent: laion-lakehouse\nDisallow: /"}
    ),
    "host: robots.txt for others": by_host(None, {ROBOTS: b"User-agent: other\nDisallow: /"}),
    "host: robots.txt unreachable": by_host("robots_txt", {ROBOTS: 503}, failure="http_5xx"),
    "host: robots.txt forbidden": by_host(None, {ROBOTS: 403}),
    "host: content-usage": by_host("content_usage_robots", {ROBOTS: b"User-agent: *\nContent-Usage: train-ai=n"}),
    "host: content-usage by path": by_host(
        "content_usage_robots",
        {ROBOTS: b"User-agent: *\nContent-Usage: train-ai=y\nContent-Usage: /pictures train-ai=n"},
    ),
    "host: content-signal": by_host("content_signal", {ROBOTS: b"User-agent: *\nContent-Signal: ai-train=no"}),
    "host: ai.txt": by_host("ai_txt", {AI_TXT: b"User-Agent: *\nDisallow: *.jpg\nAllow: *.txt"}),
    "host: tdmrep.json": by_host("tdmrep_file", {TDMREP: tdmrep(1)}, asked=1),
    "host: tdmrep.json overridden": by_host(
        None, {TDMREP: tdmrep(1)}, answer=(("tdm-reservation", "0"),), said=("tdm_header",)
    ),
    "answer: x-robots-tag": by_answer("x_robots_tag", ("X-Robots-Tag", "noai")),
    "answer: x-robots-tag none": by_answer("x_robots_tag", ("X-Robots-Tag", "none")),
    "answer: unavailable_after": by_answer("x_robots_tag", OVER),
    "answer: tdm-reservation": by_answer("tdm_header", ("TDM-Reservation", "1")),
    "answer: content-usage": by_answer("content_usage", ("Content-Usage", "search=y, train-ai=n")),
    "answer: content-usage yes": by_answer(None, ("Content-Usage", "train-ai=y"), said=("content_usage",)),
    "picture: data mining in JPEG": by_answer("iptc_data_mining", body=mining("PROHIBITED-AIMLTRAINING", seed=1)),
    "picture: data mining in WebP": by_answer("iptc_data_mining", body=mining("PROHIBITED", seed=2, format="WEBP")),
    "picture: data mining allowed": by_answer(None, body=mining("ALLOWED", seed=3), said=("iptc_data_mining",)),
    "picture: c2pa": by_answer("c2pa", body=claiming("c2pa")),
    "picture: cawg": by_answer("c2pa", body=claiming("cawg")),
    "list: a denied url": Case("deny_list", failure=None),
    "request: a url": Case("takedown", failure=None),
    "nobody says anything": Case(None, asked=1),
}
"""All of them; each has a host and a page of its own."""


@dataclass(frozen=True)
class Built:
    settings: Settings
    urls: dict[str, str]
    requests: Counter[tuple[str, str]]
    """By case and path."""

    @property
    def lake(self) -> Lake:
        return self.settings.open_lake(create=False)


def handler(name: str, case: Case, requests: Counter[tuple[str, str]]) -> type[BaseHTTPRequestHandler]:
    plain = case.body() if case.body else picture(seed=int(hashlib.sha256(name.encode()).hexdigest()[:6], 16))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests[name, self.path] += 1
            found = case.host.get(self.path, 404)
            status, body = (found, b"") if isinstance(found, int) else (200, found)
            headers: tuple[tuple[str, str], ...] = ()
            if self.path.startswith("/pictures/"):
                status, body, headers = 200, plain, case.answer
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def page(number: int, case: Case, url: str) -> tuple[str, bytes]:
    metas = "".join(f'<meta name="{name}" content="{value}">' for name, value in case.meta)
    body = f'<!doctype html><head>{metas}</head><img src="{url}" alt="the picture of page number {number}">'.encode()
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/html", *(f"{name}: {value}" for name, value in case.page)]
    return f"http://page{number}.test/", "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def built(lake_settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The crawl, built twice up to its pictures: the second time everybody's answer is known."""
    root = tmp_path_factory.mktemp("consent")
    requests: Counter[tuple[str, str]] = Counter()
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(handler(name, case, requests))) for name, case in CASES.items()}
        urls = {name: f"http://127.0.0.1:{port}/pictures/a.jpg" for name, port in ports.items()}
        pages = [page(number, case, urls[name]) for number, (name, case) in enumerate(CASES.items())]
        foreign.write_warc(root / "source", CRAWL, pages)
        denied = root / "denied.txt"
        denied.write_text(urls["list: a denied url"] + "\n")
        settings = lake_settings(root / "lake", root / "source", format="warc", shards=1)
        settings = settings.model_copy(update={"deny": replace(settings.deny, url_lists=(str(denied),))})
        assert build(settings, CRAWL, until="candidate_pairs").failures == []
        request(settings, urls["request: a url"])
        for _ in range(2):
            assert build(settings, CRAWL, until="images").failures == []
        yield Built(settings, urls, requests)


def request(settings: Settings, url: str) -> None:
    from typer.testing import CliRunner

    from laion_assets.cli.main import app

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LAION_LAKE": settings.lake, "LAION_SHARDS": "1", "LAION_BUCKETS": "2"}.items():
            patch.setenv(name, value)
        patch.setenv("DAGSTER_HOME", str(Path(settings.lake).parent / "home"))
        ran = CliRunner().invoke(app, ["takedown", "url", url])
    assert ran.exit_code == 0, ran.output


def test_there_are_thirty_kinds() -> None:
    assert sum(case.signal is not None for case in CASES.values()) >= 27
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_every_picture_is_refused_or_taken_as_its_owner_wants(built: Built, name: str) -> None:
    case, url = CASES[name], built.urls[name]
    found = rows(built.lake, "images", CRAWL).filter(url=url)
    if case.signal is not None and case.failure is None:
        assert found.is_empty(), "it is no row: what is known before is not even to be fetched"
    else:
        row = found.row(0, named=True)
        assert row["failure"] == (None if case.signal is None else case.failure), row["failure_detail"]
        assert (row["shard_path"] is None) == (case.signal is not None)


@pytest.mark.parametrize("name", CASES)
def test_what_was_said_is_kept_as_evidence(built: Built, name: str) -> None:
    case, url = CASES[name], built.urls[name]
    if case.page or case.meta:
        [row] = rows(built.lake, "candidate_pairs", CRAWL).filter(url=url)["page_signals"].to_list()
    else:
        told = rows(built.lake, "images", CRAWL).filter(url=url)["signals"].to_list()
        row = told[0] if told else None
    evidence = {one["signal"]: one for one in row or ()}
    if case.signal in ("deny_list", "takedown") or case.failure == "http_5xx":
        return
    if case.signal is not None:
        assert evidence[case.signal]["forbids"]
        assert evidence[case.signal]["raw"]
    for signal in case.said:
        assert evidence[signal]["forbids"] == []


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_asked_in_vain(built: Built, name: str) -> None:
    """A picture once at most, and not at all where its no was known; each document of its host once a day."""
    case = CASES[name]
    asked = {path: count for (of, path), count in built.requests.items() if of == name}
    assert asked.get("/pictures/a.jpg", 0) == case.asked
    assert all(asked.get(path, 0) <= 1 for path in DOCUMENTS)
    if case.failure is None and case.signal is not None:
        assert asked == {}, "the crawl knew"


def test_the_ledger_holds_all_of_it(built: Built) -> None:
    with connect(built.lake, models=built.settings.models) as con:
        told = con.sql("SELECT signal, len(forbids) > 0, source, count(*) FROM opt_outs GROUP BY ALL").fetchall()
        seen = con.sql("SELECT count(*) FROM opt_outs WHERE seen_at IS NULL").fetchone()
    counted = {(signal, source): rows for signal, is_no, source, rows in told if is_no}
    expected = Counter(
        (case.signal, "crawl" if case.page or case.meta else "download")
        for case in CASES.values()
        if case.signal not in (None, "deny_list", "takedown") and case.failure != "http_5xx"
    )
    expected["tdm_header_page", "crawl"] += 1  # lifted by a meta element
    expected["tdmrep_file", "download"] += 1  # lifted by a header
    assert counted == {**expected, ("takedown", "takedowns"): 1}
    assert seen == (0,)


def test_every_row_is_accounted_for(built: Built) -> None:
    for table in ("candidate_pairs", "unique_pairs", "images"):
        rows_in, drops, rows_out = funnel(built.lake, table, CRAWL)
        assert rows_in == rows_out + sum(drops.values()), table
    pages = sum(bool(case.page or case.meta) and case.signal is not None for case in CASES.values())
    assert sum(funnel(built.lake, "unique_pairs", CRAWL)[1].values()) == pages + 2, "the denied and the removed, too"


def test_what_the_policy_passes_over_lets_pictures_in_and_stays_evidence(built: Built, tmp_path: Path) -> None:
    signals = ("tdmrep_file", "content_usage", "x_robots_tag", "c2pa", "robots_txt")
    policy = replace(built.settings.consent, **dict.fromkeys(signals, False))
    settings = built.settings.model_copy(update={"lake": str(tmp_path / "lake"), "consent": policy})
    assert build(settings, CRAWL, until="images").failures == []
    images = rows(settings.open_lake(create=False), "images", CRAWL)
    let_in = {row["url"]: row for row in images.filter(status="success").iter_rows(named=True)}
    for name, case in CASES.items():
        if case.signal in signals and case.failure == "opted_out":
            row = let_in[built.urls[name]]
            assert case.signal in {said["signal"] for said in row["signals"] if said["forbids"]}, name
