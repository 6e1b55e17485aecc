"""``laion models compile``: the SQL of one model, of several, of all."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli.main import app
from tests.unit.sql.model_files import write_model


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("LAION_MODELS", str(tmp_path / "project"))
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_model(tmp_path / "project", "one", "SELECT 1 AS n -- the first")
    write_model(tmp_path / "project", "two", "SELECT n + 1 AS n FROM {{ ref('one') }}")
    write_model(tmp_path / "project", "off", "SELECT 3 AS n", header="materialized: view\ndisabled: not yet")
    return lambda *arguments: CliRunner().invoke(app, ["models", "compile", *arguments])


def test_without_a_name_all_models_are_compiled_upstream_first(compiled):
    ran = compiled()
    assert ran.exit_code == 0
    assert [line for line in ran.stdout.splitlines() if line.startswith("-- ")] == ["-- one", "-- two"]
    with duckdb.connect() as con:
        assert [s.type.name for s in con.extract_statements(ran.stdout)] == ["SELECT", "SELECT"]


def test_one_model_is_its_sql_alone(compiled):
    assert compiled("two").stdout == "SELECT n + 1 AS n FROM one;\n"
    assert compiled("off").stdout == "SELECT 3 AS n;\n"


@pytest.mark.parametrize("arguments", [["+two"], ["one", "two"], ["--select", "marts"], ["two", "-s", "one"]])
def test_models_are_chosen_as_elsewhere(compiled, arguments):
    assert compiled(*arguments).stdout == compiled().stdout


def test_what_is_broken_is_said_and_the_others_are_compiled(compiled, tmp_path):
    write_model(tmp_path / "project", "wrong", "SELECT FROM WHERE")
    ran = compiled()
    assert ran.exit_code == 1
    assert "-- two" in ran.stdout
    assert "wrong.sql:" in ran.stderr.replace("\n", "")
