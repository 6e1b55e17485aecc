"""After a fault of any kind: a line that says what to do, all and only what is broken is found, and the same rows."""

from pathlib import Path

import pytest

from tests.faults.disks import may_mount
from tests.faults.ground import Ground
from tests.faults.kinds import KINDS, POINTS, seeds
from tests.faults.points import Kind, run_point

_AT_ONCE = 3
"""Points of one test: small enough that two workers share the work evenly."""

SAMPLE = {
    "kill -9 while unique_pairs is built": 0,
    "SIGTERM while filtered_pairs is built": 0,
    "flipped bit in a data file": 0,
    "deleted log entry": 0,
    "torn lake.json": 0,
}
"""What the default tier tries, with its seed."""

FOUND = [
    ("deleted data file", 0),  # removal requests that have a copy were to be entered again
    ("deleted data file", 2),  # of two broken files the wrong one was named, again and again
    ("SIGTERM while unique_pairs is built", 1),  # nothing was said
    ("SIGTERM while unique_pairs is built", 0),  # nothing was said after the last partition
    ("SIGTERM while clip_embeddings is built", 1),  # a library showed a trace of its own
    ("kill -9 of laion verify --repair", 0),  # marked verdicts of tests stayed marked
    ("read-only lake", 2),  # a lock file was named, and nothing to do
]
"""What showed defects of this project; they are among the points of every build."""


def _spread() -> list[object]:
    found = []
    for kind in KINDS.values():
        every = list(seeds(kind, POINTS))
        for first in range(0, len(every), _AT_ONCE):
            some = every[first : first + _AT_ONCE]
            found.append(pytest.param(kind, some, id=f"{kind.name}-{some[0]}", marks=pytest.mark.slow))
    return found


def _run(ground: Ground, kind: Kind, seed: int, folder: Path) -> None:
    unable = may_mount(folder) if kind.needs_mount else ""
    if unable:
        pytest.skip(unable)
    run_point(ground, kind, seed)


@pytest.mark.parametrize(("kind", "chosen"), _spread())
def test_after_a_fault_the_advice_leads_back_to_the_undisturbed_rows(
    kind: Kind, chosen: list[int], ground: Ground, tmp_path: Path
) -> None:
    for seed in chosen:
        _run(ground, kind, seed, tmp_path)


@pytest.mark.parametrize(("name", "seed"), SAMPLE.items())
def test_a_sample_of_the_faults(name: str, seed: int, ground: Ground, tmp_path: Path) -> None:
    _run(ground, KINDS[name], seed, tmp_path)


def test_a_build_of_this_project_has_200_points_of_every_kind() -> None:
    assert sum(len(seeds(kind, POINTS)) for kind in KINDS.values()) >= 200
    assert all(seeds(kind, POINTS) for kind in KINDS.values())
    assert all(seed in seeds(KINDS[name], POINTS) for name, seed in FOUND)
