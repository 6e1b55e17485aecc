"""``laion release`` as it is typed: what names a release, what is a command, and what needs no lake."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from laion_assets.cli.common import err, out
from laion_assets.cli.main import main
from laion_assets.lake.opening import open_lake
from tests.unit.release.made import CRAWL, row, write_release

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def laion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        for console in (out, err):
            monkeypatch.setattr(console, "width", 200)
        monkeypatch.setattr(sys, "argv", ["laion", "release", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """Two releases that differ in one pair's text, where no lake is."""
    for name, text in (("a", "before"), ("b", "after")):
        rows = {(CRAWL, 0): [row(1), row(2, text=text)]}
        write_release(name, rows, tmp_path / name, tmp_path / "work")
    return "a", "b"


def test_releases_are_checked_and_compared_without_a_lake(laion: Run, folders: tuple[str, str], tmp_path: Path) -> None:
    code, said, _ = laion("verify", "a")
    assert (code, said) == (0, "release a: 2 files read; held against the removals of its own feed; no fault\n")
    code, said, _ = laion("diff", *folders)
    assert code == 0
    assert said.splitlines() == ["0 pairs added, 0 removed, 1 changed, 1 the same", "  changed in text: 1",
                                 "changed 2 (text)"]  # fmt: skip
    found = json.loads(laion("diff", "a", "b", "--json", "--show", "0")[1])
    assert (found["changed"], found["columns"], found["shown"]) == (1, {"text": 1}, [])
    (tmp_path / "b/ids/part-000000.parquet").unlink()
    code, said, _ = laion("verify", "./b")
    assert (code, said.splitlines()[0]) == (1, "ids/part-000000.parquet: the file is gone")
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "nowhere"), "expected the folder or s3:// address of a release, or a name that the lake knows"),
        (("verify", "./nowhere"), "holds no release: there is no manifest.json"),
        (("v1",), "there is no lake at"),
        (("list",), "there is no lake at"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(laion: Run, arguments: tuple[str, ...], said: str) -> None:
    code, _, complaint = laion(*arguments)
    assert code == 2
    assert said in complaint
    assert complaint.count("\n") == 1


def test_a_word_that_is_no_command_names_a_release(laion: Run, tmp_path: Path) -> None:
    open_lake(str(tmp_path / "lake"))
    assert laion("list")[1] == "no release was made; `laion release NAME` makes one\n"
    code, _, complaint = laion("v1")
    assert code == 1
    assert "the release selects from filtered_pairs, which holds nothing yet; `laion build` builds it" in complaint
    for typo in ("lst", "verfy", "formats2"):
        code, _, complaint = laion(typo)
        assert (code, "too like `laion release" in complaint) == (2, True)
    assert "can name a release" in laion("a/b")[2]
    assert laion("v1", "--were", "true")[0] == 2
    assert laion("list")[1].startswith("no release was made")
