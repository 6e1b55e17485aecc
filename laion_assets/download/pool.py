"""Hosts of worker processes, kept for the next download in this process and ended with it.

A host is a plain child process with a pipe: unlike multiprocessing's pools it needs no importable ``__main__``, works
in daemonic processes, and pays for importing img2dataset once however many workers it forks.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import laion_assets
from laion_assets.download.worker import TarTask


class DownloadError(RuntimeError):
    """A download could not be carried out; finished tars are kept, and running it again goes on from them."""


_ENVIRONMENT = {
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "WANDB_MODE": "disabled",
    # Page faults cost more than memory: let malloc keep what it has.
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_ARENA_MAX": "4",
}


class WorkerHost:
    """The parent's end of a host process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._received = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the host
        package_root = str(Path(laion_assets.__file__).parents[1])
        path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._reports, reports = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "laion_assets.download.host", str(reports)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(reports,),
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
                start_new_session=True,
            )
        finally:
            os.close(reports)

    @property
    def alive(self) -> bool:
        """Whether the host runs and belongs to this process."""
        return self.owner == os.getpid() and self._process.poll() is None

    def submit(self, task: TarTask) -> None:
        """Queue a tar.

        Raises:
            DownloadError: the host is gone.
        """
        self._send(task.to_json().encode())

    def reports(self) -> list[dict[str, Any]]:
        """Wait for reports: ``{"tar", "done"}``, ``{"tar", "error"}`` and, last, ``{"tar", "exit"}``.

        Raises:
            DownloadError: the host is gone.
        """
        while True:
            *lines, self._received = self._received.split(b"\n")
            if lines:
                return [json.loads(line) for line in lines]
            received = os.read(self._reports, 65_536)
            if not received:
                raise DownloadError(f"the download host has ended: {self._last_words()}")
            self._received += received

    def cancel(self) -> None:
        """End all workers, and drop their reports; the host can be used again.

        Raises:
            DownloadError: the host is gone.
        """
        self._send(b"cancel")
        while not any("cancelled" in report for report in self.reports()):
            pass

    def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(line + b"\n")
            stdin.flush()
        except BrokenPipeError as error:
            raise DownloadError(f"the download host has ended: {self._last_words()}") from error

    def close(self) -> None:
        """End the host, and any worker it still has."""
        if self.owner != os.getpid():
            return
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._reports)
        self._errors.close()

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self._errors.seek(0)
        words = self._errors.read().decode("utf-8", "replace").strip()[-1500:]
        return f"exit code {self._process.returncode}; {words or 'it left no message'}"


_idle: list[WorkerHost] = []
_lock = threading.Lock()


@contextlib.contextmanager
def worker_host() -> Iterator[WorkerHost]:
    """Borrow a host, idle or new. Where an exception leaves it, its workers end, and it too if it is gone."""
    with _lock:
        while _idle and not _idle[-1].alive:
            _idle.pop().close()
        host = _idle.pop() if _idle else WorkerHost()
    try:
        yield host
    except BaseException:
        try:
            host.cancel()
        except BaseException:
            host.close()
            raise
        with _lock:
            _idle.append(host)
        raise
    with _lock:
        _idle.append(host)


def warm_up() -> None:
    """Start a host now, so that a later download need not wait for its imports (about 2 s)."""
    with _lock:
        if not any(host.alive for host in _idle):
            _idle.append(WorkerHost())


def shut_down() -> None:
    """End all idle hosts. Called at exit; harmless to call earlier."""
    with _lock:
        while _idle:
            _idle.pop().close()


atexit.register(shut_down)
