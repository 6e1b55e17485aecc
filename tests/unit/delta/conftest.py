"""A lake of one's own, and a way to publish rows into it."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from laion_assets.delta.build import PartitionBuild, lake_build
from laion_assets.delta.commits import Commit, Provenance
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake

PROVENANCE = Provenance(run_id="run", code_version="1", settings_digest="s")
Publish = Callable[..., Commit]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "lake"))


def files_frame(paths: list[str]) -> pl.DataFrame:
    numbers = list(range(len(paths)))
    return pl.DataFrame(
        {"file_number": numbers, "path": paths, "shard": [n % 4 for n in numbers]},
        schema={"file_number": pl.Int32, "path": pl.String, "shard": pl.Int32},
    )


def publish_files(lake: Lake, crawl: str, paths: list[str], **build: object) -> Commit:
    """Publish ``wat_files`` of a crawl."""

    def fill(building: PartitionBuild) -> None:
        building.add(files_frame(paths))
        building.rows_in = len(paths)

    with lake_build(lake, "wat_files", {"crawl": crawl}, PROVENANCE) as building:
        fill(building)
        return building.publish()


def paths_of(lake: Lake, crawl: str) -> list[str]:
    return lake.rows("wat_files", {"crawl": crawl}, ["path"])["path"].to_list()
