"""What a person does in the Dagster UI: look at the graph, build a partition, look at its pictures, backfill two.

And what is there after the demo: no grey stage that it ran, and nothing to launch of a recipe that nobody asked for.
"""

import pytest
from playwright.sync_api import expect

from laion_assets.sample.options import CRAWLS
from laion_assets.sql.project import open_project
from laion_assets.tables.catalogue import STAGES, TABLES
from laion_assets.tables.models import MODEL_TESTS
from laion_assets.training.recipe import load_recipes
from tests.browser.conftest import ASKED_FOR, BENCHMARKS, Site, finish
from tests.browser.ui import SCREENSHOTS, Visitor, asset_path, stages_path, visiting

pytestmark = [pytest.mark.slow, pytest.mark.integration]

LAST = "filtered_pairs"
FIRST, SECOND = CRAWLS


def test_a_partition_and_a_backfill_are_built_from_the_pages(site: Site) -> None:
    with visiting(site.server, SCREENSHOTS) as visitor:
        look_at_the_graph(visitor)
        look_at_the_timeline(site, visitor)
        build_a_partition(site, visitor)
        look_at_its_pictures(site, visitor)
        look_at_a_chart(visitor)
        backfill_two(site, visitor)
        finish(site)
        look_at_every_stage(site, visitor)
        materialise_all(site, visitor)
        assert visitor.outside == [], "pages of a local UI ask nobody else"


def look_at_the_graph(visitor: Visitor) -> None:
    page = visitor.open("/asset-groups")
    for group in dict.fromkeys(TABLES[name].group for name in STAGES):
        expect(page.get_by_role("button", name=group).first).to_be_visible()
    visitor.shoot("graph")


def look_at_the_timeline(site: Site, visitor: Visitor) -> None:
    """It has the runs that the command line made, under the job that the pages load."""
    page = visitor.open("/overview/activity/timeline")
    runs = site.server.ask("{ runsOrError { ... on Runs { count } } }")["runsOrError"]["count"]
    expect(page.get_by_role("button", name="laion")).to_contain_text(str(runs))
    expect(page.get_by_text("Jobless asset materializations").first).to_be_visible()
    visitor.shoot("timeline")


