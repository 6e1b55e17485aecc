"""Tars that others wrote, imported: their pictures go the whole road of a crawl, and nobody is asked for anything."""

import hashlib
import io
import json
import socket
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from laion_assets.cli.common import UsageError
from laion_assets.clip.options import EncoderOptions
from laion_assets.delta.lake import Lake
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.settings import Settings
from laion_assets.webdataset.reader import TarReader
from laion_assets.webdataset.samples import read_pictures
from tests.pipeline.conftest import Quiet, tars, unfinished, usual_settings, verified

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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tars of eight pictures, the last of them cut off within its last sample, and one without urls."""
    place = tmp_path_factory.mktemp("import")
    tars = place / "tars"
    tars.mkdir()
    for number in range(3):
        write_tar(tars / f"{number:05d}.tar", range(number * 8, number * 8 + 8), sha256=f"{number:02d}" * 32)
    cut_off = tars / "00002.tar"
    with tarfile.open(cut_off) as archive:
        last = archive.getmember("000000023.json").offset_data
    cut_off.write_bytes(cut_off.read_bytes()[: last + 20])
    write_tar(tars / "00003.tar", range(90, 92), url=None)
    return place


@pytest.fixture(scope="module")
def settings(place: Path, encoder: EncoderOptions) -> Settings:
    """A lake whose source is not there."""
    usual = usual_settings(place / "no source", encoder, place / "no calibration")
    return Settings(_env_file=None, lake=str(place / "lake"), **usual)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def laion(settings: Settings, place: Path) -> Iterator[Callable[..., str]]:
    """Calls the command line, and gives what it says."""
    from laion_assets.cli.main import app

    shown = {"LAION_LAKE": settings.lake, "LAION_SHARDS": "2", "LAION_BUCKETS": "2", "COLUMNS": "200"}

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, UsageError):
            raise result.exception
        assert result.exit_code == 0, f"{result.output} {result.exception}"
        return result.output

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**shown, "DAGSTER_HOME": str(place / "home")}.items():
            patch.setenv(name, value)
        yield call


@pytest.fixture(scope="module")
def imported(place: Path, settings: Settings, laion: Callable[..., str]) -> str:
    """What the import says of the tars, whose pictures and vectors are built."""
    with pytest.MonkeyPatch.context() as patch:
        ask_nobody(patch)
        told = laion("import", NAME, "--tars", str(place / "tars"))
        build(settings, "clip_embeddings")
    return told


@pytest.fixture
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is connected to, or looked up, fails the test; downloads do so in processes of their own, as rows."""
    ask_nobody(monkeypatch)


def ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: Any, **_: Any) -> None:
        raise AssertionError(f"{asked} was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def build(settings: Settings, until: str) -> Lake:
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=[NAME], until=until))
    assert outcome.failures == []
    return settings.open_lake(create=False)


def pictures(lake: Lake) -> dict[str, bytes]:
    """By url, the picture that its row names."""
    stored = lake.scan("images").filter(status="success").select("url", "shard_path", "sample_key").collect()
    return {url: read_pictures(lake.root / tar, [key])[key] for url, tar, key in stored.iter_rows()}


def test_imported_tars_become_pictures_and_vectors(
    imported: str, settings: Settings, laion: Callable[..., str], nobody_is_asked: None
) -> None:
    told = imported
    assert "4 tars, 25 samples, 25 pictures, img2dataset and webdataset layout" in told
    assert "00002.tar is cut off" in told
    assert "taken: url from url, text from .txt, original_sha256 from sha256" in told
    assert "2 pictures without a url" in told
    lake = settings.open_lake(create=False)

    candidates = lake.scan("candidate_pairs").collect()
    assert sorted(candidates["url"]) == sorted(map(url, range(23)))
    counts: Counter[str] = Counter()
    for commit in lake.ledger("candidate_pairs").commits.values():
        counts.update({"rows": commit.rows, "rows in": commit.rows_in, **commit.drops, **commit.counts})
    assert (counts["rows in"], counts["rows"], counts["no_url"]) == (25, 23, 2)
    assert counts["bad record: damaged_tar"] == 1
    for row in candidates.iter_rows(named=True):  # lineage ends at a picture in a tar
        with TarReader(Path(row["path"])) as tar:
            member = tar.member_at(row["record_offset"])
            assert tar.read(member.offset, member.size) == picture(int(Path(row["url"]).stem))

    images = lake.scan("images").collect()
    assert images["bucket"].unique().sort().to_list() == [0, 1]
    assert pictures(lake) == {url(number): picture(number) for number in range(23)}
    assert images.select(pl.col("attempts").sum(), pl.col("http_status", "final_url").count()).row(0) == (0, 0, 0)
    assert dict(images.select("url", "sha256").iter_rows()) == {
        url(number): hashlib.sha256(picture(number)).hexdigest() for number in range(23)
    }
    vectors = lake.scan("clip_embeddings").collect()
    assert sorted(vectors["sha256"]) == sorted(images["sha256"])
    pair = candidates.row(0, named=True)
    told = " ".join(laion("lineage", "unique_pairs", f"--pair-id={pair['pair_id']}").split())
    assert "the picture of the tar" in told
    assert f"{pair['record_offset']} bytes into the file" in told
    assert unfinished(settings, [NAME]).keys() <= {"calibrations", "filtered_pairs"}
    assert verified(settings).faults == []


def test_a_removed_picture_goes_and_the_others_stay_where_they_are(
    imported: str, settings: Settings, laion: Callable[..., str], nobody_is_asked: None
) -> None:
    """By its url; and by the digest of the picture that it was made from, which the tar told."""
    before = tars(settings.open_lake(create=False))
    laion("takedown", "url", url(3))
    laion("takedown", "sha256", "01" * 32)
    lake = build(settings, "images")
    left = {url(number): picture(number) for number in range(23) if number != 3 and number // 8 != 1}
    assert pictures(lake) == left
    assert tars(lake).items() <= before.items()


def test_a_tar_that_changed_since_is_not_read(place: Path, settings: Settings, laion: Callable[..., str]) -> None:
    changed = place / "tars" / "00001.tar"
    write_tar(changed, range(30, 38))
    laion("import", NAME, "--tars", str(place / "tars"))
    write_tar(changed, range(40, 48))
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=[NAME], until="images"))
    assert any(f"{changed} changed since it was imported" in error for _, _, error in outcome.failures)
    assert not {url(number) for number in range(40, 48)} & {
        *settings.open_lake(create=False).scan("images").collect()["url"]
    }


def test_a_folder_that_cannot_be_imported_is_refused_in_one_line(
    tmp_path: Path, settings: Settings, laion: Callable[..., str]
) -> None:
    del settings
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    write_tar(tmp_path / "bare" / "0.tar", range(3), url=None)
    for arguments, complaint in (
        (("--tars", f"{tmp_path}/empty"), "expected a folder of tars (*.tar), found none in"),
        (("--tars", f"{tmp_path}/bare"), "tells the url of its picture, which is half of a pair's name"),
        (
            ("--tars", f"{tmp_path}/bare", "--map", "url=address"),
            "tells anything under address, which is to be the url",
        ),
        (("--tars", f"{tmp_path}/bare", "list.csv"), "one of both"),
        ((), "one of both"),
    ):
        with pytest.raises(UsageError) as refused:
            laion("import", "other", *arguments)
        assert complaint in str(refused.value)
