"""The process that imports img2dataset once and forks a worker for each tar.

Started by ``pool`` as ``python -m laion_assets.download.host FD``: tasks come as lines of JSON on standard input,
reports go as lines of JSON to the pipe FD. It ends, with all its workers, when standard input ends or its parent is
gone. A fork for each tar costs milliseconds, gives every tar fresh memory, and ties a dead worker to its tar. Neither
polars (which starts threads) nor torch (which webdataset imports if it can, for seconds, and does not need here) are
imported before forking.
"""

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import threading
import traceback
from collections import deque
from pathlib import Path
from typing import Any, NoReturn

from laion_assets.common.locks import try_lock
from laion_assets.download.slots import Slots
from laion_assets.download.worker import LOCK, TarTask, UrlCounter, run_tar
from laion_assets.images.budget import limit_process_memory

CANCEL = b"cancel"
"""The line that ends all workers but not the host."""

_MOST_FILES = 65_536
_STACK_BYTES = 8 * 2**20
_WORKER_BYTES = 4 * 2**30
"""What a worker may take besides the bodies it has fetched: five times what decoding one picture may."""
_WATCH_SECONDS = 0.2
_ERROR_CHARACTERS = 1500


class Host:
    """Forks workers, as many at a time as their options allow, and reports how they end."""

    def __init__(self, reports: int) -> None:
        self._reports = reports
        self._parent = os.getppid()
        self._slots: Slots | None = None
        self._waiting: deque[TarTask] = deque()
        self._workers: dict[int, tuple[int, TarTask]] = {}
        self._input = b""

    def run(self) -> None:
        """Serve until the parent goes."""
        while self._listen():
            while self._waiting and len(self._workers) < self._waiting[0].options.processes:
                self._fork(self._waiting.popleft())
        self._cancel()

    def _listen(self) -> bool:
        """Wait for a task, for the end of a worker, or a while; says whether the parent is still there."""
        ready, _, _ = select.select([0, *self._workers], [], [], _WATCH_SECONDS)
        for sentinel in ready:
            if sentinel != 0:
                if sentinel in self._workers:  # a cancel may have come first
                    self._bury(sentinel)
                continue
            received = os.read(0, 65_536)
            if not received:
                return False
            *lines, self._input = (self._input + received).split(b"\n")
            for line in lines:
                if line == CANCEL:
                    self._cancel()
                else:
                    self._waiting.append(TarTask.from_json(line))
        return os.getppid() == self._parent

    def _fork(self, task: TarTask) -> None:
        manners = (task.options.connections_per_host, task.options.delay_seconds)
        if self._slots is None or (self._slots.per_name, self._slots.delay_seconds) != manners:
            self._slots = Slots(*manners)
        sentinel, held_by_worker = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(sentinel)
            _work(task, self._slots, self._reports)
        os.close(held_by_worker)
        self._workers[sentinel] = (worker, task)

    def _cancel(self) -> None:
        """End all workers and forget what waits."""
        self._waiting.clear()
        for worker, _ in self._workers.values():
            os.kill(worker, signal.SIGKILL)
        for sentinel in list(self._workers):
            self._bury(sentinel)
        with contextlib.suppress(BrokenPipeError):
            _report(self._reports, {"cancelled": True})

    def _bury(self, sentinel: int) -> None:
        worker, task = self._workers.pop(sentinel)
        os.close(sentinel)
        _, status = os.waitpid(worker, 0)
        if status != 0:
            self._slots = None  # it may have died with slots in its hands
        with contextlib.suppress(BrokenPipeError):
            _report(self._reports, {"tar": task.number, "exit": os.waitstatus_to_exitcode(status)})


def _work(task: TarTask, slots: Slots, reports: int) -> NoReturn:
    """Make one tar in a worker process; exits with 0 once its rows are in place."""
    code = 1
    try:
        _silence(Path(task.scratch) / "log")
        limit_process_memory(2 * task.options.threads * (task.options.max_bytes + _STACK_BYTES) + _WORKER_BYTES)
        progress = UrlCounter()
        watch = (task.number, progress, reports, os.getppid())
        threading.Thread(target=_watch, args=watch, daemon=True).start()
        folder = Path(task.tar).parent
        if try_lock(folder / LOCK, make=True, shared=True) is None:  # it is given back when this process ends
            raise BlockingIOError(f"another download has begun to write to {folder}")
        run_tar(task, slots, progress.count)
        code = 0
    except BaseException as error:  # noqa: BLE001 - reported; the process ends here
        text = "".join(traceback.format_exception(error))
        _report(reports, {"tar": task.number, "error": text[-_ERROR_CHARACTERS:]})
    finally:
        os._exit(code)


def _silence(log: Path) -> None:
    """Send what img2dataset and the picture libraries print to a file."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for target, source in ((0, nothing), (1, file), (2, file)):
        os.dup2(source, target)


def _watch(number: int, progress: UrlCounter, reports: int, host: int) -> None:
    """Report progress from time to time, and end the worker when the host is gone."""
    reported = 0
    pause = threading.Event()
    while os.getppid() == host:
        done = progress.done
        if done != reported:
            _report(reports, {"tar": number, "done": done})
            reported = done
        pause.wait(_WATCH_SECONDS)
    os._exit(1)


def _report(pipe: int, message: dict[str, Any]) -> None:
    """Write one line; short enough that lines of several workers cannot mix."""
    os.write(pipe, json.dumps(message).encode("ascii", "replace")[:4000] + b"\n")


def _preload() -> None:
    sys.modules["torch"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    __import__("img2dataset.downloader")
    __import__("cv2")
    __import__("PIL.JpegImagePlugin")
    files, most = resource.getrlimit(
        resource.RLIMIT_NOFILE
    )  # every transfer has a socket, so has every idle connection
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, wanted), most))


def main() -> None:
    """Run the host on the pipe whose file descriptor the command line gives."""
    reports = int(sys.argv[1])
    _preload()
    gc.collect()
    gc.freeze()
    Host(reports).run()
    os._exit(0)


if __name__ == "__main__":
    main()
