"""Tars that others wrote, imported: their pictures go the whole road of a crawl, and nobody is asked for anything."""

import hashlib
import io
import json
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from laion_assets.clip.options import EncoderOptions
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.settings import Settings
from laion_assets.webdataset.samples import read_pictures
from tests.pipeline.conftest import usual_settings

NAME = "foreign"


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.GaussianBlur(pixels, (9, 9), 0))[1].tobytes())


def url(number: int) -> str:
    return f"http://pictures{number % 3}.invalid/{number}.jpg"


def write_tar(tar: Path, numbers: range, **told: Any) -> None:
    """A tar as img2dataset writes it."""
    with tarfile.open(tar, "w") as archive:
        for number in numbers:
            caption = f"a picture of the thing with number {number}"
            record = {"url": url(number), "caption": caption, "key": f"{number:09d}", "status": "success", **told}
            members = {"jpg": picture(number), "json": json.dumps(record).encode(), "txt": caption.encode()}
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{number:09d}.{extension}")
                info.size, info.mtime = len(content), 1_700_000_000
                archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three tars of eight pictures, the last of them cut off within its last sample, and one without urls."""
    made = tmp_path / "tars"
    made.mkdir()
    for number in range(3):
        write_tar(made / f"{number:05d}.tar", range(number * 8, number * 8 + 8), sha256="ab" * 32)
    cut_off = made / "00002.tar"
    cut_off.write_bytes(cut_off.read_bytes()[:-11_000])
    write_tar(made / "00003.tar", range(90, 92), url=None)
    return made


@pytest.fixture
def settings(tmp_path: Path, encoder: EncoderOptions) -> Settings:
    """A lake whose source is not there."""
    usual = usual_settings(tmp_path / "no source", encoder, tmp_path / "no calibration")
    return Settings(_env_file=None, lake=str(tmp_path / "lake"), **usual)  # type: ignore[call-arg]


@pytest.fixture
def laion(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    from laion_assets.cli.main import app

    monkeypatch.setenv("LAION_LAKE", settings.lake)
    monkeypatch.setenv("LAION_SHARDS", "2")
    monkeypatch.setenv("LAION_BUCKETS", "2")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"{address} was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield


def test_imported_tars_become_pictures_and_vectors(
    folder: Path, settings: Settings, laion: Callable[..., Result], builder: Callable[[Settings], Builder], nobody_is_asked: None
) -> None:
    told = laion("import", NAME, "--tars", str(folder))
    assert told.exit_code == 0, told.output
    print(told.output)
    outcome = builder(settings).build(CrawlRequest(crawls=[NAME], until="clip_embeddings"))
    assert outcome.failures == []
    lake = settings.open_lake(create=False)
    rows = lake.scan("images").collect()
    print(rows)
    print(lake.scan("clip_embeddings").collect())
