"""The scripts of `measurements/` build with what the command line builds with, and not with the command line."""

import ast
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "measurements").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_no_benchmark_imports_the_command_line(script: Path) -> None:
    tree = ast.parse(script.read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules
    assert [module for module in modules if f"{module}.".startswith("laion_assets.cli.")] == []
