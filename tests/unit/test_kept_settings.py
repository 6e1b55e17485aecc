"""Paths that a lake keeps of itself: relative to it where they lie in it, and understood wherever it lies now."""

from pathlib import Path

import pytest

from laion_assets.sample.encoder import MODEL_CONFIGS
from laion_assets.settings import LAKE_SETTINGS_FILE, load_settings, write_lake_settings


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake with some files; the working folder is another one, with files of the same names."""
    for folder in (tmp_path / "lake", tmp_path / "here"):
        (folder / "files" / "encoders").mkdir(parents=True)
        (folder / "files" / "encoders" / "own.pt").write_bytes(b"")
        (folder / "deny.txt").write_text("")
    (tmp_path / "here" / "web").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("LAION_SOURCE", raising=False)
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    return tmp_path / "lake"


def kept(lake: Path, **values: str) -> None:
    """Settings as they stand in the lake's file, by hand or by an earlier version."""
    (lake / LAKE_SETTINGS_FILE).write_text("".join(f"LAION_{name}={value}\n" for name, value in values.items()))


@pytest.mark.parametrize(
    "written", ["{lake}/files/encoders/own.pt", "files/encoders/own.pt", "{lake}/x/../files/encoders/own.pt"]
)
def test_what_lies_in_the_lake_is_kept_relative_to_it(lake: Path, written: str) -> None:
    write_lake_settings(str(lake), {"LAION_ENCODER__PRETRAINED": written.format(lake=lake)})
    assert (lake / LAKE_SETTINGS_FILE).read_text() == 'LAION_ENCODER__PRETRAINED="files/encoders/own.pt"\n'
    assert load_settings().encoder.pretrained == str(lake / "files/encoders/own.pt")


def test_a_text_that_happens_to_be_a_path_is_kept_as_it_is(lake: Path) -> None:
    write_lake_settings(str(lake), {"LAION_DOWNLOAD__CONTACT": str(lake / "files")})
    assert load_settings().download.contact == str(lake / "files")


@pytest.mark.parametrize(
    ("value", "leads"),
    [
        ("files/encoders/own.pt", "{lake}/files/encoders/own.pt"),
        ("files/encoders/gone.pt", "{lake}/files/encoders/gone.pt"),
        ("/old/lake/files/encoders/own.pt", "{lake}/files/encoders/own.pt"),
        ("/old/files/lake/files/encoders/own.pt", "{lake}/files/encoders/own.pt"),
        ("/old/lake/files/encoders/gone.pt", "/old/lake/files/encoders/gone.pt"),
        ("laion2b_s34b_b79k", "laion2b_s34b_b79k"),
        ("hf-hub:owner/name", "hf-hub:owner/name"),
        ("/elsewhere/own.pt", "/elsewhere/own.pt"),
    ],
)
def test_a_path_leads_into_the_lake_where_it_lies_there_now(lake: Path, value: str, leads: str) -> None:
    kept(lake, ENCODER__PRETRAINED=value)
    assert load_settings().encoder.pretrained == leads.format(lake=lake)


def test_a_path_of_the_working_folder_and_an_address_stay_what_they_are(lake: Path) -> None:
    for source in ("web", "s3://commoncrawl", "https://data.commoncrawl.org", "/elsewhere"):
        kept(lake, SOURCE=source)
        assert load_settings().source == source


def test_a_lake_at_the_old_place_is_not_taken_for_this_one(lake: Path, tmp_path: Path) -> None:
    other = tmp_path / "old" / "files" / "encoders"
    other.mkdir(parents=True)
    (other / "own.pt").write_bytes(b"of another lake that was made there since")
    kept(lake, ENCODER__PRETRAINED=str(other / "own.pt"))
    assert load_settings().encoder.pretrained == str(lake / "files/encoders/own.pt")


@pytest.mark.parametrize("value", ["deny.txt:/old/lake/deny.txt", '["deny.txt", "/old/lake/deny.txt"]'])
def test_each_path_of_a_list_is_read_so(lake: Path, value: str) -> None:
    kept(lake, DENY__URL_LISTS=value)
    assert load_settings().deny.url_lists == (str(lake / "deny.txt"),) * 2


def test_settings_that_are_one_object_are_read_so_too(lake: Path) -> None:
    kept(lake, ENCODER='{"model": "m", "pretrained": "/old/lake/files/encoders/own.pt"}')
    assert load_settings().encoder.pretrained == str(lake / "files/encoders/own.pt")


def test_the_environment_names_files_from_the_working_folder_on(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(lake, ENCODER__PRETRAINED="files/encoders/own.pt")
    monkeypatch.setenv("LAION_ENCODER__PRETRAINED", "files/encoders/own.pt")
    assert load_settings().encoder.pretrained == "files/encoders/own.pt"


def test_a_checkout_that_is_gone_is_the_package_that_is_here(lake: Path) -> None:
    kept(lake, ENCODER__MODEL_CONFIGS="/gone/checkout/laion_assets/sample/model_configs")
    assert load_settings().encoder.model_configs == MODEL_CONFIGS


def test_where_files_lie_does_not_shape_a_table(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        for name in ("weights.pt", "pairs.parquet"):
            (folder / name).write_bytes(name.encode())
        monkeypatch.setenv("LAION_ENCODER__PRETRAINED", str(folder / "weights.pt"))
        monkeypatch.setenv("LAION_CALIBRATION__PAIRS", str(folder / "pairs.parquet"))
        found.append(load_settings().expectations("r"))
    assert found[0] == found[1]
    (tmp_path / "other" / "pairs.parquet").write_bytes(b"other pairs")
    assert {table for table, e in load_settings().expectations("r").items() if e != found[0][table]} == {"calibrations"}


def test_of_files_that_are_not_there_no_digest_is_said_but_why(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAION_CALIBRATION__PAIRS", "/gone/pairs.parquet")
    monkeypatch.setenv("LAION_ENCODER__PRETRAINED", "/gone/weights.pt")
    unsaid = {table: e.missing for table, e in load_settings().expectations("r").items() if e.settings_digest is None}
    assert sorted(unsaid) == ["calibrations", "clip_embeddings"]
    assert all("/gone/" in str(reason) for reason in unsaid.values())
