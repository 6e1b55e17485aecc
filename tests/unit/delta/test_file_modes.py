"""Files of a lake, and files made of it, are readable for whom the umask lets: colleagues, or nobody."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laion_assets.cli.main import app
from laion_assets.download.results import write_rows
from laion_assets.lake.opening import lake_at
from laion_assets.training.model_card import add_scores
from tests.unit.sql.shipped_lake import shipped_lake


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_umask_decides_who_may_read_what_is_published(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("LAION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setenv("LAION_LAKE", str(place / "lake"))
    shipped_lake(str(place / "lake"))
    work = tmp_path / "work"
    work.mkdir()
    with tarfile.open(work / "0.tar", "w"):
        pass
    write_rows([], work / "0.parquet", request="", scratch=work / "rows")
    (work / "card").mkdir()
    add_scores(work / "card", "zero_shot_scores", [{"epoch": 1, "benchmark": "b", "top1": 0.5}])
    storage = lake_at(str(place / "lake")).storage
    for file in (work / "0.tar", work / "0.parquet", work / "card" / "scores.json"):
        storage.publish(file, f"files/some/{file.name}")
    storage.replace("files/some/scores.json", b"{}")
    for call in (
        ["report", "--output", str(place / "report.html")],
        ["models", "docs", "--output", str(place / "models.html")],
        ["sql", "SELECT 1", "--output", str(place / "rows.csv")],
        ["sql", "SELECT 1", "--output", str(place / "rows.parquet")],
        ["verify"],
    ):
        ran = CliRunner().invoke(app, call)
        assert ran.exit_code == 0, (call, ran.output)
    files = [path for path in place.rglob("*") if path.is_file()]
    assert {"lake.json", "report.html", "rows.parquet", "0.tar", "scores.json"} <= {path.name for path in files}
    assert any("_laion" in path.parts for path in files)
    assert any("_delta_log" in path.parts for path in files)
    assert {
        path: oct(path.stat().st_mode & 0o777) for path in files if path.stat().st_mode & 0o777 != 0o666 & ~umask
    } == {}
    folders = [path for path in place.rglob("*") if path.is_dir()]
    assert {path: oct(path.stat().st_mode) for path in folders if path.stat().st_mode & 0o777 != 0o777 & ~umask} == {}
