"""A disk that runs full while pictures are downloaded: the reason at once, and what was finished is kept."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.tables.needs import RetryOptions
from tests.pipeline.conftest import Built, assert_same_rows, finished_results, unfinished

ENOUGH = "200m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with little room, where the lake's work in progress lies."""
    folder = tmp_path / "lake" / ".staging"
    if shutil.which("mount") is None:
        pytest.skip("there is no mount(8) to make a small disk with")
    yield folder
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)


def mount(folder: Path, options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")


def test_a_full_disk_is_told_at_once_with_what_is_kept_and_the_build_goes_on_once_there_is_room(
    small_disk: Path,
    lake_copy: Callable[..., Settings],
    undisturbed: Built,
    builder: Callable[[Settings], Builder],
) -> None:
    # Were it tried again, it would take minutes. One tar comes after the other: only the last has no room.
    download = replace(undisturbed.settings.download, processes=1)
    settings = lake_copy(without=["images"], retries=RetryOptions(times=3, seconds=600.0), download=download)
    shutil.rmtree(small_disk, ignore_errors=True)
    partitions = (undisturbed.lake.root / "files" / "images").glob("crawl=*/bucket=*")
    smallest = min(sum(tar.stat().st_size for tar in partition.rglob("*.tar")) for partition in partitions)
    mount(small_disk, f"size={smallest * 85 // 100}")
    outcome = builder(settings).build(CrawlRequest(crawls=CRAWLS, until="images"))
    assert outcome.failures
    for _, _, error in outcome.failures:
        assert error.startswith("the disk is full ("), error
        assert "No space left on device" in error
        assert "what was finished is kept; make room" in error
        assert "\n" not in error
    kept = finished_results(settings.open_lake())
    mount(small_disk, f"remount,size={ENOUGH}")
    times = {path: path.stat().st_mtime_ns for path in kept if path.exists()}
    assert times, "some tars were finished before the disk was full"
    assert builder(settings).build(CrawlRequest(crawls=CRAWLS)).failures == []
    assert_same_rows(settings.open_lake(), undisturbed.lake, ["images"], places=False)
    assert unfinished(settings) == {}
