"""Every `dagster.yaml` of `infra/`: Dagster takes it, and each of its parts takes its own configuration."""

import importlib
import os
import re
from pathlib import Path

import dagster as dg
import pytest
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

from tests.infra.files import INFRA

FILES = sorted(INFRA.rglob("dagster.yaml"))


def wrong_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Faults in the configuration of the storages, launchers and others that a `dagster.yaml` names.

    Nothing is connected to. What it takes from the environment is there, and stands for anything.
    """
    for name in re.findall(r"env: (\w+)", (folder / "dagster.yaml").read_text()):
        monkeypatch.setenv(name, "5432" if name.endswith("_PORT") else "x")
    ref = InstanceRef.from_dir(str(folder))
    parts = [part for part in ref if isinstance(part, ConfigurableClassData)]
    assert len(parts) > 5
    wrong = []
    for part in parts:
        named = getattr(importlib.import_module(part.module_name), part.class_name)
        checked = process_config(resolve_to_config_type(named.config_type()), part.config_dict)
        wrong += [] if checked.success else [f"{part.class_name}: {error.message}" for error in checked.errors or []]
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_dagster_takes_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_parts(path.parent, monkeypatch) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_it_holds_no_secret_and_sends_nothing_home(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(password|secret|token)\w*:[^\n]*\w", text), "a secret stands in the environment alone"
    assert re.search(r"^telemetry:\n  enabled: false$", text, re.MULTILINE)


def test_a_wrong_option_is_found(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("concurrency:\n  pool:\n    default_limit: 1\n")
    with pytest.raises(dg.DagsterInvalidConfigError, match="pool"):
        InstanceRef.from_dir(str(tmp_path))


def test_a_wrong_option_of_a_part_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = (INFRA / "postgres" / "dagster.yaml").read_text()
    (tmp_path / "dagster.yaml").write_text(good.replace("      db_name:", "      database:"))
    assert any("database" in fault for fault in _faults(tmp_path, monkeypatch))


def _faults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    try:
        return wrong_parts(folder, monkeypatch)
    except dg.DagsterInvalidConfigError as error:
        return [str(error)]


def test_the_environment_it_asks_for_is_the_one_that_is_described() -> None:
    asked = set(re.findall(r"env: (\w+)", (INFRA / "postgres" / "dagster.yaml").read_text()))
    assert asked == {f"DAGSTER_POSTGRES_{name}" for name in ("HOST", "PORT", "USER", "PASSWORD", "DB")}
    assert asked & set(os.environ) == set(), "these tests are not to depend on the environment"
