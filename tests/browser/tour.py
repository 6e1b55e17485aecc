"""Pictures of every page of the Dagster UI that somebody should look at after a change.

``python -m tests.browser.tour OUT`` starts `laion ui` on the lake and the runs that LAION_LAKE and DAGSTER_HOME name
(those of `make demo`, say) and writes a PNG a page into OUT. Nothing is launched. A page that does not come is
reported, and the others are taken all the same.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from playwright.sync_api import Error, Page

from laion_assets.tables.catalogue import STAGES
from tests.browser.ui import Server, Visitor, asset_path, serving, stages_path, visiting
from tests.pipeline.conftest import free_port

_NEWEST = "query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 1) { partition } } } }"  # noqa: E501
PICTURES = {
    "clip_embeddings": "similarity",
    "clip_checkpoints": "curves",
    "robustness": "shift",
    "scaling_laws": "scaling",
}
"""The long metadata entries that hold pictures, by asset."""


def pages() -> Mapping[str, tuple[str, str]]:
    """Pages that have no partition, by the names of their pictures: the path, and a text that is there at last."""
    return {
        "graph-groups": ("/asset-groups", "Materialize all"),
        "graph-stages": (stages_path(STAGES), "Materialize all"),
        "lineage": (asset_path("clip_embeddings", "lineage"), "Graph depth"),
        "catalog": ("/assets", "Materialized"),
        "asset-filtered_pairs": (asset_path("filtered_pairs"), "Row count"),
        "asset-candidate_pairs": (asset_path("candidate_pairs"), "Row count"),
        "asset-funnel": (asset_path("funnel"), "Row count"),
        "asset-clip_checkpoints": (asset_path("clip_checkpoints"), "Row count"),
        "checks": (asset_path("unique_pairs", "checks"), "Latest execution"),
        "partitions-recipes": (asset_path("clip_checkpoints", "partitions"), "Missing ("),
        "runs": ("/runs", "Success"),
        "backfills": ("/runs?view=backfills", "Backfills"),
        "automation": ("/automation", "Automation"),
        "deployment": ("/deployment", "laion"),
        "overview": ("/overview/activity/timeline", "Timeline"),
    }


def newest(server: Server, asset: str) -> str | None:
    """The partition of an asset that was written last; None where it has none, or none was."""
    found = server.ask(_NEWEST, key={"path": [asset]})["assetOrError"].get("assetMaterializations", [])
    return str(found[0]["partition"]) if found and found[0]["partition"] else None


def settled(page: Page, text: str) -> None:
    """Wait until the page shows a text, and nothing that is loading."""
    page.get_by_text(text).first.wait_for()
    page.get_by_text("Loading").first.wait_for(state="hidden")


def tour(visitor: Visitor) -> dict[str, str]:
    """Take all pictures; gives what went wrong, by picture."""
    wrong: dict[str, str] = {}

    def take(name: str, path: str, text: str, then: Callable[[], object] = lambda: None) -> None:
        try:
            settled(visitor.open(path), text)
            then()
        except Error as error:
            wrong[name] = error.message.splitlines()[0]
        visitor.shoot(name, settled=name not in wrong)
        print(visitor.pictures / f"{name}.png")  # noqa: T201

    for name, (path, text) in pages().items():
        take(name, path, text)
    for asset in (*STAGES, "funnel"):
        partition = newest(visitor.server, asset)
        view = asset_path(asset, "partitions", partition) if partition else asset_path(asset, "events")
        text = "rows in" if asset != "takedowns" else asset
        take(f"partition-{asset}", view, text)
        if asset in PICTURES:
            take(f"pictures-{asset}", view, text, lambda name=PICTURES[asset]: visitor.show(name))  # type: ignore[misc]
    take("launch", asset_path("filtered_pairs", "partitions"), "Missing (", lambda: _open_launchpad(visitor.page))
    return wrong


def _open_launchpad(page: Page) -> None:
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Launch runs to materialize").wait_for()


def main(output: Path) -> int:
    """Make the tour; gives the number of pages that did not come."""
    output.mkdir(parents=True, exist_ok=True)
    with serving(dict(os.environ), free_port(), output / "ui.log") as server, visiting(server, output) as visitor:
        wrong = tour(visitor)
    for name, what in wrong.items():
        print(f"{name}: {what}", file=sys.stderr)  # noqa: T201
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
