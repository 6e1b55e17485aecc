"""Real photographs with real captions, published as a crawl, from the page to the vector."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.sample.archive import write_crawl
from laion_assets.sample.pages import ImageTag, Page
from tests.integration.conftest import assert_conserved, build, folder_handler, rows, serving

pytestmark = pytest.mark.integration

CRAWL = "CC-MAIN-2017-43"


@dataclass(frozen=True)
class Photograph:
    file: Path
    width: int
    height: int
    captions: tuple[str, ...]


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> dict[str, Photograph]:
    """By file name."""
    folder = shared_data / "images" / "coco_mini"
    annotated = json.loads((folder / "annotations" / "captions_train2017.json").read_text("utf-8"))
    captions = defaultdict(list)
    for annotation in annotated["annotations"]:
        captions[annotation["image_id"]].append(annotation["caption"])
    files = {file.name: file for file in (folder / "train2017").glob("*.jpg")}
    return {
        image["file_name"]: Photograph(
            files[image["file_name"]], image["width"], image["height"], tuple(captions[image["id"]])
        )
        for image in annotated["images"]
        if image["file_name"] in files
    }


@pytest.fixture(scope="module", params=["wat", pytest.param("warc", marks=pytest.mark.slow)])
def built(request, photographs, lake_settings, tmp_path_factory) -> Iterator[tuple[Lake, int]]:
    """The lake, and the port of the pictures' server."""
    root = tmp_path_factory.mktemp("coco")
    folder = next(iter(photographs.values())).file.parent
    with serving(folder_handler(folder)) as port:
        pages = [
            Page(
                url=f"http://127.0.0.1:{port}/gallery/{number}.html",
                images=[ImageTag(f"../{name}", caption) for caption in photograph.captions],
            )
            for number, (name, photograph) in enumerate(photographs.items())
        ]
        write_crawl(root / "source", CRAWL, pages, 3)
        settings = lake_settings(root / "lake", root / "source", format=request.param)
        outcome = build(settings, CRAWL)
        assert outcome.failures == []
        yield settings.open_lake(), port


def test_every_photograph_is_downloaded_as_it_was_published(built, photographs):
    lake, port = built
    images = rows(lake, "images", CRAWL)
    assert len(photographs) == images.height == 80
    assert images["status"].unique().to_list() == ["success"]
    found = {row["url"]: row for row in images.iter_rows(named=True)}
    for name, photograph in photographs.items():
        row = found[f"http://127.0.0.1:{port}/{name}"]
        content = photograph.file.read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["byte_size"] == len(content)
        assert (row["original_width"], row["original_height"]) == (photograph.width, photograph.height)
        assert row["http_status"] == 200
        assert row["content_type"] == "image/jpeg"
        assert (lake.root / row["shard_path"]).is_file()


def test_every_caption_is_intact(built, photographs):
    lake, port = built
    expected = {
        (f"http://127.0.0.1:{port}/{name}", " ".join(caption.split()))
        for name, photograph in photographs.items()
        for caption in photograph.captions
    }
    pairs = rows(lake, "unique_pairs", CRAWL)
    assert set(pairs.select("url", "text").iter_rows()) == expected
    assert pairs.height == len(expected)
    assert pairs["duplicate_count"].sum() == sum(len(p.captions) for p in photographs.values())
    assert (pairs["language"] == "en").mean() > 0.9


def test_every_pair_is_embedded_and_released(built):
    lake, _ = built
    assert_conserved(lake, CRAWL)
    pairs = rows(lake, "unique_pairs", CRAWL, ["pair_id", "url", "text"]).sort("pair_id")
    vectors = rows(lake, "clip_embeddings", CRAWL)
    assert vectors["pair_id"].sort().to_list() == pairs["pair_id"].to_list()
    for column in ("image_embedding", "text_embedding"):
        lengths = np.linalg.norm(np.array(vectors[column].to_list()), axis=1)
        assert np.abs(lengths - 1).max() < 1e-3
    assert vectors["similarity"].is_between(-1, 1).all()
    # A picture has one vector whichever of its captions it stands beside, and different pictures have different ones.
    by_url = vectors.join(pairs, on="pair_id").group_by("url").agg(pl.col("image_embedding").unique())
    assert by_url["image_embedding"].list.len().to_list() == [1] * 80
    assert by_url.explode("image_embedding")["image_embedding"].n_unique() == 80
    released = rows(lake, "filtered_pairs", CRAWL, ["pair_id", "url", "text"]).sort("pair_id")
    assert released.equals(pairs)
