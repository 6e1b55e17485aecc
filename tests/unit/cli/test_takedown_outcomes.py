"""What people are told of removal requests, under way or done with, and of what had learned from removed pairs."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from laion_assets.cli.common import err, out
from laion_assets.cli.main import main
from laion_assets.consent.removals import Removals
from laion_assets.delta.lake import Lake
from laion_assets.lake.takedowns import Outcome, request_takedown, settle_takedowns, withdraw_takedowns
from laion_assets.orchestration.planning.completion import settle_requests
from laion_assets.report.material import Material
from laion_assets.report.training import tainted
from laion_assets.settings import Settings
from laion_assets.sql import connect
from tests.unit.delta.tables_made import made
from tests.unit.orchestration.planning.test_completion import WEIGHTS, lake, settings, without_the_first

__all__ = ["lake", "settings"]

pytestmark = pytest.mark.slow

Run = Callable[..., str]
TAINTED = "small learned from removed pairs (epoch 1): `laion train small` trains it anew without them"


@pytest.fixture
def laion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    def run(*arguments: str) -> str:
        for console in (out, err):
            monkeypatch.setattr(console, "width", 300)
        monkeypatch.setattr(sys, "argv", ["laion", *arguments])
        monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
        (tmp_path / "home").mkdir(exist_ok=True)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code in (0, None), printed.err
        return printed.out

    return run


def test_what_became_of_requests_is_listed_and_the_status_names_what_waits(
    laion: Run, lake: Lake, settings: Settings
) -> None:
    request_takedown(lake, "url", "http://a.example/1.jpg", "privacy: asked")
    assert "the next `laion build` removes it" in laion("takedowns")
    assert "1 removal request not done with: `laion build` removes what is left" in laion("status")

    without_the_first(lake)
    settle_requests(lake, settings)
    listed = laion("takedowns")
    assert "removed: clip_embeddings 1, filtered_pairs 1, images 1, unique_pairs 1" in in_order(listed)
    assert "a training set still holds it" in listed
    assert TAINTED in listed
    assert TAINTED in laion("status")
    [told] = json.loads(laion("takedowns", "--format", "json"))
    assert told["tainted_checkpoints"] == [WEIGHTS]

    [entry] = lake.scan("takedowns").collect().to_dicts()
    done = Outcome(
        value=entry["value"], requested_at=entry["requested_at"], rows_removed=None, tainted_checkpoints=[],
        completed_at=datetime(2026, 11, 30, 12, tzinfo=UTC),
    )  # fmt: skip
    settle_takedowns(lake, "url", [done])
    assert "done 2026-11-30 12:00:00+00:00, removed: " in laion("takedowns")
    assert "not done with" not in laion("status")


def test_weights_that_were_trained_anew_are_tainted_no_more_nor_those_of_a_withdrawn_request(
    laion: Run, lake: Lake, settings: Settings
) -> None:
    request_takedown(lake, "url", "http://a.example/1.jpg", None)
    without_the_first(lake)
    settle_requests(lake, settings)
    assert TAINTED in laion("takedowns")
    assert marked(lake) == {"small": "learned from removed pairs in 1 epoch"}
    row = {"epoch": 1, "sha256": "b" * 64, "training_set_version": 0, "source_versions": []}
    made(lake, "clip_checkpoints", "recipe=small", [row])
    assert "learned from removed" not in laion("takedowns") + laion("status")
    assert marked(lake) == {}
    made(lake, "clip_checkpoints", "recipe=small", [{**row, "sha256": "a" * 64}])
    assert marked(lake) != {}
    withdraw_takedowns(lake, "url", ["http://a.example/1.jpg"], None)
    assert "learned from removed" not in laion("takedowns") + laion("status")
    assert marked(lake) == {}


def in_order(listed: str) -> str:
    """The same with the counts of tables in the order of their names."""
    for line in listed.splitlines():
        _, said, rest = line.partition("removed: ")
        if said:
            counts, semicolon, rest = rest.partition(";")
            return f"{said}{', '.join(sorted(counts.split(', ')))}{semicolon}{rest}"
    return listed


def marked(lake: Lake) -> dict[str, str]:
    """What the report says of recipes whose weights learned from removed pairs."""
    with connect(lake) as con:
        return tainted(Material(con=con, removals=Removals.none().matcher()))


def test_a_file_of_requests_is_one_pass_and_all_or_nothing(laion: Run, lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "requests.csv"
    rows = ["url,http://a.example/1.jpg,privacy: asked", "url,http://A.example:80/3.jpg,", "domain,nobody.example,"]
    file.write_text("\n".join(["kind,value,reason", *rows, "url,nowhere,"]) + "\n")
    with pytest.raises(AssertionError, match="row 4: expected an absolute"):
        laion("takedown", "--file", str(file))
    assert lake.scan("takedowns").collect().is_empty()

    file.write_text("\n".join(["kind,value,reason", *rows]) + "\n")
    tried = laion("takedown", "--file", str(file), "--dry-run")
    assert "3 requests" in tried
    assert "unique_pairs │ 2" in " ".join(tried.split())
    assert lake.scan("takedowns").collect().is_empty()
    assert "3 requests entered" in laion("takedown", "--file", str(file), "--reason", "rights")
    found = lake.scan("takedowns").sort("value").collect()
    assert list(found.select("value", "reason").iter_rows()) == [
        ("http://A.example:80/3.jpg", "rights"),
        ("http://a.example/1.jpg", "privacy: asked"),
        ("nobody.example", "rights"),
    ]
    for wrong in (("url", "x", "--file", str(file)), ("--file", str(file), "--withdraw"), ("url",)):
        with pytest.raises(AssertionError, match="--file"):
            laion("takedown", *wrong)
