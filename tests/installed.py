"""The package as people install it: a wheel, in an environment of its own, away from any checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.pipeline.conftest import free_port

REPOSITORY = Path(__file__).resolve().parents[1]


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
    shutil.copy(REPOSITORY / "tests" / "site" / "sitecustomize.py", site)
    (folder / "here").mkdir()
    return Installed(python, folder / "here")


@contextmanager
def serving_ui(installed: Installed) -> Iterator[str]:
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
