"""Commands that have nothing to show say what makes it, and what only looks writes nothing."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli import ui
from laion_assets.cli.main import app
from laion_assets.lake.opening import open_lake
from laion_assets.settings import Settings


@pytest.fixture
def laion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in an empty folder."""
    for name in ("LAION_LAKE", "LAION_SOURCE", "LAION_MODELS", "LAION_BENCHMARKS", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_a_verification_without_a_lake_says_what_makes_one(laion):
    assert "`laion build` or `laion demo` makes one, --lake names another" in str(laion("verify").exception)


def test_a_look_at_everything_leaves_the_folder_as_it_was(laion, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    ran = laion("doctor", "--quick", "--only", "dagster", "--only", "daemon", "--only", "pools")
    assert "the first build makes its home" in ran.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_lake_without_evaluation_sets_is_told_where_they_come_from(laion, tmp_path):
    open_lake(str(tmp_path / "lake"))
    ran = laion("benchmarks")
    assert "LAION_BENCHMARKS; `laion demo` without --quick makes the sample's" in ran.stdout.replace("\n", " ")


def test_a_training_says_that_there_is_no_evaluation_set_to_leave_out(laion, tmp_path):
    open_lake(str(tmp_path / "lake"))
    ran = laion("train", "nobody")
    assert ran.stderr.count("no evaluation sets are there to leave out of training") == 1


def test_the_page_names_the_port_that_was_picked(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    started: list[list[str]] = []
    monkeypatch.setattr(ui, "_run_until_interrupted", lambda command, *_: started.append(command) or 0)
    from laion_assets.cli.common import out

    with pytest.raises(SystemExit):
        ui.run_ui(Settings(_env_file=None, lake=str(tmp_path / "lake")), 0, out)  # type: ignore[call-arg]
    [port] = re.findall(r"http://127\.0\.0\.1:(\d+);", capsys.readouterr().out)
    assert started[0][started[0].index("--port") + 1] == port
    with socket.create_server(("127.0.0.1", int(port))):
        pass  # it is one, and free


def test_a_source_that_is_not_there_is_said_with_where_it_was_named(laion, tmp_path, monkeypatch):
    assert "`laion demo` makes this one, --source or LAION_SOURCE names another" in str(laion("crawls").exception)
    open_lake(str(tmp_path / "lake"))
    (tmp_path / "lake" / "settings.env").write_text("LAION_SOURCE=/moved/away\n")
    told = str(laion("crawls").exception)
    assert "/moved/away does not exist" in told
    assert "the lake's settings.env names it, --source or LAION_SOURCE names another" in told
    monkeypatch.setenv("LAION_SOURCE", "/nowhere/either")
    assert "names it" not in str(laion("crawls").exception)
