"""The files of `infra/`, read as their tools read them."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
INFRA = REPOSITORY / "infra"
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


def documents(path: Path) -> list[Any]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def document(path: Path) -> Any:
    """The one YAML document of a file."""
    (only,) = documents(path)
    return only


def compose() -> Mapping[str, Any]:
    """`compose.yaml` with its anchors resolved and its variables left alone."""
    return document(INFRA / "docker" / "compose.yaml")


def helm_values() -> Mapping[str, Any]:
    """The values of Dagster's chart."""
    return document(INFRA / "kubernetes" / "values.yaml")


def user_deployment() -> Mapping[str, Any]:
    """The one code location among the chart's values."""
    (only,) = helm_values()["dagster-user-deployments"]["deployments"]
    return only


def kubernetes_objects() -> list[Mapping[str, Any]]:
    """What is applied beside the chart."""
    files = sorted((INFRA / "kubernetes").glob("*.yaml"))
    return [found for path in files if path.name != "values.yaml" for found in documents(path)]


def kubernetes_settings() -> dict[str, str]:
    """The environment that code server, runs and steps get from the ConfigMap."""
    (found,) = [item for item in kubernetes_objects() if item["kind"] == "ConfigMap"]
    return dict(found["data"])


def dockerfile() -> str:
    """The Dockerfile with its continued lines joined and without comments."""
    text = (INFRA / "docker" / "Dockerfile").read_text()
    return re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))


def dockerfile_environment() -> dict[str, str]:
    """What ENV sets in the image."""
    (line,) = re.findall(r"^ENV (.*)$", dockerfile(), re.MULTILINE)
    return dict(pair.split("=", 1) for pair in line.split())


def texts() -> Iterator[tuple[str, str]]:
    """(path below the repository, content) of every file of `infra/`."""
    for path in sorted(INFRA.rglob("*")):
        if path.is_file() and path.name != ".env":
            yield str(path.relative_to(REPOSITORY)), path.read_text()


def shell_lines(markdown: str) -> list[str]:
    """The commands in the fenced blocks of a page, continued lines joined, comments left out."""
    inside, lines = False, []
    for line in re.sub(r"\\\n\s*", " ", markdown).splitlines():
        if re.match(r"\s*(\d+\. )?```", line):
            inside = not inside
        elif inside:
            lines.append(re.sub(r"(^|\s)#.*", "", line).strip())
    return [line for line in lines if line]
