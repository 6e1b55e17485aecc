"""A lake is moved and its old place is gone: it answers, is up to date, and is built on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from laion_assets.settings import LAKE_SETTINGS_FILE
from tests.pipeline.places import FIRST, SECOND, Place


@pytest.fixture
def copy(first_crawl: Place, tmp_path: Path) -> Callable[[], Place]:
    """A copy of that lake, at a place that can be taken away."""
    return lambda: Place(Path(shutil.copytree(first_crawl.folder, tmp_path / "before", symlinks=True)))


def test_a_lake_names_nothing_of_its_own_by_where_it_lies(first_crawl: Place) -> None:
    kept = (first_crawl.lake / LAKE_SETTINGS_FILE).read_text()
    assert str(first_crawl.folder) not in kept
    assert 'LAION_ENCODER__PRETRAINED="files/encoders/untrained.safetensors"' in kept
    entries = [
        json.loads(line) for log in first_crawl.lake.rglob("_delta_log/*.json") for line in log.read_text().splitlines()
    ]
    for entry in entries:  # delta-rs notes where a table was made, which nobody reads
        entry.get("commitInfo", {}).get("operationParameters", {}).pop("location", None)
    assert len(entries) > 20
    old = (str(first_crawl.folder), quote(str(first_crawl.folder)))
    places = [str(entry) for entry in entries if any(place in str(entry) for place in old)]
    assert places == []


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
