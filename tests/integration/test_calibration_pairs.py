"""Calibrating on a file as others publish theirs: structs of bytes and path, lists of captions, gaps."""

import polars as pl
import pytest

from laion_assets.clip.calibration import CalibrationOptions
from laion_assets.sample.encoder import write_calibration
from tests.integration.conftest import build

pytestmark = pytest.mark.integration

HUB = pl.Struct({"bytes": pl.Binary, "path": pl.String})


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("calibration") / "plain.parquet"
    write_calibration(path, 120)
    return pl.read_parquet(path)


def calibrated(lake_settings, folder, pairs: pl.DataFrame):
    pairs.write_parquet(folder / "pairs.parquet")
    options = CalibrationOptions(pairs=str(folder / "pairs.parquet"), picture_domain="drawn shapes")
    settings = lake_settings(folder / "lake", folder / "source", calibration=options)
    return settings.open_lake(), build(settings)


def test_a_file_of_structs_lists_and_gaps_gives_the_thresholds_of_its_whole_rows(lake_settings, plain, tmp_path):
    images = [{"bytes": image, "path": f"{row}.jpg"} for row, image in enumerate(plain["image"])]
    captions = [[None, "", text, "another caption"] for text in plain["text"]]
    images += [None, {"bytes": None, "path": "lost.jpg"}, images[0], {"bytes": b"no picture", "path": None}]
    captions += [["a caption"], ["a caption"], [], ["a caption"]]
    hub = pl.DataFrame({"image": images, "text": captions}, schema={"image": HUB, "text": pl.List(pl.String)})
    found = []
    for name, pairs in (("hub", hub), ("plain", plain)):
        (tmp_path / name).mkdir()
        lake, outcome = calibrated(lake_settings, tmp_path / name, pairs)
        assert outcome.failures == []
        (sha256,) = lake.scan("calibrations").select("encoder_sha256").unique().collect().to_series()
        counts = lake.commit("calibrations", {"encoder_sha256": sha256}).counts
        found.append((lake.scan("calibrations").drop("calibrated_at").collect().sort("language_group"), counts))
    (of_hub, said), (of_plain, nothing) = found
    assert of_hub["positives"].to_list() == of_plain["positives"].to_list()
    assert of_hub["positive_mean"].to_list() == pytest.approx(of_plain["positive_mean"].to_list(), abs=1e-3)
    assert (said, nothing) == ({"no picture": 2, "no text": 1, "undecodable": 1}, {})


def test_a_file_without_its_columns_is_one_clear_error(lake_settings, plain, tmp_path):
    _, outcome = calibrated(lake_settings, tmp_path, plain.rename({"text": "caption"}))
    ((table, _, error),) = outcome.failures
    assert table == "calibrations"
    assert "LAION_CALIBRATION__PAIRS" in error
    assert "found image, caption, language" in error
