"""What a lake in a bucket may forget, asked of a real server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.delta.retention import plan_retention
from laion_assets.delta.sweep import sweep
from laion_assets.delta.table import Table
from laion_assets.lake.opening import open_lake
from tests.s3 import BUCKET, environment, s3_server
from tests.unit.delta.tables_made import made

pytestmark = pytest.mark.integration

PARTITION = "crawl=CC-2024-10/bucket=0"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    with s3_server(tmp_path / "log") as url:
        for name, value in environment(url, tmp_path / "scratch").items():
            monkeypatch.setenv(name, value)
        yield open_lake(f"s3://{BUCKET}/lake")


def images(lake: Lake, mark: str) -> tuple[int, str]:
    """A version of ``images`` that names one tar."""
    tar = f"files/images/{PARTITION}/{mark}/00000.tar"
    lake.storage.replace(tar, b"pictures")
    row = {"url": "http://a", "status": "success", "shard_path": tar}
    return made(lake, "images", PARTITION, [row]).version, tar


def test_a_bucket_forgets_what_nothing_names_and_keeps_what_is_pinned(lake: Lake) -> None:
    (pinned, first), shard = images(lake, "1" * 16), f"files/training_sets/some/{'5' * 32}/train/00000.tar"
    lake.storage.replace(shard, b"samples")
    row = {"split": "train", "shard_path": shard, "source_versions": []}
    made(lake, "training_sets", "recipe=some", [row], reads={"images": [PARTITION]})
    (forgotten, second), (newest, third) = images(lake, "2" * 16), images(lake, "3" * 16)
    lake.storage.replace("files/encoders/weights.safetensors", b"put there")
    lake.storage.replace(f"images/{PARTITION}/part-orphan.parquet", b"of a writer that died")

    assert plan_retention(lake).freed_files == 0  # all of it is young
    plan = plan_retention(lake, now=datetime.now(UTC) + timedelta(days=100))
    assert {area.name: area.freed_files for area in plan.areas if area.freed_files} == {"images": 2, "files/images": 1}
    swept = sweep(lake, plan)
    assert (swept.complete, swept.spared, sum(swept.files.values())) == (True, 0, 3)

    there = {file.name for file in lake.storage.files()}
    assert {first, third, shard, "files/encoders/weights.safetensors"} <= there
    assert second not in there
    for version, tar in ((pinned, first), (newest, third)):
        rows = pl.scan_delta(lake.opened("images", version), storage_options=lake.storage.polars_options).collect()
        assert rows["shard_path"].to_list() == [tar]
    assert not {file for file in lake.opened("images", forgotten).file_uris() if file.rpartition("/lake/")[2] in there}


def test_logs_in_a_bucket_forget_the_texts_that_earlier_versions_put_there(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Table, "configuration", property(lambda _: {"delta.enableExpiredLogCleanup": "false"}))
        for url in ("http://somebody.example/1", "http://somebody.example/2"):
            made(lake, "images", PARTITION, [{"url": url, "status": "failed", "failure": "dns"}])
        lake.opened("images").create_checkpoint()

    def log() -> bytes:
        folders = ("images/_delta_log", "images/_laion")
        return b"".join(lake.storage.read(file.name) for folder in folders for file in lake.storage.files(folder))

    assert b"somebody.example" in log()
    swept = sweep(lake, plan_retention(lake))
    assert (swept.entries, b"somebody.example" in log()) == (2, False)
    assert lake.scan("images").collect()["url"].to_list() == ["http://somebody.example/2"]
    assert sweep(lake, plan_retention(lake)).entries == 0
