"""What `laion models` and `laion status` say of models that cannot run: each fault once, with file and line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli.main import app
from tests.unit.sql.model_files import write_model, write_test
from tests.unit.sql.shipped_lake import shipped_lake


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake, and a project of a broken model and two that wait for it."""
    folder = tmp_path / "project"
    monkeypatch.setenv("LAION_MODELS", str(folder))
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("LAION_SOURCE", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shipped_lake(str(tmp_path / "lake"))
    write_model(folder, "wrong", "SELECT nothing FROM {{ source('wat_files') }}")
    write_model(folder, "on_it", "SELECT * FROM {{ ref('wrong') }}")
    write_model(folder, "further", "SELECT * FROM {{ ref('on_it') }}")
    return folder


@pytest.fixture
def laion(project: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ((), "nothing to do: none of them can run (0 partitions built, 0 failed); 1 broken, 2 wait\n"),
        (("--select", "wrong"), "nothing to do: none of them can run (0 partitions built, 0 failed); 1 broken\n"),
        (("--select", "on_it"), "nothing to do: none of them can run (0 partitions built, 0 failed); 1 wait\n"),
    ],
)
def test_a_run_that_has_nothing_to_do_counts_what_cannot_run(laion, select, said):
    ran = laion("models", "run", *select)
    assert ran.exit_code == 1
    assert ran.stdout.endswith(said)


def test_a_run_says_that_what_can_run_is_up_to_date(laion, project):
    write_model(project, "sound", "SELECT count(*) AS n FROM {{ source('wat_files') }}")
    write_model(project, "off", "SELECT 1 AS n", header="materialized: view\ndisabled: not yet")
    assert "1 partitions built, 0 failed; 1 broken, 2 wait\n" in laion("models", "run").stdout
    again = laion("models", "run").stdout
    assert again == ("nothing to do: what can run is up to date (0 partitions built, 0 failed); 1 broken, 2 wait\n")
    assert "all of them are up to date" in laion("models", "run", "--select", "sound").stdout


def test_what_waits_is_said_in_one_sentence(laion):
    ran = laion("models", "list")
    assert "on_it waits for wrong, which cannot run: mend that first\n" in ran.stderr
    assert "waits waits" not in ran.stdout + ran.stderr
    told = json.loads(laion("status", "--json").stdout)
    reasons = {found["table"]: found["reasons"] for found in told["partitions"] if found["table"] in ("on_it", "wrong")}
    assert reasons["on_it"] == ["waits for wrong, which cannot run: mend that first"]
    assert reasons["wrong"][0].startswith("broken: marts/wrong.sql:5: ")


def test_the_status_names_every_fault_and_what_waits_for_it(laion, project):
    write_model(project, "images", "SELECT 1 AS n")
    write_test(project, "of_nobody", "SELECT * FROM {{ ref('nobody') }}")
    ran = laion("status")
    assert ran.exit_code == 0
    for file in ("models/marts/wrong.sql:5", "models/marts/images.sql:1", "tests/of_nobody.sql:4"):
        assert ran.stderr.count(f"broken {project}/{file}: ") == 1
    assert "failed SQL models: wrong\n" in ran.stdout
    assert "waits SQL models: on_it, further\n" in ran.stdout
    assert "on_it all: waits for wrong" in laion("status", "--why").stdout
    assert len(json.loads(laion("status", "--json").stdout)["faults"]) == 3


def test_the_status_says_that_the_folder_of_models_is_not_there(laion, monkeypatch):
    monkeypatch.setenv("LAION_MODELS", "/no/such/folder")
    assert laion("status").stderr == "broken /no/such/folder:1: is no folder of SQL models: see LAION_MODELS\n"


def test_a_broken_model_is_shown_with_its_fault_once_and_no_kind(laion, project):
    ran = laion("models", "show", "wrong")
    assert ran.exit_code == 1
    assert ran.stdout == f"wrong (–, marts)\nA model.\nfile: {project}/models/marts/wrong.sql\n"
    assert ran.stderr.startswith("broken marts/wrong.sql:5: ")
    assert len(ran.stderr.splitlines()) == 1
