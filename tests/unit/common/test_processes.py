"""Children end with the process that started them, and nothing of a group outlives its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from laion_assets.common import processes
from laion_assets.common.processes import end_group, end_with_parent, with_parent

_CHILD = """
import sys, time
from laion_assets.common import processes
processes._LINUX = processes._LINUX and sys.argv[1] == "kernel"
processes.end_with_parent()
print("bound", flush=True)
time.sleep(60)
"""
_PARENT = """
import os, subprocess, sys
from laion_assets.common.processes import with_parent
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env={**os.environ, **with_parent()},
                         stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "bound\\n"
print(child.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def becomes_true(holds: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 20
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("by", ["kernel", "thread"])
def test_a_child_ends_with_the_process_that_is_killed(by: str) -> None:
    command = [sys.executable, "-c", _PARENT, _CHILD, by]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.communicate()
    assert becomes_true(lambda: not alive(child))


def test_a_child_whose_parent_died_before_it_asked_ends_at_once() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    environment = {**os.environ, **with_parent(), "LAION_PARENT": str(gone.pid)}
    assert subprocess.run([sys.executable, "-c", _CHILD, "kernel"], env=environment).returncode == -signal.SIGKILL


def test_a_process_started_by_hand_is_bound_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAION_PARENT", raising=False)
    monkeypatch.setattr(processes, "signal_from_kernel", lambda _: pytest.fail("it is bound"))
    threads = threading.active_count()
    end_with_parent()
    assert threading.active_count() == threads


def test_what_a_bound_process_starts_is_not_taken_for_its_parents_child() -> None:
    code = "import os; from laion_assets.common.processes import end_with_parent; end_with_parent(); print(*os.environ)"
    environment = {**os.environ, **with_parent()}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "LAION_PARENT" not in ran.stdout.split()


@pytest.mark.parametrize("obeys", [True, False])
def test_the_end_of_a_group_is_the_end_of_all_in_it(obeys: bool) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" * (not obeys)
    leader = (
        f"{stubborn}import subprocess, sys, time\n"
        f"below = subprocess.Popen([sys.executable, '-c', '''{stubborn}import time; print(1, flush=True); "
        "time.sleep(60)'''], stdout=subprocess.PIPE)\n"
        "below.stdout.readline(); print(below.pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", leader], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    below = int(process.stdout.readline())
    end_group(process, grace_seconds=20 if obeys else 0.3)
    assert process.returncode == (-signal.SIGTERM if obeys else -signal.SIGKILL)
    assert becomes_true(lambda: not alive(below))
    process.stdout.close()
    end_group(process, grace_seconds=1)
