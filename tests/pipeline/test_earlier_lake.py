"""A lake that an earlier version built is opened as it is: all of it is done, and no command builds anything."""

import json
from pathlib import Path

import pytest

from tests.pipeline.earlier_lake import CRAWLS, RECIPE, laion, unpack

pytestmark = [pytest.mark.slow, pytest.mark.integration]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("earlier"))


def test_every_partition_of_it_is_done(lake: Path) -> None:
    told = json.loads(laion(lake, "status", "--json"))
    found = {table: {state for state, count in counts.items() if count} for table, counts in told["stages"].items()}
    assert found
    assert all(states == {"done"} for states in found.values())


@pytest.mark.parametrize(
    "command",
    [("build", *CRAWLS), ("models", "run"), ("train", RECIPE), ("evaluate", RECIPE)],
    ids=lambda command: command[0],
)
def test_nothing_of_it_is_built_again(lake: Path, command: tuple[str, ...]) -> None:
    assert laion(lake, *command).startswith("nothing to do: ")


def test_its_bytes_are_those_that_were_written(lake: Path) -> None:
    assert laion(lake, "verify").rstrip().endswith("no fault")
