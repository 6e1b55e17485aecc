"""The image and the compose file: linted, resolved by compose itself, and what they name looked up."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.files import INFRA, REPOSITORY, VERSION, compose, dockerfile, document, user_deployment

DOCKER = INFRA / "docker"
SECRETS = ("DAGSTER_POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


# -- the Dockerfile ---------------------------------------------------------------------------------------------------


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("hadolint"))
    return subprocess.run([program, "--no-color", str(path)], capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say() -> None:
    ran = hadolint(DOCKER / "Dockerfile")
    assert (ran.returncode, ran.stdout) == (0, "")


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text((DOCKER / "Dockerfile").read_text().replace("apt-get update", "sudo apt-get update"))
    assert "DL3004" in hadolint(wrong).stdout


def sent_to_the_daemon(name: str) -> bool:
    """Whether `Dockerfile.dockerignore` lets a path of the repository into the image: the last line that fits says."""
    kept = True
    for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        if pattern == "*" or name == pattern or name.startswith(f"{pattern}/"):
            kept = line.startswith("!")
    return kept


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile(), re.MULTILINE) for name in line.split()[:-1]
    ]
    assert {"constraints.txt", "pyproject.toml", "README.md", "."} == set(copied)
    for name in copied:
        assert (REPOSITORY / name).exists(), name
        assert name == "." or sent_to_the_daemon(name), name


def test_what_is_let_in_is_there_and_the_rest_stays_out() -> None:
    named = re.findall(r"^!(.+)$", (DOCKER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
    for name in (".git/config", "lake/x", "infra/docker/.env", "tests/conftest.py", ".venv/bin/python"):
        assert not sent_to_the_daemon(name), name
    for name in (
        "laion_assets/definitions.py",
        "dbt_like_sql/models",
        "recipes/sample.yaml",
        "infra/local/dagster.yaml",
    ):
        assert sent_to_the_daemon(name), name


def test_the_image_runs_as_nobody_in_particular() -> None:
    users = re.findall(r"^USER (.*)$", dockerfile(), re.MULTILINE)
    assert users == ["10001:10001"]
    assert "useradd --uid 10001" in dockerfile()
    security = user_deployment()["podSecurityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001)


def test_its_parts_speak_of_one_port() -> None:
    ports = {int(port) for port in re.findall(r"(?:EXPOSE |--port\W+)(\d+)", dockerfile())}
    (location,) = document(DOCKER / "workspace.yaml")["load_from"]
    command = compose()["services"]["code"]["command"]
    ports |= {location["grpc_server"]["port"], int(command[command.index("--port") + 1]), user_deployment()["port"]}
    assert ports == {4000}


def test_the_place_and_its_name_are_those_of_the_workspace() -> None:
    (remote,) = document(DOCKER / "workspace.yaml")["load_from"]
    (local,) = document(REPOSITORY / "workspace.yaml")["load_from"]
    assert remote["grpc_server"]["location_name"] == local["python_module"]["location_name"]
    assert remote["grpc_server"]["host"] in compose()["services"]
    module = local["python_module"]["module_name"]
    assert f'"--module-name", "{module}"' in dockerfile()
    assert module in compose()["services"]["code"]["command"]
    assert module in user_deployment()["codeServerArgs"]


# -- compose ----------------------------------------------------------------------------------------------------------


def compose_command() -> list[str]:
    """Compose, as Docker's plugin or as a program; the test is skipped where there is neither."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("compose is not installed: install the package docker-compose")
    return [program]


