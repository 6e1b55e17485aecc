"""A lock keeps other processes out, ends with its holder, and is never one on something that has lost its name."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from laion_assets.common.locks import is_locked, locked, share, try_lock

_HOLD = """
import sys, time
from pathlib import Path
from laion_assets.common.locks import try_lock
assert try_lock(Path(sys.argv[1]), make=True, shared="shared" in sys.argv) is not None
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["file", "folder"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    if request.param == "folder":
        path.mkdir()
    return path


def holder(path: Path, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(path), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_what_another_process_holds_is_free_once_that_is_killed(path: Path) -> None:
    other = holder(path)
    try:
        assert is_locked(path)
        assert try_lock(path, make=True) is None
        with locked(path) as lock:
            assert lock is None
    finally:
        end(other)
    with locked(path) as lock:
        assert lock is not None
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_is_waited_for(path: Path) -> None:
    lock = try_lock(path, make=True)
    assert lock is not None
    releasing = threading.Timer(0.1, os.close, (lock,))
    releasing.start()
    began = time.monotonic()
    with locked(path, wait_seconds=30) as got:
        assert got is not None
    assert 0.05 < time.monotonic() - began < 20
    releasing.join()


def test_those_who_share_keep_out_only_who_wants_it_alone(path: Path) -> None:
    with locked(path) as lock:
        assert lock is not None
        assert try_lock(path, shared=True) is None
        share(lock)
        other = holder(path, "shared")
        assert is_locked(path)
    try:
        assert is_locked(path)
    finally:
        end(other)
    assert not is_locked(path)


def test_a_program_that_is_started_meanwhile_does_not_get_it(path: Path) -> None:
    with locked(path):
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not is_locked(path)
    finally:
        other.kill()
        other.communicate()


def test_a_fork_shares_it(path: Path) -> None:
    with locked(path):
        fork = os.fork()
        if fork == 0:
            signal.pause()
            os._exit(0)
    try:
        assert is_locked(path)
    finally:
        os.kill(fork, signal.SIGKILL)
        os.waitpid(fork, 0)
    assert not is_locked(path)


def test_a_lock_on_what_was_removed_meanwhile_does_not_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(path):
        pass
    samestat = os.path.samestat

    def removed_meanwhile(one: os.stat_result, other: os.stat_result) -> bool:
        path.rename(path.with_name("elsewhere"))
        (path.mkdir if path.name == "folder" else path.touch)()
        return samestat(one, path.stat())

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "samestat", removed_meanwhile)
        assert try_lock(path) is None
    assert try_lock(path.with_name("nothing")) is None
    assert not is_locked(path.with_name("nothing"))
    assert not is_locked(path)


def test_where_none_can_be_made_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "absent" / "lock"):
        pass
