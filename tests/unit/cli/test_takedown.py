"""``laion takedown`` and other commands as they are typed with the ids of pairs, half of which are negative."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from laion_assets.cli.common import err, out
from laion_assets.cli.main import main
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from tests.unit.delta.tables_made import FIRST, made_crawl

Run = Callable[..., tuple[int, str, str]]
SMALLEST = -(2**63)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "lake"))


@pytest.fixture
def laion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        for console in (out, err):
            monkeypatch.setattr(console, "width", 200)
        monkeypatch.setattr(sys, "argv", ["laion", *arguments])
        monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def requests(lake: Lake) -> list[tuple[str, str, str | None]]:
    return lake.scan("takedowns").select("kind", "value", "reason").sort("value").collect().rows()


@pytest.mark.parametrize("number", ["-92", "-1", str(SMALLEST), str(2**63 - 1), "0"])
def test_a_pair_is_taken_down_whatever_its_sign(laion: Run, lake: Lake, number: str) -> None:
    code, printed, complaint = laion("takedown", "pair_id", number)
    assert (code, complaint) == (0, "")
    assert printed.startswith("1 requests of this kind")
    assert requests(lake) == [("pair_id", number, None)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("takedown", "pair_id", "-92", "--reason", "-1 of them"),
        ("takedown", "--reason", "-1 of them", "pair_id", "-92"),
        ("takedown", "pair_id", "--reason=-1 of them", "-92"),
        ("takedown", "--reason", "-1 of them", "--", "pair_id", "-92"),
    ],
)
def test_options_stand_before_and_after_a_negative_id(laion: Run, lake: Lake, arguments: tuple[str, ...]) -> None:
    assert laion(*arguments)[0] == 0
    assert requests(lake) == [("pair_id", "-92", "-1 of them")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("takedown", "--raeson=x", "pair_id"), "there is no option --raeson=x"),
        (("takedown", "--raeson", "x", "pair_id", "-92"), "unexpected extra argument"),
        (("takedown", "pair_id", "--raeson"), "--raeson"),
        (("takedown", "pair_id", "-9x"), "-9x"),
        (("takedown", "pair_id", str(SMALLEST - 1)), str(SMALLEST - 1)),
        (("takedown", "domain", "--lkae"), "there is no option --lkae"),
        (("takedown", "url", "-92"), "-92"),
        (("takedown", "sha256", "-92"), "-92"),
    ],
)
def test_what_is_no_id_is_refused_as_before(laion: Run, lake: Lake, arguments: tuple[str, ...], told: str) -> None:
    code, _, complaint = laion(*arguments)
    assert code == 2
    assert told in " ".join(complaint.split())
    assert requests(lake) == []


def test_a_negative_id_is_followed(laion: Run, lake: Lake) -> None:
    made_crawl(lake, FIRST, numbers=(-5, 6, 7))
    for arguments in (("--pair-id", "-5"), ("--pair-id=-5",)):
        code, printed, complaint = laion("lineage", "filtered_pairs", *arguments)
        assert (code, complaint) == (0, "")
        assert "-5" in printed
    code, _, complaint = laion("lineage", "filtered_pairs", "--pair-id", "-6")
    assert code == 1
    assert "no table of the lake holds the pair -6" in complaint


@pytest.mark.parametrize("number", [SMALLEST, SMALLEST - 1, 2**63, -(10**30)])
def test_an_id_that_no_pair_has_is_told_so(laion: Run, lake: Lake, number: int) -> None:
    made_crawl(lake, FIRST)
    code, _, complaint = laion("lineage", "filtered_pairs", "--pair-id", str(number))
    assert code == 1
    assert f"no table of the lake holds the pair {number}" in " ".join(complaint.split())
