"""Owners who change their minds: those who say no by now, and those who said no and say it no more."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from laion_assets.cli.main import app
from laion_assets.settings import Settings, SettingsError
from tests.integration import foreign
from tests.integration.conftest import build, rows, serving
from tests.unit.consent.test_embedded import xmp
from tests.unit.download.loopback_web import picture

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CRAWL = "CC-MAIN-2025-13"
ALLOWED = xmp("http://ns.useplus.org/ldf/vocab/DMI-ALLOWED")
NAMES = ("stays", "header later", "gone later", "no at first", "moved later")


class Web:
    """What each picture is answered with by now, and what was asked for."""

    def __init__(self) -> None:
        self.headers: dict[str, list[tuple[str, str]]] = {"no at first": [("X-Robots-Tag", "noai")]}
        self.status: dict[str, int] = {}
        self.robots = b"User-agent: *\nAllow: /\n"
        self.requests: Counter[str] = Counter()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2].partition(".")[0].replace("_", " ")
                web.requests[self.path] += 1
                if name in NAMES:
                    body = picture(400, 300, seed=NAMES.index(name), xmp=ALLOWED)
                    self.answer(web.status.get(name, 200), body, web.headers.get(name, []))
                else:
                    self.answer(200 if self.path == "/robots.txt" else 404, web.robots, [])

            def answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
                self.send_response(status)
                for header in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def settings(web: Web, lake_settings: Any, tmp_path: Any) -> Iterator[Settings]:
    with serving(web.handler()) as port:
        links = [
            foreign.Link(f"http://127.0.0.1:{port}/{name.replace(' ', '_')}.jpg", f"the picture that is {name}")
            for name in NAMES
        ]
        foreign.write(tmp_path / "source", CRAWL, [[("http://page.test/", links)]])
        settings = lake_settings(tmp_path / "lake", tmp_path / "source", shards=1, buckets=1)
        assert build(settings, CRAWL).failures == []
        yield settings


def found(settings: Settings) -> dict[str, dict[str, Any]]:
    """By name, the rows of images."""
    images = rows(settings.open_lake(create=False), "images", CRAWL).to_dicts()
    return {row["url"].rpartition("/")[2].partition(".")[0].replace("_", " "): row for row in images}


def ask(settings: Settings, *, older_than: timedelta = timedelta(0), **more: Any) -> Any:
    return build(settings, CRAWL, ask_before=datetime.now(UTC) - older_than, **more)


def yesterday(settings: Settings) -> None:
    """Let what hosts said have been said on another day."""
    hosts = settings.open_lake(create=False).staging / "hosts"
    [today] = hosts.glob("????-??-??")
    today.rename(hosts / "2020-01-01")


def test_owners_are_asked_again_and_no_picture_is_downloaded_again(web: Web, settings: Settings) -> None:
    before = found(settings)
    assert {name: row["failure"] for name, row in before.items() if row["failure"]} == {"no at first": "opted_out"}
    released = set(rows(settings.open_lake(create=False), "filtered_pairs", CRAWL)["url"])
    web.headers = {"header later": [("tdm-reservation", "1")]}
    web.status = {"gone later": 410}
    yesterday(settings)
    assert ask(settings).failures == []
    after = found(settings)
    assert {name: row["failure"] for name, row in after.items() if row["failure"]} == {"header later": "opted_out"}
    refused = after["header later"]
    assert (refused["sha256"], refused["shard_path"]) == (before["header later"]["sha256"], None)
    assert [(one["signal"], one["forbids"]) for one in refused["signals"]] == [
        ("iptc_data_mining", []), ("tdm_header", ["train"]),
    ]  # fmt: skip
    stays = {"asked_at": None}
    assert after["stays"] | stays == before["stays"] | stays
    assert after["stays"]["asked_at"] > before["stays"]["fetched_at"]
    assert after["gone later"] == before["gone later"], "nobody answered: as it was, to be asked another time"
    assert after["no at first"]["status"] == "success"
    by_now = set(rows(settings.open_lake(create=False), "filtered_pairs", CRAWL)["url"])
    assert released - by_now == {refused["url"]}
    assert by_now - released == {after["no at first"]["url"]}


def test_a_host_that_says_no_by_now_is_not_asked_for_anything_else(web: Web, settings: Settings) -> None:
    web.robots = b"User-agent: *\nContent-Usage: train-ai=n\n"
    yesterday(settings)
    web.requests.clear()
    assert ask(settings, until="images").failures == []
    assert {row["failure"] for row in found(settings).values()} == {"opted_out"}
    assert web.requests == {"/robots.txt": 1, "/.well-known/tdmrep.json": 1, "/ai.txt": 1}


def test_who_was_asked_lately_is_left_alone(web: Web, settings: Settings) -> None:
    web.requests.clear()
    outcome = ask(settings, older_than=timedelta(days=1))
    assert (outcome.built, web.requests) == (0, {})
    heedless = settings.model_copy(update={"download": replace(settings.download, respect_opt_outs=False)})
    with pytest.raises(SettingsError, match="nobody is asked what is not heeded"):
        ask(heedless)


def test_owners_are_asked_before_a_release_where_nobody_asked_lately(
    web: Web, settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(settings)
    web.headers = {"header later": [("X-Robots-Tag", "noai")], "no at first": [("X-Robots-Tag", "noai")]}
    variables = {
        "LAION_LAKE": settings.lake,
        "LAION_SOURCE": settings.source,
        "LAION_SHARDS": "1",
        "LAION_BUCKETS": "1",
        "LAION_FILTER__POLICY": "none",
        "LAION_ENCODER": json.dumps(asdict(settings.encoder)),
        "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "LAION_CONSENT__ASK_DAYS": "0",
        "DAGSTER_HOME": str(tmp_path / "home"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = CliRunner().invoke(app, ["release", "first", "--formats", "laion", "--to", str(tmp_path / "first")])
    assert made.exit_code == 0, made.output
    released = pl.read_parquet(tmp_path / "first" / "data" / "**" / "*.parquet")
    urls = {row["url"] for name, row in before.items() if name not in ("header later", "no at first")}
    assert set(released["URL"]) == urls
