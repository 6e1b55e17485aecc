"""A running `laion ui`, what it answers, and a browser that looks at it and at nothing else."""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import Locator, Page, Route, expect, sync_playwright

from laion_assets.tables.catalogue import TABLES
from tests.warm import PYTHONPATH

REPOSITORY = Path(__file__).resolve().parents[2]
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
SECONDS = 60
"""What a page may take on a busy machine."""


def find_chromium() -> str | None:
    """Path of Chromium or Chrome, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Server:
    """A `laion ui` that answers."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What GraphQL answers."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return dict(found["data"])

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """What ``condition`` gives, once it is true; fails where it is not in time or the server ends."""
        give_up = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, f"`laion ui` ended:\n{self.log.read_text()}"
            try:
                found = condition()
            except OSError:  # not listening yet
                found = None
            if found:
                return found
            assert time.monotonic() < give_up, f"waited {seconds} s for {what}:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.2)

    def partitions(self, asset: str) -> dict[str, int]:
        """How many partitions of an asset Dagster knows to be materialised, to be on their way, to have failed."""
        found = self.ask(_PARTITIONS, key=[asset])["assetNodes"][0]["partitionStats"]
        return {name.removeprefix("num").lower(): count for name, count in found.items()}

    def targeted(self, backfill: str) -> dict[str, int]:
        """How many partitions of each asset a backfill is to build."""
        found = self.ask(_TARGETED, id=backfill)["partitionBackfillOrError"]["assetBackfillData"]
        return {
            entry["assetKey"]["path"][0]: entry.get("numPartitionsTargeted", 1)
            for entry in found["assetBackfillStatuses"]
        }

    def cancel(self, backfill: str) -> None:
        """End a backfill before it has begun, or in its midst."""
        self.ask("mutation ($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }", id=backfill)

    def backfills(self) -> dict[str, str]:
        """State of every backfill by its id."""
        found = self.ask(_BACKFILLS)["partitionBackfillsOrError"]["results"]
        return {backfill["id"]: backfill["status"] for backfill in found}


_PARTITIONS = """query ($key: [String!]!) {
  assetNodes(assetKeys: [{path: $key}]) { partitionStats { numMaterialized numMaterializing numFailed } }
}"""
_TARGETED = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  assetBackfillData { assetBackfillStatuses {
    ... on AssetPartitionsStatusCounts { assetKey { path } numPartitionsTargeted }
    ... on UnpartitionedAssetStatus { assetKey { path } }
} } } } }"""
_BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
_LOCATION = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } ... on PythonError { message } } }"


def start(environment: Mapping[str, str], port: int, log: Path, before: Sequence[str] = ()) -> Server:
    """Start `laion ui`, through the command ``before`` if there is one, and wait for its definitions."""
    command = (sys.executable, "-c", "from laion_assets.cli import main; main()", "ui", "--port", str(port))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*before, *command],
            env={**environment, "PYTHONPATH": PYTHONPATH},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        server.wait_for("the code location", lambda: server.ask(_LOCATION)["repositoriesOrError"].get("nodes"), 120)
    except BaseException:
        end(server)
        raise
    return server


def end(server: Server) -> None:
    """End it as Ctrl-C does, with all that it started."""
    server.process.send_signal(signal.SIGINT)
    server.process.wait(30)


@contextmanager
def serving(environment: Mapping[str, str], port: int, log: Path) -> Iterator[Server]:
    """A `laion ui` for the block."""
    server = start(environment, port, log)
    try:
        yield server
    finally:
        end(server)


@dataclass
class Visitor:
    """A browser's page on a server, that keeps pictures of what it sees."""

    page: Page
    server: Server
    pictures: Path
    outside: list[str] = field(default_factory=list)
    """Addresses elsewhere that the pages asked for; none was let through."""

    def open(self, path: str) -> Page:
        """Open a page of the UI."""
        self.page.goto(self.server.url + path, wait_until="domcontentloaded")
        return self.page

    def shoot(self, name: str, *, settled: bool = True) -> Path:
        """Keep what is on the screen, once all of it has come if ``settled``."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        if settled:  # a page is shown before its tables and icons are
            self.page.wait_for_load_state("networkidle")
        output = self.pictures / f"{name}.png"
        self.page.screenshot(path=output, animations="disabled")
        return output

    def choose(self, *dimensions: Sequence[str]) -> None:
        """In the open dialog, choose partitions: the keys of the first dimension, then those of the second."""
        heading = self.page.get_by_text("Launch runs to materialize")
        for keys in dimensions:  # a box that has a choice no longer says so: the first left is the next
            self.page.get_by_text("Select a partition or create one").first.click()
            for key in keys:
                item = self.page.get_by_role("menuitem").filter(has=self.page.get_by_text(key, exact=True))
                item.click()
            heading.click()

    def show(self, name: str) -> Locator:
        """Open the long metadata entry called ``name``; gives the dialog."""
        row = self.page.get_by_role("row").filter(has=self.page.get_by_text(name, exact=True))
        row.get_by_text("[Show Markdown]").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.wait_for()
        return dialog


@contextmanager
def visiting(server: Server, pictures: Path, *, width: int = 1440, height: int = 900) -> Iterator[Visitor]:
    """Headless Chromium on a server; where the block fails, what was to be seen is kept as ``failure.png``."""
    binary = find_chromium()
    assert binary is not None, "there is no Chromium"
    (pictures / "failure.png").unlink(missing_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        context.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        visitor = Visitor(context.new_page(), server, pictures)

        def refuse(route: Route) -> None:
            visitor.outside.append(route.request.url)
            route.abort()

        context.route(lambda url: urlsplit(url).hostname not in ("127.0.0.1", None), refuse)
        try:
            yield visitor
        except BaseException:
            visitor.shoot("failure", settled=False)
            raise
        finally:
            browser.close()


def asset_path(name: str, view: str = "overview", partition: str | None = None) -> str:
    """The page of an asset."""
    chosen = f"&partition={quote(partition, safe='')}" if partition else ""
    return f"/assets/{name}?view={view}{chosen}"


def stages_path(stages: Sequence[str]) -> str:
    """The graph of some stages, its groups open."""
    groups = [f"global@global:{group}" for group in dict.fromkeys(TABLES[name].group for name in stages)]
    keys = " or ".join(f'key:"{table}"' for table in stages)
    return f"/asset-groups~{quote(keys)}?expanded={quote(','.join(groups))}"
