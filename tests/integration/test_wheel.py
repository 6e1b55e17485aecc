"""The package as people install it: a wheel, in an environment of its own, away from any checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml

from tests.pipeline.conftest import free_port

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]
READ = ("dbt_like_sql", "recipes", "infra/local/dagster.yaml", "workspace.yaml", "constraints.txt")


def sources(target: Path) -> Path:
    """The files of the checkout that are the project's, without what was built or installed there."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, target / name)
    return target


def build_wheel(checkout: Path, target: Path) -> Path:
    """What `pip wheel` makes of a checkout, with the setuptools that is installed and nothing fetched."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(target), "."], cwd=checkout, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sources(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(checkout, tmp_path_factory.mktemp("dist"))


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and what it needs from the environment of the tests."""

    python: Path
    folder: Path
    """The working folder; no checkout is above it or beside it."""

    @property
    def laion(self) -> Path:
        return self.python.with_name("laion")

    def environment(self) -> dict[str, str]:
        dropped = ("LAION_", "DAGSTER_", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return kept | {"COLUMNS": "200", "XDG_CACHE_HOME": str(self.folder / "cache")}

    def run(self, *arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.laion, *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def good(self, *arguments: str, seconds: float = 300) -> str:
        ran = self.run(*arguments, seconds=seconds)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    site = next((folder / "env" / "lib").glob("python*")) / "site-packages"
    # The other packages are those of the tests. Their .pth files are not read, so an editable install is not seen.
    (site / "others.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{sysconfig.get_paths()['platlib']}\n")
    python = folder / "env" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    (folder / "here").mkdir()
    return Installed(python, folder / "here")


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


@contextmanager
def ui(installed: Installed) -> Iterator[str]:
    """The Dagster UI; its address once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [installed.laion, "ui", "--port", str(port)],
        cwd=installed.folder,
        env=installed.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address, give_up = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=5).read()
                break
            except (URLError, OSError):
                assert process.poll() is None, "the UI ended"
                assert time.monotonic() < give_up, "the UI does not answer"
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


_QUESTION = """{
  repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } }
  all: runsOrError { ... on Runs { count } }
  ours: runsOrError(filter: {tags: [{key: ".dagster/repository", value: "__repository__@laion"}]}) {
    ... on Runs { count }
  }
}"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_new_user_runs_the_demo_and_looks_at_it_from_the_wheel_alone(installed: Installed) -> None:
    told = installed.good("demo", "--quick", seconds=1_500)
    assert "goal" in told
    assert "laion ui" in told
    assert "installed" not in (kept := (installed.folder / "lake" / "settings.env").read_text())
    assert 'LAION_ENCODER__MODEL_CONFIGS="files/encoders"' in kept
    assert (installed.folder / ".dagster" / "dagster.yaml").is_file()
    states = json.loads(installed.good("status", "--json"))["stages"]
    assert {state for counts in states.values() for state, n in counts.items() if n} == {"done"}
    with ui(installed) as address:
        question = {"query": _QUESTION}
        asked = urllib.request.Request(
            f"{address}/graphql", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        answered = json.loads(urllib.request.urlopen(asked, timeout=60).read())
    assert answered["data"]["repositoriesOrError"]["nodes"] == [{"location": {"name": "laion"}}]
    assert answered["data"]["ours"] == answered["data"]["all"], "the demo's runs are of that location"
