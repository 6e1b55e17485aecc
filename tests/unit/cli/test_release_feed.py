"""``laion release feed``: from a request that was entered to the copy of an old release."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli.common import UsageError
from laion_assets.cli.main import app
from laion_assets.common.digests import file_sha256
from laion_assets.lake.opening import open_lake
from laion_assets.release.manifest import Manifest, feed_version
from laion_assets.release.parts import ReleasedFile
from laion_assets.release.place import open_place
from laion_assets.release.verify import verify_release
from tests.unit.release.cleaning.copies import laion_list, pairs

ROWS = pairs(9)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An old release beside a lake."""
    open_lake(str(tmp_path / "lake"))
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    folder = tmp_path / "release"
    laion_list(folder / "data/en/a.parquet", ROWS)
    listed = folder / "data/en/a.parquet"
    file = ReleasedFile(
        path="data/en/a.parquet", bytes=listed.stat().st_size, sha256=file_sha256(listed), kind="laion", rows=9
    )
    manifest = Manifest(release="old", files=[file], feed=[feed_version(b"", "2026-01-01")], versions={})
    (folder / "removals.jsonl").write_bytes(b"")
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    return folder


def laion(*arguments: str | Path) -> Result:
    ran = CliRunner().invoke(app, [*map(str, arguments)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran


def said(release: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (release / "removals.jsonl").read_text().splitlines()]
    return [(row["kind"], row["reason"]) for row in rows]


def test_a_request_reaches_an_old_release_and_its_copies(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert laion("takedown", "url", ROWS[2].url, "--reason", "privacy: Mrs Jones").exit_code == 0
    listed = (release / "data/en/a.parquet").read_bytes()
    assert "1 row, 1 of them new" in laion("release", "feed", release).output
    assert "1 row, nothing new" in laion("release", "feed", release).output
    (tmp_path / "denied").write_text(f"{ROWS[5].sha256}\n")
    monkeypatch.setenv("LAION_DENY__HASH_LISTS", json.dumps([str(tmp_path / "denied")]))
    assert "3 rows, 2 of them new" in laion("release", "feed", release).output
    laion("takedown", "url", ROWS[2].url, "--withdraw", "--yes")
    assert "4 rows, 1 of them new" in laion("release", "feed", release).output
    assert said(release) == [("url", "privacy"), ("sha256", "listed"), ("url", "listed"), ("withdrawal", "other")]
    assert (release / "data/en/a.parquet").read_bytes() == listed
    [left] = verify_release(open_place(str(release)))
    assert left.what.startswith("1 row is to be removed by now"), "the denied hash is still there"
    cleaned = laion("clean", release, "--feed", release / "removals.jsonl")
    assert cleaned.exit_code == 0, cleaned.output
    assert [fault.line for fault in verify_release(open_place(str(release)))] == []


def test_what_is_no_release_is_named_and_the_others_are_refreshed(release: Path, tmp_path: Path) -> None:
    laion("takedown", "domain", "gone.example")
    (tmp_path / "other").mkdir()
    ran = laion("release", "feed", tmp_path / "other", release)
    assert ran.exit_code == 1
    assert "there is no manifest.json" in ran.output
    assert said(release) == [("domain", "other")]


def test_a_lake_without_releases_says_so(release: Path) -> None:
    with pytest.raises(UsageError, match="the lake has no releases"):
        laion("release", "feed")
