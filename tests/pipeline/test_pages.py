"""Dagster keeps numbers; texts, addresses and pictures are looked up in the lake when somebody looks, and then gone."""

import base64
import json
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from laion_assets.charts.contact_sheet import PIXELS
from laion_assets.images.thumbnail import thumbnail
from laion_assets.lake.opening import lake_at
from laion_assets.orchestration.web.server import open_views
from laion_assets.web.addresses import PREFIX, pairs_address, rows_address, strip_address
from laion_assets.web.routes import Pages
from laion_assets.webdataset.samples import read_pictures
from tests.pipeline.places import FIRST, Place

pytestmark = pytest.mark.slow

PARTITION = {"crawl": FIRST, "bucket": 0}
MODEL = "clip_top_30"
"""Rows of it hold urls and texts."""


@pytest.fixture(scope="module")
def place(first_crawl: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the lake of one crawl with its Dagster home, and a SQL model that selects pairs."""
    copied = Place(Path(shutil.copytree(first_crawl.folder, tmp_path_factory.mktemp("pages") / "place")))
    copied.good("models", "run", "--select", f"+{MODEL}")
    return copied


@pytest.fixture(scope="module")
def browser(place: Place) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAION_LAKE", str(place.lake))
        patch.chdir(place.folder)
        yield TestClient(Starlette(routes=[Mount(PREFIX, routes=Pages(open_views).routes())]))


def known_pairs(place: Place) -> pl.DataFrame:
    """Every released pair with its picture's place, those of the fewest words last."""
    lake = lake_at(str(place.lake))
    pairs = lake.scan("filtered_pairs").select("pair_id", "url", "text", "subset", "sha256")
    images = lake.scan("images").filter(status="success").select("url", "shard_path", "sample_key")
    return pairs.join(images, on="url").collect()


def thumbnails(place: Place, pairs: pl.DataFrame) -> list[bytes]:
    """The base64 of a small copy of each picture, as pages show it."""
    found = []
    for tar, key in pairs.select("shard_path", "sample_key").iter_rows():
        small = thumbnail(read_pictures(place.lake / tar, [key])[key], PIXELS)
        found.append(base64.b64encode(small or b"no picture"))
    return found


def test_dagster_keeps_neither_texts_nor_addresses_nor_pictures(place: Place) -> None:
    pairs = known_pairs(place)
    kept = b"".join(path.read_bytes() for path in sorted((place.folder / ".dagster").rglob("*")) if path.is_file())
    assert b"filtered_pairs" in kept, "it is the home of the runs that built them"
    for name in ("url", "sha256"):
        assert [value for value in pairs[name] if value.encode() in kept] == []
    for text in pairs["text"].filter(pairs["text"].str.len_chars() > 12):
        assert text.encode() not in kept
        assert json.dumps(text)[1:-1].encode() not in kept, "as it would stand in JSON"
    assert b"data:image/jpeg" not in kept
    assert b"data:image/webp" not in kept
    for address in (strip_address("kept", PARTITION), pairs_address("dropped", PARTITION), rows_address(MODEL, {})):
        assert address.encode() in kept


def test_pages_show_pairs_until_somebody_asks_for_their_removal(place: Place, browser: TestClient) -> None:
    first = known_pairs(place).sort("pair_id").unique("subset", keep="first", maintain_order=True)
    removed, stays = first.row(0, named=True), first.row(1, named=True)
    bytes_removed, bytes_stay = thumbnails(place, first.head(2))
    strip = browser.get(strip_address("kept", PARTITION))
    assert (strip.status_code, strip.headers["content-type"]) == (200, "image/svg+xml")
    assert bytes_removed in strip.content
    assert bytes_stay in strip.content
    assert escape(removed["text"]) in browser.get(pairs_address("kept", PARTITION)).text
    rows = {table: browser.get(rows_address(table, of)).text for table, of in ((MODEL, {}), ("images", PARTITION))}
    assert [page[:300] for page in rows.values() if "<table>" not in page] == []
    assert browser.get(strip_address("kept", PARTITION)).content == strip.content
    place.good("takedown", "url", removed["url"])
    for _ in ("at once", "after the next build"):
        seen = [
            browser.get(address(kind, PARTITION)).content
            for address in (strip_address, pairs_address)
            for kind in ("kept", "dropped")
        ]
        seen += [browser.get(rows_address(t, of)).content for t, of in ((MODEL, {}), ("images", PARTITION))]
        assert bytes_removed not in seen[0]
        assert bytes_stay in seen[0]
        assert not any(removed["url"].encode() in page for page in seen)
        assert escape(removed["text"]).encode() not in b"".join(seen)
        assert escape(stays["text"]).encode() in seen[2]
        place.good("build", FIRST)


@pytest.mark.parametrize(
    "path",
    [
        "/laion/pictures/kept/crawl=CC-MAIN-1999-01/bucket=0",
        "/laion/pictures/all/crawl=CC-MAIN-2026-04/bucket=0",
        "/laion/pictures/kept/..%2f..%2f..%2fetc/passwd",
        "/laion/rows/takedowns/kind=url",
        "/laion/rows/images'--/all",
        "/laion/rows/scored_pairs/all",
        "/laion/anything",
    ],
)
def test_what_the_lake_does_not_hold_is_not_found(browser: TestClient, path: str) -> None:
    assert browser.get(path).status_code == 404


def test_pages_are_only_read_and_nobody_keeps_them(browser: TestClient) -> None:
    address = pairs_address("kept", PARTITION)
    assert {browser.request(method, address).status_code for method in ("POST", "PUT", "DELETE")} == {405}
    headers = browser.get(address).headers
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"
