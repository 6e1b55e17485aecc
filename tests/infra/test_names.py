"""Whatever the files of `infra/` name is there: variables, commands and options, paths, images, pools, sensors."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import botocore.configprovider
import botocore.credentials
import pytest
import typer.main
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import create_dagster_webserver_cli

from laion_assets.cli.main import app
from laion_assets.definitions import defs
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES
from tests.infra.files import (
    INFRA,
    REPOSITORY,
    VERSION,
    compose,
    dockerfile,
    dockerfile_environment,
    helm_values,
    kubernetes_settings,
    shell_lines,
    texts,
    user_deployment,
)

CODE = "\n".join(path.read_text() for path in sorted((REPOSITORY / "laion_assets").rglob("*.py")))


# -- the environment --------------------------------------------------------------------------------------------------


def setting_names(model: type = Settings) -> Iterator[str]:
    """Every variable that is a setting, nested ones too."""
    for name, field in Settings.model_fields.items():
        prefix = f"LAION_{name.upper()}"
        yield prefix
        for option in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if is_dataclass(option):
                yield from (f"{prefix}__{part.name.upper()}" for part in fields(option))


def is_known(name: str) -> bool:
    """Whether somebody reads a variable of this name: the settings, this package's code, Dagster, or an AWS client."""
    if name.startswith("LAION_"):
        return name in set(setting_names()) or f'"{name}"' in CODE
    if name.startswith("DAGSTER_"):
        return name == "DAGSTER_HOME" or f"env: {name}\n" in (INFRA / "postgres" / "dagster.yaml").read_text()
    provider = botocore.credentials.EnvProvider
    read = [entry[1] for entry in botocore.configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES.values()]
    known = {name for names in read for name in ([names] if isinstance(names, str) else names or ())}
    # The address of a server is read by another way than the rest.
    known |= {provider.ACCESS_KEY, provider.SECRET_KEY, *provider.TOKENS, "AWS_ENDPOINT_URL"}
    return name in known or f'"{name}"' in CODE


def unknown_names(text: str) -> set[str]:
    """Variables in a text that nobody reads."""
    found = set(re.findall(r"\b(?:LAION|DAGSTER|AWS)_[A-Z][A-Z0-9_]*[A-Z0-9]\b", text))
    return {name for name in found if not is_known(name)}


@pytest.mark.parametrize(("path", "text"), texts(), ids=lambda value: value if len(value) < 50 else "")
def test_every_variable_is_read_by_somebody(path: str, text: str) -> None:
    assert unknown_names(text) == set(), path


@pytest.mark.parametrize(
    "wrong", ["LAION_LAKES", "LAION_DOWNLOAD__CONTACTS", "DAGSTER_POSTGRES_PASWORD", "AWS_ACCESS_KEY"]
)
def test_a_variable_that_nobody_reads_is_found(wrong: str) -> None:
    assert unknown_names(f"x: {{{wrong}: 1}}") == {wrong}


def environments() -> dict[str, Mapping[str, str]]:
    """The environment of each deployment, variables of compose at their defaults."""
    services = {name: service.get("environment", {}) for name, service in compose()["services"].items()}

    def default(value: str) -> str:
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "x", value))

    code = {name: default(value) for name, value in services["code"].items()}
    return {"compose": dockerfile_environment() | code, "kubernetes": dockerfile_environment() | kubernetes_settings()}


