"""The package as people install it: a wheel, in an environment of its own, away from any checkout."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.installed import REPOSITORY, Installed, build_wheel, checkout, installed, wheel

__all__ = ["checkout", "installed", "wheel"]

pytestmark = pytest.mark.integration

READ = ("dbt_like_sql", "recipes", "infra/local/dagster.yaml", "workspace.yaml", "constraints.txt")


def test_the_wheel_carries_every_file_that_the_package_reads_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if not name.endswith("/")}
        for name in READ:
            place = REPOSITORY / name
            for file in [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]:
                inside = f"laion_assets/_shipped/{file.relative_to(REPOSITORY).as_posix()}"
                assert opened.read(inside) == file.read_bytes()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"laion_assets", "laion_lakehouse"}


def test_a_model_that_was_taken_out_is_not_carried_on_by_what_was_built_before(checkout: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkout, tmp_path / "copy"))
    (copy / "dbt_like_sql" / "models" / "marts" / "passing.sql").write_text("select 1")
    build_wheel(copy, tmp_path / "first")
    (copy / "dbt_like_sql" / "models" / "marts" / "passing.sql").unlink()
    assert not any(
        name.endswith("passing.sql") for name in zipfile.ZipFile(build_wheel(copy, tmp_path / "then")).namelist()
    )


@pytest.mark.usefixtures("wheel")
def test_a_checkout_reads_its_own_files_also_after_a_wheel_was_built_in_it(checkout: Path) -> None:
    asked = "from laion_assets.common.shipped import shipped; print(shipped('recipes'))"
    ran = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == str(checkout / "recipes")


def test_tools_of_dagster_load_the_location_that_the_workspace_names() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (location,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    assert project["code_location_target_module"] == location["python_module"]["module_name"]
    assert project["code_location_name"] == location["python_module"]["location_name"]


def test_an_installed_wheel_finds_its_models_its_recipes_and_its_pins(installed: Installed) -> None:
    where = [installed.python, "-c", "import laion_assets; print(laion_assets.__file__)"]
    at = subprocess.run(where, cwd=installed.folder, env=installed.environment(), capture_output=True, text=True).stdout
    assert Path(at.strip()).is_relative_to(installed.python.parents[1])
    assert "funnel" in installed.good("models", "list")
    assert "sample-filtered-16k" in installed.good("recipes")
    assert "SELECT" in installed.good("models", "compile", "funnel")
    found = {f["name"]: f for f in json.loads(installed.run("doctor", "--quick", "--json").stdout)["findings"]}
    assert "constraints.txt" in found["packages"]["text"] + found["packages"]["advice"]
    assert {name for name, finding in found.items() if finding["level"] == "fail"} <= {"source", "packages"}
    # The sample's recipes name the model configurations that are shipped with the package.
    asked = "from laion_assets.training.recipe import load_recipes as l; print(l()['sample-filtered-4k'].config_digest)"
    ran = subprocess.run(
        [installed.python, "-c", asked],
        cwd=installed.folder,
        env=installed.environment(),
        capture_output=True,
        text=True,
    )
    assert len(ran.stdout.strip()) == 64, ran.stderr
