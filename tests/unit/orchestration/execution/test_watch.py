"""A step that takes too much is ended, with everything it started, and says which setting allows it more."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from laion_assets.delta.engine import open_engine
from laion_assets.delta.folder import FolderStorage
from laion_assets.orchestration.execution.watch import LimitExceeded, memory_held, watched
from laion_assets.tables.needs import Need

REPOSITORY = Path(__file__).resolve().parents[4]
PATIENT = Need(memory_gib=64, hours=1)


def hours(seconds: float) -> float:
    return seconds / 3600


def test_a_step_within_its_limits_is_left_alone():
    with watched("images", "images a 0", PATIENT):
        result = sum(range(1000))
    assert result == 499500


def test_a_step_s_own_failure_is_its_own():
    with pytest.raises(ZeroDivisionError), watched("images", "images a 0", PATIENT):
        1 / 0  # noqa: B018


def test_a_step_that_takes_too_long_is_ended_while_it_waits():
    begun = time.monotonic()
    with (
        pytest.raises(LimitExceeded, match=r"images a 0 took longer.*raise LAION_LIMITS__IMAGES__HOURS"),
        watched("images", "images a 0", Need(hours=hours(0.3))),
    ):
        time.sleep(60)
    assert time.monotonic() - begun < 10


def test_a_query_that_takes_too_long_is_ended(tmp_path):
    con = open_engine(tmp_path / "spill", FolderStorage(tmp_path))
    with (
        pytest.raises(LimitExceeded, match="LAION_LIMITS__SQL_MODELS__HOURS"),
        watched("funnel", "funnel a", Need(hours=hours(0.3))),
    ):
        con.execute("SELECT sum(a.range * b.range) FROM range(10_000_000) AS a, range(1_000_000) AS b").fetchall()


def test_a_step_that_takes_too_much_memory_is_ended():
    held = memory_held(os.getpid())
    assert held > 10_000_000
    kept: list[bytes] = []
    with (
        pytest.raises(LimitExceeded, match=r"more than the .* GiB that it may: raise LAION_LIMITS__\w+__MEMORY_GIB"),
        watched("unique_pairs", "unique_pairs a 0", Need(memory_gib=(held + 100_000_000) / 2**30)),
    ):
        while True:
            kept.append(os.urandom(5_000_000))
            time.sleep(0.02)
            assert len(kept) < 1000, "nobody stopped it"


def test_a_child_that_takes_too_much_memory_dies_and_the_step_is_told_why():
    held = memory_held(os.getpid())
    greedy = "import os, time; kept = os.urandom(300_000_000); print('full', flush=True); time.sleep(600)"
    child = None
    with (
        pytest.raises(LimitExceeded, match="LAION_LIMITS__IMAGES__MEMORY_GIB"),
        watched("images", "images a 0", Need(memory_gib=(held + 150_000_000) / 2**30)),
    ):
        child = subprocess.Popen([sys.executable, "-c", greedy], stdout=subprocess.PIPE)
        assert child.wait() == 0  # what a driver would make of it is not what is reported
    assert child is not None
    assert child.wait(timeout=10) == -9


def test_grandchildren_die_too():
    nested = textwrap.dedent("""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(600)
    """)
    with (
        pytest.raises(LimitExceeded),
        watched("images", "images a 0", Need(hours=hours(2))),
    ):
        parent = subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        grandchild = psutil.Process(int(parent.stdout.readline()))
        parent.wait()
        time.sleep(60)
    psutil.wait_procs([grandchild], timeout=10)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_memory_of_forked_children_counts_once():
    kept = os.urandom(200_000_000)
    before = memory_held(os.getpid())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0)
    try:
        together = memory_held(os.getpid())
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
    assert len(kept) == 200_000_000
    assert together - before < 100_000_000


_STUBBORN = """
import signal, time
from laion_assets.orchestration.execution import watch
from laion_assets.tables.needs import Need
watch._GRACE_SECONDS = 0.5
with watch.watched("images", "images a 0", Need(hours=0.2 / 3600)):
    while True:
        try:
            time.sleep(60)
        except watch.LimitExceeded:
            pass
"""

_PUBLISHES = """
import time
from laion_assets.orchestration.execution import watch
from laion_assets.tables.needs import Need
from laion_assets.delta.build import PartitionBuild

class Slow:
    def __getattr__(self, name):
        time.sleep(1.5)
        raise SystemExit("published")

with watch.watched("images", "images a 0", Need(hours=0.2 / 3600)):
    PartitionBuild.publish(Slow())
"""


_CHILD = """
import multiprocessing, os, subprocess, sys, time
from laion_assets.orchestration.execution import watch
from laion_assets.tables.needs import Need

def step():
    with watch.watched("images", "images a 0", Need()):
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print(os.getpid(), helper.pid, flush=True)
        time.sleep(600)

child = multiprocessing.get_context("fork").Process(target=step)
child.start()
child.join()
"""


def test_a_step_in_a_process_of_its_own_does_not_outlive_who_asked_for_it():
    command = [sys.executable, "-c", _CHILD]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        family = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(family) == 2
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        assert alive == []


@pytest.fixture
def run(tmp_path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    def run(script: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    return run


def test_a_step_that_cannot_be_stopped_takes_its_process_with_it(run):
    ended = run(_STUBBORN)
    assert ended.returncode == -9
    assert "LAION_LIMITS__IMAGES__HOURS; it could not be stopped otherwise" in ended.stderr


def test_nothing_is_raised_while_rows_are_published(run):
    """An exception out of the rows' iterator would abort the process."""
    ended = run(_PUBLISHES)
    assert ended.returncode == 1
    assert "LimitExceeded" in ended.stderr, "it is said afterwards"
    assert "published" in ended.stderr, "and the publishing went on to its end"
