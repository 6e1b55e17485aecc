"""A lake that is copied into a bucket brings the files with it that its settings name."""

from pathlib import Path

import pytest

from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.location import open_storage
from laion_assets.settings import load_settings, write_lake_settings
from tests.s3 import BUCKET, environment, s3_server

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kept", ["files/encoders", "/old/lake/files/encoders"])
def test_what_a_lake_keeps_in_itself_is_fetched_from_its_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.delenv("LAION_SOURCE", raising=False)
    folder = tmp_path / "lake"
    (folder / "files" / "encoders").mkdir(parents=True)
    for name in ("own.pt", "own.json", "pairs.parquet"):
        (folder / "files" / "encoders" / name).write_text(name)
    settings = {
        "LAION_ENCODER__PRETRAINED": f"{kept}/own.pt",
        "LAION_ENCODER__MODEL_CONFIGS": kept,
        "LAION_CALIBRATION__PAIRS": f"{kept}/pairs.parquet",
        "LAION_SOURCE": "/elsewhere",
    }
    write_lake_settings(str(folder), settings)
    with s3_server(tmp_path / "log") as url:
        for name, value in environment(url, tmp_path / "scratch").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LAION_LAKE", f"s3://{BUCKET}/moved")
        bucket, here = open_storage(f"s3://{BUCKET}/moved"), FolderStorage(folder)
        for file in here.files():
            bucket.replace(file.name, here.read(file.name))
        found = load_settings()
        assert Path(found.encoder.pretrained).read_text() == "own.pt"
        assert [file.name for file in Path(str(found.encoder.model_configs)).glob("*.json")] == ["own.json"]
        assert Path(str(found.calibration.pairs)).read_text() == "pairs.parquet"
        assert found.source == "/elsewhere"
        # What changed in the bucket since is fetched anew.
        bucket.replace("files/encoders/own.pt", b"another")
        assert Path(load_settings().encoder.pretrained).read_text() == "another"
