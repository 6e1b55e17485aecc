"""A lake is moved and its old place is gone: it answers, is up to date, and is built on."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from laion_assets.clip.encoder import EncoderOptions
from laion_assets.sample.encoder import MODEL_CONFIGS, write_calibration
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import LAKE_SETTINGS_FILE, write_lake_settings
from tests.pipeline.conftest import REPOSITORY, Web, laion

FIRST, SECOND = CRAWLS
DOWNLOADS = {
    "LAION_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES": "true",
    "LAION_DOWNLOAD__TIMEOUT_SECONDS": "2",
    "LAION_DOWNLOAD__DEADLINE_SECONDS": "4",
    "LAION_DOWNLOAD__RETRIES": "0",
    "LAION_DOWNLOAD__CONNECTIONS_PER_HOST": "64",
    "LAION_DOWNLOAD__MIN_IMAGE_SIZE": "8",
}


@dataclass(frozen=True)
class Place:
    """A folder with a lake and a Dagster home; ``laion`` is run there with the lake's path and nothing else."""

    folder: Path

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
        own = {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", "LAION_LAKE": str(self.lake)}
        return subprocess.run(
            laion(*arguments),
            cwd=self.folder,
            env=kept | own | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def good(self, *arguments: str, **settings: str) -> str:
        ran = self.run(*arguments, **settings)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def states(self, **settings: str) -> dict[str, int]:
        """How many partitions stand how."""
        found: dict[str, int] = {}
        for counts in json.loads(self.good("status", "--json", **settings))["stages"].values():
            for state, partitions in counts.items():
                found[state] = found.get(state, 0) + partitions
        return {state: partitions for state, partitions in found.items() if partitions}

    def moved(self, target: Path) -> "Place":
        """All of it somewhere else; nothing is left where it was."""
        shutil.move(self.folder, target)
        assert not self.folder.exists()
        return Place(target)


@pytest.fixture(scope="session")
def first_crawl(small_web: Web, encoder: EncoderOptions, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lake of one crawl that keeps its encoder, its calibration and a deny list in itself. Not to be written to."""
    place = Place(tmp_path_factory.mktemp("old place"))
    kept = place.lake / "files" / "encoders"
    kept.mkdir(parents=True)
    shutil.copy(encoder.pretrained, kept / "untrained.safetensors")
    shutil.copy(Path(MODEL_CONFIGS) / f"{encoder.model}.json", kept)
    write_calibration(kept / "calibration.parquet", 120)
    (place.lake / "deny.txt").write_text("nowhere.example\n")
    write_lake_settings(
        str(place.lake),
        DOWNLOADS
        | {
            "LAION_SHARDS": "1",
            "LAION_BUCKETS": "1",
            "LAION_SOURCE": str(small_web.root),
            "LAION_FILTER__POLICY": "none",
            "LAION_ENCODER__MODEL": encoder.model,
            "LAION_ENCODER__PRETRAINED": str(kept / "untrained.safetensors"),
            "LAION_ENCODER__MODEL_CONFIGS": str(kept),
            "LAION_CALIBRATION__PAIRS": str(kept / "calibration.parquet"),
            "LAION_DENY__DOMAIN_LISTS": str(place.lake / "deny.txt"),
        },
    )
    place.good("build", FIRST)
    assert place.states() == {"done": 7}
    return place


@pytest.fixture
def copy(first_crawl: Place, tmp_path: Path) -> Callable[[], Place]:
    """A copy of that lake, at a place that can be taken away."""
    return lambda: Place(Path(shutil.copytree(first_crawl.folder, tmp_path / "before", symlinks=True)))


def test_a_lake_names_nothing_of_its_own_by_where_it_lies(first_crawl: Place) -> None:
    kept = (first_crawl.lake / LAKE_SETTINGS_FILE).read_text()
    assert str(first_crawl.folder) not in kept
    assert 'LAION_ENCODER__PRETRAINED="files/encoders/untrained.safetensors"' in kept
    logs = [path for path in first_crawl.lake.rglob("_delta_log/*.json") if str(first_crawl.folder) in path.read_text()]
    assert logs == []


def test_a_moved_lake_answers_is_up_to_date_and_is_built_on(copy: Callable[[], Place], tmp_path: Path) -> None:
    before = copy()
    pictures = before.good("sql", "SELECT count(*) AS n FROM images", "--format", "csv")
    place = before.moved(tmp_path / "after")
    assert place.states() == {"done": 7}
    assert place.good("sql", "SELECT count(*) AS n FROM images", "--format", "csv") == pictures
    place.good("report")
    pair = place.good("sql", "SELECT min(pair_id) AS pair FROM filtered_pairs", "--format", "csv").split()[-1]
    assert f"{FIRST}" in place.good("lineage", "filtered_pairs", "--pair-id", pair)
    assert "0 failed" in place.good("build", FIRST)
    place.good("build", SECOND)
    assert place.states() == {"done": 14}


def test_a_lake_from_before_that_names_its_own_files_by_where_it_lay_is_understood(
    copy: Callable[[], Place], tmp_path: Path
) -> None:
    before = copy()
    old = "/gone/with all of/its lake"
    as_it_was = (
        (before.lake / LAKE_SETTINGS_FILE)
        .read_text()
        .replace('MODEL_CONFIGS="files/encoders"', 'MODEL_CONFIGS="/gone/checkout/laion_assets/sample/model_configs"')
        .replace('="files/', f'="{old}/files/')
        .replace('="deny.txt', f'="{old}/deny.txt')
    )
    assert as_it_was.count(old) == 3
    (before.lake / LAKE_SETTINGS_FILE).write_text(as_it_was)
    place = before.moved(tmp_path / "after")
    assert place.states() == {"done": 7}
    place.good("build", SECOND)
    assert place.states() == {"done": 14}


@pytest.mark.parametrize(
    ("missing", "setting"),
    [
        ("weights.safetensors", "LAION_ENCODER__PRETRAINED"),
        ("pairs.parquet", "LAION_CALIBRATION__PAIRS"),
        ("list.txt", "LAION_DENY__URL_LISTS"),
        ("source", "LAION_SOURCE"),
        ("models", "LAION_MODELS"),
        ("recipes", "LAION_RECIPES"),
        ("benchmarks", "LAION_BENCHMARKS"),
    ],
)
def test_what_lies_elsewhere_may_be_missing_until_it_is_needed(
    first_crawl: Place, tmp_path: Path, missing: str, setting: str
) -> None:
    # Every command reads settings of the environment as it reads those of the lake.
    gone = {setting: str(tmp_path / "gone" / missing)}
    assert first_crawl.states(**gone) == {"done": 7}
    first_crawl.good("sql", "SELECT count(*) FROM images", **gone)
    first_crawl.good("tables", **gone)
    first_crawl.good("lineage", "images", **gone)


@pytest.mark.parametrize(
    ("missing", "setting", "command"),
    [
        ("weights.safetensors", "LAION_ENCODER__PRETRAINED", ("build", SECOND)),
        ("list.txt", "LAION_DENY__URL_LISTS", ("build", SECOND)),
        ("list.txt", "LAION_DENY__URL_LISTS", ("report",)),
        ("source", "LAION_SOURCE", ("build", SECOND)),
        ("models", "LAION_MODELS", ("models", "run")),
        ("recipes", "LAION_RECIPES", ("train", "sample-filtered-4k")),
    ],
)
def test_what_is_missing_and_needed_is_said_by_name(
    copy: Callable[[], Place], tmp_path: Path, missing: str, setting: str, command: tuple[str, ...]
) -> None:
    gone = tmp_path / "gone" / missing
    ran = copy().run(*command, **{setting: str(gone)})
    assert ran.returncode in (1, 2)
    told = [line for line in ran.stderr.splitlines() if str(gone) in line]
    assert told
    assert "Traceback" not in ran.stderr + ran.stdout
