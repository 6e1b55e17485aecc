"""Every script below ``measurements/`` runs to its end, at the smallest size that goes through all of it."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from laion_assets.sample.benchmarks import write_sample_benchmarks
from laion_assets.settings import Settings, write_lake_settings
from tests.pipeline.conftest import REPOSITORY, environment
from tests.warm import PYTHONPATH

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LakeCopy = Callable[..., Settings]


def run(script: str, *arguments: str, cwd: Path) -> str:
    """What a script prints; it must end with exit code 0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    ran = subprocess.run(
        [sys.executable, str(REPOSITORY / "measurements" / script), *arguments],
        cwd=cwd,
        env=kept | {"PYTHONPATH": PYTHONPATH, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "INFO:laion_assets" not in ran.stderr
    return ran.stdout


def test_real_pictures_go_from_a_crawl_to_a_score(shared_data: Path, tmp_path: Path) -> None:
    """1,200 of CIFAR-10's pictures of 10 classes: every link becomes a released pair, and 100 others are classified."""
    pack = tmp_path / "pack.zip"
    with zipfile.ZipFile(shared_data / "packs" / "cifar10_dev.zip") as whole, zipfile.ZipFile(pack, "w") as part:
        for name in whole.namelist():
            split, _, file = name.split("/")
            if file and int(file.removesuffix(".jpg")) < {"train": 120, "test": 10}[split]:
                part.writestr(name, whole.read(name))
    printed = run("cifar.py", str(pack), "--folder", "work", "--samples", "4096", "--goal", "0", cwd=tmp_path)
    assert "links 1,200, candidate_pairs 1,200, unique_pairs 1,200, images 1,200" in printed
    assert "filtered_pairs 1,200" in printed
    assert "trained on 4,096 samples" in printed
    assert "on 100 test pictures" in printed


def test_both_arms_of_the_sample_are_trained_and_measured(lake_copy: LakeCopy, tmp_path: Path) -> None:
    settings = lake_copy()
    kept = {name: value for name, value in environment(settings, tmp_path).items() if name.startswith("LAION_")}
    write_lake_settings(settings.lake, {name: value for name, value in kept.items() if name != "LAION_LAKE"})
    write_sample_benchmarks(Path(settings.lake) / "files" / "benchmarks", size=20)
    printed = run("arms.py", "--lake", settings.lake, "--scales", "4k", "--seeds", "1", cwd=tmp_path)
    assert "4k: 2 recipes in " in printed
    assert "sample-retrieval R@1" in printed
    assert "one seed" in printed
    assert "sample-unseen top-1" in run("arms.py", "--lake", settings.lake, "--seeds", "0", cwd=tmp_path)


def test_a_lake_of_many_partitions_is_looked_at(tmp_path: Path) -> None:
    sizes = ("--crawls", "3", "--buckets", "2", "--told", "1")
    printed = run("many_partitions.py", *sizes, "--folder", str(tmp_path / "many"), cwd=tmp_path)
    assert "commit records of 3 crawls written" in printed
    assert "ticks of nightly_backfill in a new process" in printed
    assert "asset page, the latest materialisations: first" in printed


def test_fetching_is_measured_beside_the_peer(tmp_path: Path) -> None:
    printed = run("fetching.py", "--files", "40", "--bytes", "2000", "--rounds", "1", cwd=tmp_path)
    for arm in ("now, fetch", "now, whole stage", "img2dataset's fetch"):
        assert f"{arm:20}" in printed
    assert printed.count("requests a processor second") == 3


def test_resizing_is_measured_beside_the_peer(tmp_path: Path) -> None:
    printed = run("resizing.py", "--seconds", "0.01", cwd=tmp_path)
    assert "progressive" in printed


def test_virtual_shards_are_measured_beside_copies(tmp_path: Path) -> None:
    printed = run("shards.py", "--pictures", "2048", "--bytes", "500", "--rounds", "1", cwd=tmp_path)
    assert printed.count("written in") == printed.count("served, samples a processor second") == 2


def test_lists_are_taken_in_beside_counting_their_urls(tmp_path: Path) -> None:
    sizes = ("--rows", "4000", "--row-group", "1000", "--shards", "2")
    printed = run("list_import.py", *sizes, "--folder", str(tmp_path / "lists"), cwd=tmp_path)
    assert [name for name in ("laion import", "candidate pairs", "DuckDB") if name not in printed] == []


def test_every_script_has_a_test_that_names_it() -> None:
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    scripts = [path for path in (REPOSITORY / "measurements").glob("*.py") if path.name != "__init__.py"]
    assert [
        path.name for path in scripts if f'"{path.name}"' not in tests and f"measurements.{path.stem}" not in tests
    ] == []
