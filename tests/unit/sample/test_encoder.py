import json
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from laion_assets.sample.captions import LANGUAGES
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS, calibration_pairs, training_pairs, write_calibration
from laion_assets.sample.world import held_out


def test_training_pairs_fit_together_and_show_nothing_held_out():
    pairs = training_pairs(300, seed=1, captions_per_picture=3)
    assert pairs.images.shape == (300, 32, 32, 3)
    assert pairs.images.dtype == np.uint8
    assert len(pairs.captions) == len(pairs.languages) == 900
    assert (np.bincount(pairs.image_indices) == 3).all()
    assert set(pairs.languages) == set(LANGUAGES)
    assert not held_out(*pairs.attributes[:, :3].astype(int).T).any()


def test_training_and_calibration_share_no_picture():
    training, calibration = training_pairs(200, seed=0), calibration_pairs(200, seed=0)
    both = np.concatenate([training.images, calibration.images]).reshape(400, -1)
    assert len(np.unique(both, axis=0)) == 400


def test_the_calibration_file_holds_pictures_as_served(tmp_path):
    write_calibration(tmp_path / "a.parquet", n=50)
    write_calibration(tmp_path / "b.parquet", n=50)
    frame = pl.read_parquet(tmp_path / "a.parquet")
    assert frame.schema == {"image": pl.Binary, "text": pl.String, "language": pl.String}
    assert {Image.open(BytesIO(image)).size for image in frame["image"]} == {(80, 80)}
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_the_model_is_configured_for_these_pictures():
    config = json.loads((Path(MODEL_CONFIGS) / f"{MODEL}.json").read_text())
    assert config["vision_cfg"]["image_size"] == training_pairs(1, seed=0).images.shape[1]
