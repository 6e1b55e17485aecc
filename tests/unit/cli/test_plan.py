"""``laion plan``: what it prints, where each number comes from, and what it says of wrong calls."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli.common import UsageError
from laion_assets.cli.main import app
from laion_assets.operations.assumptions import PUBLISHED
from tests.unit.sql.shipped_lake import NEW, OLD, shipped_lake


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("LAION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(place: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, ["plan", *arguments])


@pytest.fixture
def planned(call: Callable[..., Result]) -> Callable[..., Any]:
    def as_json(*arguments: str) -> Any:
        ran = call(*arguments, "--json")
        assert ran.exit_code == 0, ran.exception
        return json.loads(ran.stdout)

    return as_json


def assumption(told: Any, name: str) -> Any:
    [found] = [a for a in told["assumptions"] if a["name"] == name]
    return found


def test_without_a_lake_published_figures_stand_in_and_that_is_said(call: Callable[..., Result], place: Path) -> None:
    ran = call("--crawls", "3")
    assert ran.exit_code == 0
    assert "3 crawls of 90,000 files" in ran.stdout
    assert f"0 of {len(PUBLISHED)} numbers were measured" in ran.stdout
    assert "cc2dataset" in ran.stdout
    assert not (place / "lake").exists()


def test_what_was_measured_goes_before_what_was_published(planned: Callable[..., Any], place: Path) -> None:
    shipped_lake(str(place / "lake"))
    told = planned(OLD, NEW)
    assert told["workload"]["what"] == f"{OLD} (1 files), {NEW} (1 files)"
    kept = assumption(told, "kept_share")
    assert (kept["partitions"], kept["source"]) == (4, "measured here on 4 partitions")
    assert assumption(told, "dedup_core_seconds")["partitions"] == 4
    said = " ".join(CliRunner().invoke(app, ["plan", "--like", "laion-5b"]).stdout.split())
    assert "build one real bucket first" in said
    assert "build one real bucket first" not in CliRunner().invoke(app, ["plan", OLD, NEW]).stdout
    assert assumption(told, "core_hour_price")["partitions"] == 0
    assert assumption(planned(OLD, "--published"), "kept_share")["partitions"] == 0
    assert told["fleet"]["gpus"] == 0  # as they were encoded here
    assert planned(OLD, "--device", "gpu")["fleet"]["gpus"] == 8


def test_the_figures_of_a_small_lake_can_be_read(call: Callable[..., Result], place: Path) -> None:
    shipped_lake(str(place / "lake"))
    shown = call(OLD).stdout
    figures = shown[: shown.index("assumptions")]
    assert re.findall(r"0\.00\S*|\de[-+]\d+", figures) == []
    assert "core min" in figures or "core s" in figures
    assert "<0.01" in figures
    assert re.findall(r"\d [kMG] B\b", shown) == []


def test_flags_and_assumptions_replace_numbers_and_the_cost_follows(planned: Callable[..., Any]) -> None:
    usual = planned("--crawls", "2", "--wat-files", "1000")
    dear = planned("--crawls", "2", "--wat-files", "1000", "--storage-price", "0.046", "--assume", "months=6")
    assert usual["workload"]["wat_files"]["value"] == 2_000
    assert dear["cost"]["storage"]["value"] == pytest.approx(usual["cost"]["storage"]["value"] * 2 * 6)
    assert dear["cost"]["GPUs"] == usual["cost"]["GPUs"]
    assert assumption(dear, "months")["source"] == "given"
    assert assumption(dear, "storage_price")["low"] == 0.046
    parts = sum(cost["value"] for name, cost in dear["cost"].items() if name != "total")
    assert dear["cost"]["total"]["value"] == pytest.approx(parts)


def test_laion_5b_is_fifty_billion_candidates(planned: Callable[..., Any]) -> None:
    told = planned("--like", "laion-5b", "--days", "30")
    assert told["funnel"]["unique pairs"]["value"] == pytest.approx(50e9)
    assert told["funnel"]["kept"]["value"] == pytest.approx(5.85e9, rel=0.01)
    assert told["for_days"]["machines"] > 5
    assert told["workload"]["crawls"] == 32


@pytest.mark.parametrize("width", [80, 150])
def test_every_assumption_is_shown_and_everything_fits(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("laion_assets.cli.plan.out.width", width)
    ran = call("--like", "laion-5b", "--days", "14")
    lines = ran.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert [name for name in PUBLISHED if name not in ran.stdout] == []
    for word in ("Within 14 days", "Gbit/s", "processors", "(running it)", "kept"):
        assert word in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--crawls N"),
        (["CC-MAIN-2024-10", "--crawls", "3"], "one of these"),
        (["--crawls", "1", "--assume", "kept=1"], "kept_share"),
        (["--crawls", "1", "--assume", "months=two"], "NAME=VALUE"),
        (["--crawls", "1", "--assume", "candidates_per_file=-5"], "0 or more"),
        (["--crawls", "1", "--assume", "busy_share=0"], "busy_share"),
        (["--like", "laion-5b", "--assume", "unique_share=0"], "unique_share"),
    ],
)
def test_a_wrong_call_is_answered_with_what_would_be_right(
    call: Callable[..., Result], arguments: list[str], words: str
) -> None:
    ran = call(*arguments)
    assert isinstance(ran.exception, UsageError)
    assert words in str(ran.exception)