def configured(folder: Path, *more: str, secrets: tuple[str, ...] = SECRETS) -> subprocess.CompletedProcess[str]:
    """`docker compose config` on a copy of the folder, with `.env` filled in from `.env.example`."""
    there = folder / "infra" / "docker"
    if not there.exists():
        shutil.copytree(DOCKER, there)
    text = (DOCKER / ".env.example").read_text()
    for name in secrets:
        text = text.replace(f"{name}=", f"{name}=secret")
    (there / ".env").write_text(text)
    files = [part for name in ("compose.yaml", *more) for part in ("-f", name)]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return subprocess.run(
        [*compose_command(), *files, "config"], cwd=there, env=kept, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("more", [[], ["compose.gpu.yaml"]], ids=["cpu", "gpu"])
def test_compose_takes_it(more: list[str], tmp_path: Path) -> None:
    ran = configured(tmp_path, *more)
    assert ran.returncode == 0, ran.stderr
    services = yaml.safe_load(ran.stdout)["services"]
    assert set(services) == {"postgres", "s3", "bucket", "code", "webserver", "daemon"}
    assert services["code"]["environment"]["DAGSTER_POSTGRES_PASSWORD"] == "secret"
    assert bool(services["code"].get("deploy")) == bool(more)


@pytest.mark.parametrize("name", SECRETS)
def test_compose_stops_where_a_secret_is_missing(name: str, tmp_path: Path) -> None:
    ran = configured(tmp_path, secrets=tuple(secret for secret in SECRETS if secret != name))
    assert ran.returncode != 0
    assert name in ran.stderr


def test_compose_finds_what_is_wrong(tmp_path: Path) -> None:
    configured(tmp_path)
    file = tmp_path / "infra" / "docker" / "compose.yaml"
    file.write_text(file.read_text().replace("healthcheck:", "healthchek:", 1))
    ran = configured(tmp_path)
    assert ran.returncode != 0
    assert "healthchek" in ran.stderr


def test_no_secret_has_a_value_of_its_own() -> None:
    """Neither a value nor a default: every one is asked for."""
    example = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert {name: example[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")
    text = (DOCKER / "compose.yaml").read_text()
    for name in SECRETS:
        assert set(re.findall(rf"\$\{{{name}[^}}]*\}}", text)) == {f"${{{name}:?set it in .env}}"}


def test_every_variable_of_compose_is_in_the_example_and_the_other_way_round() -> None:
    example = set(re.findall(r"^(\w+)=", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    asked = {name for path in DOCKER.glob("compose*.yaml") for name in re.findall(r"\$\{(\w+)", path.read_text())}
    assert asked == example - {"COMPOSE_PROJECT_NAME"}


def test_only_the_web_server_is_reached_from_the_machine_and_from_it_alone() -> None:
    services = compose()["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"webserver": ["127.0.0.1:3000:3000"]}
    assert compose()["networks"]["storage"]["internal"] is True
    assert services["postgres"]["networks"] == services["s3"]["networks"] == ["storage"]


def test_what_is_mounted_is_there() -> None:
    bound: list[str] = [
        mount.split(":")[0]
        for service in compose()["services"].values()
        for mount in service.get("volumes", [])
        if mount.startswith(".")
    ]
    assert {(DOCKER / name).resolve() for name in bound} == {
        INFRA / "postgres" / "dagster.yaml",
        DOCKER / "workspace.yaml",
    }
    assert all((DOCKER / name).is_file() for name in bound)


def _healthy(service: dict[str, Any]) -> bool:
    """Whether compose can tell: by the service's own check, or by the image's, of which there is one."""
    return not service.get("healthcheck", {}).get("disable", False)


def test_who_is_waited_for_can_be_seen_to_be_ready() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}"
            if wanted["condition"] == "service_healthy":
                assert _healthy(services[other]), f"{name} waits for {other}, which says nothing of its health"


def test_images_are_this_version_of_this_project() -> None:
    (base,) = {service["image"] for service in compose()["services"].values() if "laion" in service["image"]}
    assert base == f"laion-lakehouse:{VERSION}-${{VARIANT:-cpu}}"
    assert "ARG VARIANT=cpu\n" in dockerfile()
    assert {f"torch-{variant}" for variant in ("cpu", "cuda")} <= set(re.findall(r" AS (\S+)", dockerfile()))
    for image in re.findall(r"laion-lakehouse:(\S+)", "".join(path.read_text() for path in DOCKER.iterdir())):
        assert image.startswith(f"{VERSION}-")


def test_other_peoples_images_are_pinned() -> None:
    images = [service["image"] for service in compose()["services"].values() if "laion" not in service["image"]]
    images += re.findall(r"^FROM (\S+:\S+)", dockerfile(), re.MULTILINE)
    assert len(images) == 3
    assert all(re.search(r":\S*\d", image) and not image.endswith("latest") for image in images)
