"""The report of a built lake, as a person opens it: in a browser, on a wide screen and on a phone."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser

from laion_assets.consent.removals import Removals
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import lake_at
from laion_assets.lake.takedowns import request_takedown
from laion_assets.report import ReportOptions, write_report
from laion_assets.report.blocks import Card, Section, Sheet, Table, foreign
from laion_assets.report.material import Material
from laion_assets.report.models_page import write_models_page
from laion_assets.report.page import render
from laion_assets.report.training import training
from laion_assets.settings import Settings
from laion_assets.sql import PROJECT
from laion_assets.sql.build import build_model, partitions_of_model
from laion_assets.sql.project import load_project, tables_of
from laion_assets.sql.session import connect
from tests.browser.ui import find_chromium
from tests.pipeline.conftest import Built, MakeSettings, ran
from tests.unit.report.conftest import fill_table
from tests.unit.report.trained import LONG, OTHER, SHORT, trained
from tests.unit.sql.model_files import write_model

AT = datetime(2026, 1, 2, tzinfo=UTC)
HOSTILE = [
    "<script>window.hacked = 1</script>",
    '"><img src="http://outside.example/a.png" onerror="window.hacked = 1">',
    "</style></script></p><svg onload='window.hacked = 1'></svg>",
    "' autofocus onfocus='window.hacked = 1' x='",
    "\u202e" + "w" * 400,
    "<iframe src='javascript:parent.hacked = 1'></iframe><meta http-equiv=refresh content='0;url=http://outside.example'>",
]
MEASURE = """
<script>
addEventListener("load", () => {
  const images = [...document.images];
  const root = document.documentElement;
  const inside = (element) => element.closest(".scroll") !== null;
  const over = [...document.body.querySelectorAll("*")].filter(
    (element) => !inside(element) && element.getBoundingClientRect().right > root.clientWidth + 1
      && getComputedStyle(element).position !== "absolute" && element.getBoundingClientRect().width > 0
      && !element.closest("svg"));
  parent.postMessage(JSON.stringify({
    width: root.clientWidth, scrolls: root.scrollWidth, over: over.map((element) => element.outerHTML.slice(0, 120)),
    images: images.length, broken: images.filter((image) => image.naturalWidth === 0).length,
    hacked: window.hacked ?? null, background: getComputedStyle(document.body).backgroundColor,
    filters: images.map((image) => getComputedStyle(image).filter),
  }), "*");
});
</script>
"""
FRAME = """<!doctype html><style>body {{ margin: 0 }} iframe {{ border: 0; width: {width}px; height: 900px }}</style>
<iframe src="{page}"></iframe><pre id="found"></pre>
<script>addEventListener("message", (event) => {{ found.textContent = event.data; }});</script>"""


@dataclass(frozen=True)
class Browser:
    """Headless Chromium, with a folder for what it needs."""

    binary: str
    folder: Path

    def run(self, page: Path, *options: str) -> str:
        """Open a page, and give the document it became."""
        command = [
            self.binary,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--allow-file-access-from-files",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={self.folder / 'profile'}",
            "--virtual-time-budget=20000",
            "--window-size=1600,1000",
            *options,
            "--dump-dom",
            page.as_uri(),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180).stdout

    def measure(self, html: str, width: int, *options: str) -> dict[str, Any]:
        """What a script finds in a page so many pixels wide. It could not run there with the page's own policy."""
        own = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
        assert own != html
        page, frame = self.folder / "page.html", self.folder / "frame.html"
        page.write_text(own.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
        frame.write_text(FRAME.format(width=width, page=page.name), encoding="utf-8")
        found = LexborHTMLParser(self.run(frame, *options)).css_first("#found").text()
        return dict(json.loads(found))

    def requested(self, page: Path) -> set[str]:
        """Every address that a page asks for when it is opened; what Chromium asks for by itself has no origin."""
        log = self.folder / "net.json"
        self.run(page, f"--log-net-log={log}")
        entries = json.loads(log.read_text())
        started = [event["params"] for event in entries["events"] if "initiator" in event.get("params", {})]
        return {params["url"] for params in started if params["initiator"] != "not an origin"}


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium; the test is skipped where there is none."""
    binary = find_chromium()
    if binary is None:
        pytest.skip("there is no browser: neither Chromium nor Chrome is on the path")
    return Browser(binary, tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def modelled(undisturbed: Built, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A copy of the undisturbed lake with every SQL model built. Not to be written to."""
    root = tmp_path_factory.mktemp("report") / "lake"
    shutil.copytree(undisturbed.settings.lake, root)
    lake, project = lake_at(str(root)), load_project()
    lake.declare(tables_of(project.models.values()))
    for name, model in project.enabled.items():
        for partition in partitions_of_model(lake, model):
            build_model(lake, project, name, partition, "run")
    return lake


@pytest.fixture(scope="module")
def page(modelled: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its report."""
    output = tmp_path_factory.mktemp("page") / "report.html"
    write_report(modelled, output, made_at=AT)
    return output.read_text(encoding="utf-8")


def test_every_section_has_something_to_show(page: str, modelled: Lake) -> None:
    tree = LexborHTMLParser(page)
    for section in tree.css("section"):
        # The sample has few pictures under two addresses, and nothing was trained on this lake.
        if section.attributes["id"] not in ("duplicates", "training"):
            assert section.css("table, svg, img"), section.attributes["id"]
    assert "not built" not in " ".join(node.text() for node in tree.css(".said, .warning"))
    released = connect(modelled).sql("SELECT count(*) FROM filtered_pairs").fetchone()
    assert released is not None
    assert tree.css_first(".lead strong").text() == f"{released[0]:,}"


def test_numbers_are_those_of_the_lake(page: str, modelled: Lake) -> None:
    tree = LexborHTMLParser(page)
    last = [row.text(separator=" ", strip=True) for row in tree.css("#funnel tbody tr")][-1]
    funnel = connect(modelled).sql("SELECT sum(candidates), sum(unique_pairs), sum(kept) FROM funnel").fetchone()
    assert funnel is not None
    assert all(f"{int(count):,}" in last.split() for count in funnel)
    rows = tree.css("#tables table")[0].css("tbody tr")
    versions = {row.css_first("code").text(): int(row.css("td")[0].text()) for row in rows}
    assert versions["filtered_pairs"] == modelled.sizes("filtered_pairs")["version"]
    assert versions["funnel"] == modelled.sizes("funnel")["version"]


def test_pictures_are_small_copies_inside_the_file(page: str) -> None:
    sources = [image.attributes["src"] or "" for image in LexborHTMLParser(page).css("img")]
    assert len(sources) > 20
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert max(map(len, sources)) < 20_000
    assert len(page) < 3_000_000


def test_a_rewrite_of_the_same_lake_gives_the_same_page(page: str, modelled: Lake, tmp_path: Path) -> None:
    write_report(modelled, tmp_path / "again.html", made_at=AT)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "without", [["filtered_pairs"], ["clip_embeddings", "filtered_pairs", "calibrations", "images"]]
)
def test_half_a_lake_gives_half_a_report(
    lake_copy: Callable[..., Settings], without: list[str], tmp_path: Path
) -> None:
    write_report(lake_copy(without=without).open_lake(create=False), tmp_path / "report.html")
    tree = LexborHTMLParser((tmp_path / "report.html").read_text(encoding="utf-8"))
    said = tree.css_first("#sheets").text()
    assert "filtered_pairs is empty" in said
    assert "laion build" in said
    assert tree.css_first(".lead strong").text() == "0"


def test_removal_requests_take_effect_on_the_page_at_once(lake_copy: Callable[..., Settings], tmp_path: Path) -> None:
    lake = lake_copy().open_lake(create=False)
    before, after = tmp_path / "before.html", tmp_path / "after.html"
    write_report(lake, before)
    row = connect(lake).sql("SELECT text, sha256 FROM filtered_pairs ORDER BY pair_id LIMIT 1").fetchone()
    assert row is not None
    texts = [node.text() for node in LexborHTMLParser(before.read_text(encoding="utf-8")).css(".cards .text")]
    assert " ".join(row[0].split())[:100] in {text[:100] for text in texts}
    hosts = connect(lake).sql("SELECT DISTINCT url_host(url) FROM images").fetchall()
    for (host,) in hosts:
        request_takedown(lake, "domain", host, None)
    write_report(lake, after)
    tree = LexborHTMLParser(after.read_text(encoding="utf-8"))
    assert not tree.css("img, .cards .text")
    assert not [cell for cell in tree.css("td.foreign, th.foreign") if "http" in cell.text()]


def test_the_command_writes_the_page_and_says_where(
    undisturbed: Built, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(Path(undisturbed.settings.lake))
    output = tmp_path / "a report.html"
    done = ran(settings, tmp_path, "report", "--output", str(output), "--no-pictures", "--pictures", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(output))}: [0-9.]+ kB", done.stdout.splitlines()[-1])
    assert not LexborHTMLParser(output.read_text(encoding="utf-8")).css("img")


def test_a_place_that_cannot_hold_the_page_is_refused_before_anything_is_read(
    undisturbed: Built, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(Path(undisturbed.settings.lake))
    done = ran(settings, tmp_path, "report", "--output", str(tmp_path / "absent" / "report.html"))
    assert done.returncode == 2
    assert done.stderr.startswith("laion: --output: expected a file in a folder that is there, found")


@pytest.mark.integration
@pytest.mark.parametrize("width", [360, *(pytest.param(w, marks=pytest.mark.slow) for w in (768, 1400))])
def test_a_page_fits_its_screen_and_shows_every_picture(browser: Browser, page: str, width: int) -> None:
    found = browser.measure(page, width)
    assert found["width"] == width
    assert found["scrolls"] == width
    assert found["over"] == []
    assert found["images"] > 20
    assert found["broken"] == 0


@pytest.mark.integration
@pytest.mark.parametrize("width", [360, pytest.param(1400, marks=pytest.mark.slow)])
def test_the_page_of_models_fits_its_screen_whatever_they_say(
    browser: Browser, modelled: Lake, width: int, tmp_path: Path
) -> None:
    shutil.copytree(PROJECT, tmp_path / "project")
    for number, text in enumerate(HOSTILE):
        header = f"materialized: view\ndescription: {json.dumps(text)}\ndisabled: {json.dumps(text)}"
        write_model(tmp_path / "project", f"hostile_{number}", f"SELECT 1 -- {text}", header=header)
    output = tmp_path / "models.html"
    write_models_page(load_project(tmp_path / "project"), output, modelled, made_at=AT)
    page = output.read_text(encoding="utf-8")
    found = browser.measure(page.replace("<details>", "<details open>"), width)
    assert found["scrolls"] == width
    assert found["over"] == []
    assert found["hacked"] is None
    assert browser.requested(output) == set()


@pytest.mark.integration
def test_a_page_is_dark_where_the_screen_is(browser: Browser, page: str) -> None:
    shown = {
        scheme: browser.measure(page, 800, f"--blink-settings=preferredColorScheme={n}")
        for n, scheme in enumerate(("dark", "light"))
    }
    assert shown["light"]["background"] == "rgb(255, 255, 255)"
    assert shown["dark"]["background"] == "rgb(20, 23, 26)"


@pytest.mark.integration
def test_blurred_pictures_are_blurred(browser: Browser, modelled: Lake, tmp_path: Path) -> None:
    write_report(modelled, tmp_path / "report.html", ReportOptions(blur=True, pictures=2))
    found = browser.measure((tmp_path / "report.html").read_text(encoding="utf-8"), 800)
    assert found["images"] > 0
    assert all(re.fullmatch(r"blur\(\d+px\)", filter_) for filter_ in found["filters"])


def hostile_page() -> str:
    cards = [Card(text=text, url=text, facts=(text,), language=text) for text in HOSTILE]
    table = Table(title="t", headings=["a"], rows=[[foreign(text, language=text)] for text in HOSTILE])
    section = Section(id="funnel", title="Funnel", intro="", blocks=[Sheet(title="s", cards=cards), table])
    head = {"released": "1", "share": "2%", "counts": [], "crawls": [], "policies": [], "encoders": []}
    return render(name="lake", head=head, sections=[section], images={}, options=ReportOptions(), made_at=AT)


@pytest.mark.integration
def test_hostile_texts_neither_run_nor_spill_over(browser: Browser) -> None:
    found = browser.measure(hostile_page(), 360)
    assert found["hacked"] is None
    assert found["scrolls"] == 360
    assert found["images"] == 0
    # The measuring itself would notice: the same texts, not escaped, run and fetch.
    naive = hostile_page().replace("</main>", f"{HOSTILE[0]}{HOSTILE[1]}</main>")
    broken = browser.measure(naive, 360)
    assert broken["hacked"] == 1
    assert broken["broken"] == 1


@pytest.mark.integration
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_training_fits_a_phone_whatever_recipes_are_called(
    browser: Browser, modelled: Lake, scheme: str, tmp_path: Path
) -> None:
    page = training_page(modelled)
    found = browser.measure(page, 360, f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}")
    assert found["scrolls"] == 360
    assert found["over"] == []
    assert found["hacked"] is None
    assert len(LexborHTMLParser(page).css("#training svg")) == 1 + 1 + 3  # loss, shift, scaling by benchmark
    own = tmp_path / "own.html"
    own.write_text(page, encoding="utf-8")
    assert browser.requested(own) == set()


def training_page(lake: Lake) -> str:
    """A page of the section alone, of recipes and arms with hostile names."""
    with connect(lake) as con:
        names, arms = (dict(zip((LONG, SHORT, OTHER), HOSTILE[at:], strict=False)) for at in (0, 3))
        trained(lambda name, rows: fill_table(con, name, rows), names, arms)
        blocks = training(Material(con=con, removals=Removals.none().matcher()))
    section = Section(id="training", title="Training", intro="", blocks=blocks)
    head = {"released": "1", "share": "2%", "counts": [], "crawls": [], "policies": [], "encoders": []}
    return render(name="lake", head=head, sections=[section], images={}, options=ReportOptions(), made_at=AT)


@pytest.mark.integration
def test_opening_the_page_asks_nothing_of_the_network(browser: Browser, page: str, tmp_path: Path) -> None:
    own, hostile, other = (tmp_path / f"{name}.html" for name in ("own", "hostile", "other"))
    own.write_text(page, encoding="utf-8")
    hostile.write_text(hostile_page(), encoding="utf-8")
    other.write_text('<!doctype html><img src="http://outside.example/a.png">')
    assert browser.requested(own) == set()
    assert browser.requested(hostile) == set()
    assert "http://outside.example/a.png" in browser.requested(other)
    # And if something did slip in, the page's own policy would stop it.
    slipped = tmp_path / "slipped.html"
    slipped.write_text(page.replace("</main>", f"{HOSTILE[1]}</main>"), encoding="utf-8")
    assert browser.requested(slipped) == set()
