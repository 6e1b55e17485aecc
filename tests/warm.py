"""``laion`` for the price of a fork: processes of its own, made of one that has imported everything and run nothing."""

import atexit
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from laion_assets.cli import common
from tests.pipeline.paused_build import install

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHONPATH = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests' / 'site'}"
"""For processes that are started."""

_PRELOADED = [
    "laion_assets.definitions", "laion_assets.cli.main", "laion_assets.orchestration.runs.builder",
    "laion_assets.orchestration.runs.home", "laion_assets.images.decode", "laion_assets.delta.verify",
    "tests.site.sitecustomize", "tests.warm", "tests.faults.forked", "tests.integration.at_once",
    "dagster._core.storage.sqlite_storage", "dagster._core.storage.event_log", "dagster._core.storage.runs",
    "dagster._core.storage.schedules", "dagster._core.run_coordinator", "open_clip", "img2dataset", "boto3",
    "laion_assets.sample.publish", "laion_assets.sql.session", "laion_assets.report.page",
    "laion_assets.lake.pair_lineage", "laion_assets.cli.building", "laion_assets.cli.display",
    "laion_assets.orchestration.planning.models", "laion_assets.orchestration.runs.recording",
    "laion_assets.orchestration.runs.look", "rich.live", "rich.tree",
    "sqlglot.lineage", "sqlglot.optimizer.qualify", "sqlglot.dialects.duckdb", "pyarrow.dataset", "upath",
]  # fmt: skip
"""What commands import on their way; nothing of it starts a thread."""


@functools.cache
def warm() -> Any:
    """Makes processes as :mod:`multiprocessing` does, of one that is kept as long as this process lives."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def run_laion(
    arguments: tuple[str, ...],
    variables: Mapping[str, str],
    folder: Path,
    *,
    unread: bool = False,
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` says of ``laion`` with these arguments and this environment, in a folder.

    With ``unread`` standard output is a pipe whose reader has gone.
    """
    with tempfile.TemporaryDirectory() as said:
        out, err = Path(said) / "out", Path(said) / "err"
        process = warm().Process(
            target=_enter, args=(arguments, dict(variables), folder, "" if unread else str(out), str(err))
        )
        process.start()
        process.join(seconds)
        code = process.exitcode
        end_group(process.pid)
        process.join()
        told = [path.read_text("utf-8") if path.exists() else "" for path in (out, err)]
    assert code is not None, f"{arguments} did not end within {seconds} s: {told}"
    return subprocess.CompletedProcess(["laion", *arguments], code, *told)


@dataclass(frozen=True)
class Pause:
    """Where ``laion`` stops: at the ``call``-th call of a function, see :mod:`tests.pipeline.paused_build`."""

    target: str
    when: str
    call: int
    marker: Path


class Forked:
    """A ``laion`` that runs: as much of ``subprocess.Popen`` as tests ask of it, both its streams in one."""

    stdout = None

    def __init__(self, arguments: tuple[str, ...], variables: Mapping[str, str], pause: Pause | None = None) -> None:
        """Start it, in the folder of this process."""
        self._folder = tempfile.TemporaryDirectory()
        self._said = f"{self._folder.name}/said"
        given = (arguments, dict(variables), Path.cwd(), self._said, self._said, pause)
        self._process = warm().Process(target=_enter, args=given)
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        code: int | None = self._process.exitcode
        return code

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("laion", timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it said, once it has ended."""
        self.wait(timeout)
        said = Path(self._said)
        return said.read_text("utf-8", "replace") if said.exists() else "", None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _enter(
    arguments: tuple[str, ...],
    variables: dict[str, str],
    folder: Path,
    out: str,
    err: str,
    pause: Pause | None = None,
) -> None:
    become_laion(arguments, variables, folder, out, err)
    if pause is not None:
        install(pause.target, pause.when, pause.call, pause.marker)
    from laion_assets.cli import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()


def become_laion(arguments: tuple[str, ...], variables: Mapping[str, str], folder: Path, out: str, err: str) -> None:
    """Give a process that was forked what one that is started has: a group, an environment, a folder, its streams.

    Without ``out`` standard output is a pipe that nobody reads.
    """
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    reader, writer = (-1, os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)) if out else os.pipe()
    if reader >= 0:
        os.close(reader)
    os.dup2(writer, 1)
    os.close(writer)
    os.dup2(1 if err == out else os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["laion", *arguments]
    os.chdir(folder)
    if "COLUMNS" in variables:  # consoles ask the environment when they are made, which was before
        common.out.width = common.err.width = int(variables["COLUMNS"])


def end_group(group: int) -> None:
    """End what a process left running that led a group."""
    left = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group:
                process.kill()
                left.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    psutil.wait_procs(left, timeout=10)