@pytest.mark.parametrize("deployment", ["compose", "kubernetes"])
def test_the_settings_of_each_deployment_are_settings(deployment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environments()[deployment]
    for name in [name for name in os.environ if name.startswith("LAION_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert settings.lake == given["LAION_LAKE"]
    assert (settings.shards, settings.buckets) == (64, 256)
    assert settings.executor == given["LAION_EXECUTOR"]  # type: ignore[attr-defined]


def test_the_image_gives_memory_back_as_the_makefile_does() -> None:
    makefile = dict(re.findall(r"^export (\w+_) = (\d+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert len(makefile) == 2
    assert {name: dockerfile_environment()[name] for name in makefile} == makefile


def test_places_in_the_environment_are_places_of_the_image_or_the_pod() -> None:
    volumes = set(re.findall(r'"(/\w+)"', re.findall(r"^VOLUME (.*)$", dockerfile(), re.MULTILINE)[0]))
    assert volumes == set(re.findall(r" (/(?!opt)\w+)", re.findall(r"install --directory[^&]*", dockerfile())[0]))
    for name, value in dockerfile_environment().items():
        if value.startswith("/") and name != "PATH":
            assert f"/{value.split('/')[1]}" in volumes, name
    mounted = {mount.split(":")[1] for mount in compose()["services"]["code"]["volumes"]}
    assert {"/dagster", "/scratch", "/cache"} <= mounted
    launcher = helm_values()["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert kubernetes_settings()["LAION_SCRATCH"] in {
        m["mountPath"] for m in launcher["containerConfig"]["volumeMounts"]
    }
    assert helm_values()["global"]["dagsterHome"] == dockerfile_environment()["DAGSTER_HOME"]


# -- commands ---------------------------------------------------------------------------------------------------------

PROGRAMS: dict[str, Any] = {  # typer carries a click of its own, whose commands are of other classes
    "dagster": create_dagster_cli(),
    "dagster-daemon": create_dagster_daemon_cli(),
    "dagster-webserver": create_dagster_webserver_cli(),
    "laion": typer.main.get_command(app),
}


class WrongCallError(Exception):
    """A program knows no such command or option."""


def check_call(words: list[str]) -> None:
    """Look a call's commands and options up in its program, and do nothing.

    Raises:
        WrongCallError: the program knows no such command or option.
    """
    program, *rest = words
    command = PROGRAMS[Path(program).name]
    while hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
        found = command.get_command(command.context_class(command), rest[0])
        if found is None:
            raise WrongCallError(f"{program}: no command {rest[0]}")
        command, rest = found, rest[1:]
    known = {"--help"} | {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    for word in rest:
        if word.startswith("-") and word.partition("=")[0] not in known:
            raise WrongCallError(f"{program} {command.name}: no option {word}")


def calls() -> list[list[str]]:
    """Every call of our programs in the image, in compose, in the chart's values and on the page."""
    image = [re.findall(r'"([^"]*)"', line) for line in re.findall(r"CMD (\[.*\])", dockerfile())]
    services = [service.get(part) for service in compose()["services"].values() for part in ("command",)]
    checks = [service.get("healthcheck", {}).get("test", [""])[1:] for service in compose()["services"].values()]
    chart = [["dagster", "code-server", "start", "--port", "4000", *user_deployment()["codeServerArgs"]]]
    page = [shlex.split(line) for line in shell_lines((INFRA / "README.md").read_text())]
    starts = {None, "code", "--", "&&"}  # where a program's name stands: first, or after those words
    ours = [words[i:] for words in page for i, _ in enumerate(words) if (words[i - 1] if i else None) in starts]
    found = [*image, *filter(None, services), *checks, *chart, *ours]
    return [words for words in found if words and Path(words[0]).name in PROGRAMS]


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_every_call_is_one_that_its_program_takes(words: list[str]) -> None:
    check_call(words)


def test_every_program_is_called_somewhere() -> None:
    assert {Path(words[0]).name for words in calls()} == set(PROGRAMS)


@pytest.mark.parametrize(
    "wrong",
    ["dagster code-server begin", "dagster-daemon run --nonsense", "laion buld X", "laion build X --untill images"],
)
def test_a_call_that_no_program_takes_is_found(wrong: str) -> None:
    with pytest.raises(WrongCallError):
        check_call(wrong.split())


# -- what the page speaks of ------------------------------------------------------------------------------------------


def test_paths_on_the_page_are_there() -> None:
    page = (INFRA / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
    files = re.findall(r"(?:^|[\s`])((?:infra/)?(?:local|postgres|docker|kubernetes|ray|aws)/[\w./-]*\w)", page)
    assert links
    assert files
    missing = [name for name in files if not any((base / name).exists() for base in (INFRA, REPOSITORY))]
    assert [link for link in links if not (INFRA / link).exists()] + missing == []


def named_on_the_page(kind: str) -> set[str]:
    """What the page calls, in backticks, a sensor, a schedule, a pool or a table."""
    page = (INFRA / "README.md").read_text()
    return {
        name
        for found in re.findall(rf"{kind}s?\s+((?:`\w+`(?:, | and )?)+)", page)
        for name in re.findall(r"\w+", found)
    } - {"and"}


def test_sensors_schedules_pools_and_tables_on_the_page_are_there() -> None:
    sensors = {sensor.name for sensor in defs.sensors or []}
    schedules = {schedule.name for schedule in defs.schedules or []}
    pools = {
        pool for asset in defs.resolve_asset_graph().assets_defs if asset.is_executable for pool in [asset.op.pool]
    }
    assert named_on_the_page("sensor")
    assert named_on_the_page("sensor") <= sensors
    assert named_on_the_page("schedule")
    assert named_on_the_page("schedule") <= schedules
    assert named_on_the_page("pool") == {pool for pool in pools if pool}
    assert named_on_the_page("table") <= set(TABLES)


def test_every_folder_has_its_line_on_the_page() -> None:
    page = (INFRA / "README.md").read_text()
    folders = {path.name for path in INFRA.iterdir() if path.is_dir()}
    assert {name for name in folders if f"`{name}/`" not in page} == set()


# -- between the files ------------------------------------------------------------------------------------------------


def images_of(values: Any) -> Iterator[str]:
    """Every image among the chart's values."""
    if isinstance(values, dict):
        if {"repository", "tag"} <= set(values):
            yield f"{values['repository']}:{values['tag']}"
        for value in values.values():
            yield from images_of(value)
    elif isinstance(values, list):
        for value in values:
            yield from images_of(value)


def test_the_chart_runs_the_images_that_are_built() -> None:
    images = set(images_of(helm_values()))
    assert {image.rpartition("/")[2] for image in images} == {f"laion-lakehouse:{VERSION}-{v}" for v in ("cpu", "cuda")}
    page = (INFRA / "README.md").read_text()
    assert set(re.findall(r"laion-lakehouse:([\w.-]+)", page)) <= {f"{VERSION}-cpu", f"{VERSION}-cuda"}


def test_the_bucket_the_role_and_the_account_are_those_of_the_template() -> None:
    template, values = (INFRA / "aws" / "lake.yaml").read_text(), helm_values()
    account = values["serviceAccount"]
    role = account["annotations"]["eks.amazonaws.com/role-arn"]
    assert f"RoleName: {role.rpartition('/')[2]}\n" in template
    assert account["name"] == values["global"]["serviceAccountName"]
    assert f"Default: {account['name']}\n" in template
    bucket = values["computeLogManager"]["config"]["s3ComputeLogManager"]["bucket"]
    assert kubernetes_settings()["LAION_LAKE"].startswith(f"s3://{bucket}/")
    assert bucket == f"laion-lakehouse-{role.split(':')[4]}"
    assert "BucketName: !Sub laion-lakehouse-${AWS::AccountId}\n" in template


def test_both_postgres_configurations_speak_by_the_same_driver() -> None:
    scheme = helm_values()["postgresql"]["postgresqlScheme"]
    assert f"scheme: {scheme} " in (INFRA / "postgres" / "dagster.yaml").read_text()