def build_a_partition(site: Site, visitor: Visitor) -> None:
    """From the page of its asset, which turns green by itself."""
    page = visitor.open(asset_path(LAST, "partitions"))
    expect(page.get_by_text("Missing (4)")).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    visitor.choose([FIRST], ["0"])
    visitor.shoot("launch")
    page.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text("Launched run")).to_be_visible()
    expect(page.get_by_text("Materialized (1)")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Missing (3)")).to_be_visible()
    assert site.server.partitions(LAST) == {"materialized": 1, "materializing": 0, "failed": 0}


def look_at_its_pictures(site: Site, visitor: Visitor) -> None:
    commit = site.settings.open_lake(create=False).commit(LAST, {"crawl": FIRST, "bucket": 0})
    assert commit is not None
    page = visitor.open(asset_path(LAST, "partitions", f"{FIRST}|0"))
    numbers = page.get_by_role("row").filter(has=page.get_by_text("rows in", exact=True))
    expect(numbers.first).to_contain_text(str(commit.rows_in))
    visitor.shoot("partition")
    strip = page.get_by_role("img", name="kept pairs")
    expect(strip).to_have_count(1)
    page.wait_for_function("found => found.complete && found.naturalWidth > 100", arg=strip.element_handle())
    strip.click()
    expect(page.get_by_role("heading", name="kept pairs")).to_be_visible()
    pictures = page.get_by_role("img", name="Picture")
    assert 12 <= pictures.count() <= commit.rows
    assert all(pictures.evaluate_all("found => found.map(picture => picture.naturalWidth)"))
    visitor.shoot("pictures")


def look_at_a_chart(visitor: Visitor) -> None:
    """Charts are SVG: the pages show them, small without a click and whole after one."""
    page = visitor.open(asset_path("clip_embeddings", "partitions", f"{FIRST}|0"))
    row = page.get_by_role("row").filter(has=page.get_by_text("similarity, at a glance"))
    small = row.get_by_role("img", name="similarity by language group")
    expect(small).to_have_count(1)
    whole = visitor.show("similarity").get_by_role("img", name="similarity by language group")
    expect(whole).to_have_count(1)
    sizes = [chart.evaluate("picture => picture.naturalWidth") for chart in (small, whole)]
    assert 100 < sizes[0] < sizes[1]
    visitor.shoot("chart")


def backfill_two(site: Site, visitor: Visitor) -> None:
    """The other crawl, to its end."""
    server = site.server
    page = visitor.open(asset_path(LAST, "partitions"))
    page.get_by_role("button", name="Materialize").first.click()
    visitor.choose([SECOND], ["0", "1"])
    expect(page.get_by_text("2 partitions", exact=True)).to_be_visible()
    page.get_by_role("button", name="Launch backfill").click()
    (backfill,) = server.wait_for("the backfill", server.backfills)
    visitor.open(f"/runs/b/{backfill}")
    expect(page.get_by_text("In progress").first).to_be_visible()
    visitor.shoot("backfill-begun")
    server.wait_for("its end", lambda: server.backfills()[backfill] == "COMPLETED_SUCCESS", 180)
    expect(page.get_by_text("100% completed")).to_be_visible()
    expect(page.get_by_text("Succeeded").last).to_be_visible()
    visitor.shoot("backfill")
    assert server.partitions(LAST) == {"materialized": 3, "materializing": 0, "failed": 0}
    commits = site.settings.open_lake(create=False).ledger(LAST).commits
    assert {*commits} == {f"crawl={SECOND}/bucket={bucket}" for bucket in (0, 1)} | {f"crawl={FIRST}/bucket=0"}
    visitor.open(asset_path(LAST, "partitions"))
    expect(page.get_by_text("Materialized (3)")).to_be_visible()
    visitor.shoot("partitions")


def look_at_every_stage(site: Site, visitor: Visitor) -> None:
    """All that the demo ran has the colour of what is there."""
    offered = [name for name in STAGES if not TABLES[name].optional]
    asked = [name for name in offered if not TABLES[name].entered]  # the demo makes no requests, and imports nothing
    project = open_project(site.settings.models)
    models = [name for name in project.enabled if project.models[name].only_with is None]
    colours = {}
    for group in dict.fromkeys(TABLES[name].group for name in offered):  # boxes that are not in sight are not there
        names = [name for name in offered if TABLES[name].group == group]
        page = visitor.open(stages_path(names))
        for name in names:
            box = page.get_by_text(name, exact=True).last
            box.wait_for()
            colours[name] = box.evaluate(_COLOUR)
    visitor.open(stages_path(offered))
    visitor.shoot("graph-finished")
    assert {name for name in asked if colours[name] != colours["crawl_snapshots"]} == set()
    assert colours["takedowns"] != colours["crawl_snapshots"], "another colour is seen"
    for name in (*asked, *models, MODEL_TESTS.name):
        (found,) = site.server.ask(_FILLED, key=[name])["assetNodes"]
        stats = found["partitionStats"]
        assert found["assetMaterializations"], name
        assert stats is None or stats["numMaterialized"] == stats["numPartitions"], name


_COLOUR = """found => {
  const bare = "rgba(0, 0, 0, 0)";
  while (getComputedStyle(found).backgroundColor === bare) found = found.parentElement;
  return getComputedStyle(found).backgroundColor;
}"""
_FILLED = """query ($key: [String!]!) { assetNodes(assetKeys: [{path: $key}]) {
  assetMaterializations(limit: 1) { runId }
  partitionStats { numPartitions numMaterialized }
} }"""


def materialise_all(site: Site, visitor: Visitor) -> None:
    """What the button over the whole graph asks for is of the crawls, and of the one recipe that was trained."""
    server = site.server
    before = server.backfills()
    page = visitor.open("/asset-groups")
    page.get_by_role("button", name="Materialize all").first.click()
    launch = page.get_by_role("button", name="Launch backfill")
    expect(launch).to_be_enabled()
    assert len(site.settings.known_recipes) > 17
    visitor.shoot("materialize-all")
    launch.click()
    (backfill,) = server.wait_for("the backfill", lambda: server.backfills().keys() - before.keys())
    try:
        targeted = server.targeted(backfill)
        assert {name: targeted[name] for name in ("training_sets", "clip_checkpoints", "zero_shot_scores")} == {
            "training_sets": 1,
            "clip_checkpoints": 1,
            "zero_shot_scores": len(BENCHMARKS),
        }
        assert targeted["images"] == 4
    finally:
        server.cancel(backfill)
    visitor.open(asset_path("clip_checkpoints", "partitions"))
    expect(page.get_by_text(ASKED_FOR, exact=True).first).to_be_visible()
    for name in load_recipes():
        expect(page.get_by_text(name, exact=True)).to_have_count(0)
    visitor.shoot("recipes")
