"""From an empty DAGSTER_HOME: `laion ui`, the sensor and the automation turned on, and nothing else."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from laion_assets.lake.opening import lake_at, recorded_shape
from laion_assets.orchestration.automation.condition import NAME as BUILD_DUE
from laion_assets.orchestration.automation.crawls import NAME as NEW_CRAWLS
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import AutomationOptions
from laion_assets.tables.catalogue import ALWAYS
from tests.pipeline.conftest import MakeSettings, environment, free_port, kill_9, laion, unfinished
from tests.pipeline.test_automation import small_project, states
from tests.warm import PYTHONPATH

_SECONDS = 500


def ask(port: int, query: str, **variables: Any) -> Any:
    """What the web server answers."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def is_loaded(port: int) -> bool:
    """Whether the web server is there and has loaded the code location."""
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { name } } } } }"
    try:
        found = ask(port, query)["data"]["repositoriesOrError"]
    except OSError:
        return False
    return bool(found.get("nodes"))


def turn_on(port: int, sensor: str) -> None:
    """Start a sensor as its switch in the UI does."""
    mutation = """
        mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
            __typename ... on Sensor { sensorState { status } } } }"""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": "laion", "sensorName": sensor}
    started = ask(port, mutation, selector=selector)["data"]["startSensor"]
    assert started == {"__typename": "Sensor", "sensorState": {"status": "RUNNING"}}, started


def is_built(lake: Path) -> bool:
    """Whether the last table says that everything is done."""
    if recorded_shape(str(lake)) is None:
        return False
    opened = lake_at(str(lake))
    if not opened.ledger("partition_states").commits:
        return False
    found = states(opened)
    return {table for table, _ in found} >= {*ALWAYS, "kept"} and {how for how, _ in found.values()} == {"done"}


@pytest.mark.slow
@pytest.mark.integration
def test_both_crawls_are_built_when_sensor_and_automation_are_turned_on(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(
        tmp_path / "lake",
        shards=1,
        buckets=1,
        models=str(small_project(tmp_path / "project")),
        automation=AutomationOptions(interval_seconds=2, crawl_interval_seconds=5),
    )
    port, home, log = free_port(), tmp_path / "home", tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            laion("ui", "--port", str(port)),
            env=environment(settings, home) | {"PYTHONPATH": PYTHONPATH},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        give_up = time.monotonic() + _SECONDS
        wait_for(lambda: is_loaded(port), process, give_up, log)
        for sensor in (NEW_CRAWLS, BUILD_DUE):
            turn_on(port, sensor)
        wait_for(lambda: is_built(tmp_path / "lake"), process, give_up, log)
        failed = ask(port, "{ runsOrError(filter: {statuses: [FAILURE]}) { ... on Runs { count } } }")
    finally:
        kill_9(process)
    assert failed["data"]["runsOrError"]["count"] == 0
    assert unfinished(settings) == {}
    lake = settings.open_lake(create=False)
    assert lake.ledger("filtered_pairs").periods == set(CRAWLS)
    for table in ALWAYS:
        writes = [entry for entry in lake.table(table).history() if entry["operation"] == "WRITE"]
        assert len(writes) == len(CRAWLS), f"each partition of {table} was built once"


def wait_for(condition: Any, process: subprocess.Popen[bytes], give_up: float, log: Path) -> None:
    """Look twice a second until something holds, while the process lives."""
    while not condition():
        assert process.poll() is None, log.read_text()[-5000:]
        assert time.monotonic() < give_up, log.read_text()[-5000:]
        time.sleep(0.5)
