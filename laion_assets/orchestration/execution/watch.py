"""Memory and time that a step may take, kept where nobody else keeps them: on a laptop as on a cluster.

A thread beside the step adds up what its process and all processes below it hold. Over the limit, the processes below
are killed and the step gets an exception at once; one that cannot be had out of a library in half a minute takes its
process with it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType

from laion_assets.delta.engine import interrupt_engines
from laion_assets.delta.publishing import is_publishing
from laion_assets.tables.limits import declared_as
from laion_assets.tables.needs import Need

_PROC = Path("/proc")
_EVERY_SECONDS = 1.0
_GRACE_SECONDS = 30.0
_SIGNAL = signal.SIGUSR1
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)


class LimitExceeded(Exception):
    """A step took more memory or time than it may; the message names the setting that allows it more."""


@contextmanager
def watched(table: str, label: str, need: Need) -> Iterator[None]:
    """Run the block within the limits of a step.

    Memory is watched on Linux; signals reach the main thread alone, which is where every executor runs its steps. In
    another thread nothing is watched.

    Args:
        table: the table, or SQL model, that is built.
        label: what to call the step in messages.
        need: what it may take.

    Raises:
        LimitExceeded: it took more, and was ended. Its child processes are dead.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _Watch(table, label, need)
    before = signal.signal(_SIGNAL, watch.end)
    watch.start()
    try:
        with _queries_end_with_signals():
            yield
    except BaseException as error:
        if watch.verdict is not None and not isinstance(error, LimitExceeded):
            raise LimitExceeded(watch.verdict) from error  # a killed child, an interrupted query: not the reason
        raise
    finally:
        watch.stop()
        signal.signal(_SIGNAL, before)


@contextmanager
def _queries_end_with_signals() -> Iterator[None]:
    """Let what interrupts this process end the queries of its engines first, and then do what it did before.

    DuckDB leaves a query where a signal's handler raises, and its threads go on with it until the process ends.
    """
    before = {number: signal.getsignal(number) for number in _INTERRUPTIONS}

    def interrupted(number: int, frame: FrameType | None) -> None:
        interrupt_engines()
        if callable(handler := before[signal.Signals(number)]):
            handler(number, frame)

    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


class _Watch(threading.Thread):
    def __init__(self, table: str, label: str, need: Need) -> None:
        super().__init__(name=f"watch over {label}", daemon=True)
        self.verdict: str | None = None
        self._setting = f"LAION_LIMITS__{declared_as(table).upper()}__"
        self._label = label
        self._need = need
        self._over = threading.Event()
        self._since = time.monotonic()

    def run(self) -> None:
        while self.verdict is None:
            if self._over.wait(_EVERY_SECONDS):
                return
            self.verdict = self._judge()
        deadline = time.monotonic() + _GRACE_SECONDS
        while not self._over.is_set():
            kill_below(os.getpid())
            interrupt_engines()
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            if time.monotonic() > deadline:
                sys.stderr.write(f"{self.verdict}; it could not be stopped otherwise, so its process ends\n")
                sys.stderr.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            self._over.wait(_EVERY_SECONDS)

    def _judge(self) -> str | None:
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            kill_below(os.getpid())  # whoever asked for this step is gone, and the next build will make it again
            os._exit(1)
        if time.monotonic() - self._since > self._need.hours * 3600:
            return (
                f"{self._label} took longer than the {self._need.hours:g} hours that it may: see where it hangs, or "
                f"raise {self._setting}HOURS"
            )
        most = self._need.memory_bytes
        if memory_held(os.getpid(), exact=False) > most and (held := memory_held(os.getpid())) > most:
            return (
                f"{self._label} held {held / 2**30:.2f} GiB of memory, more than the {self._need.memory_gib:g} GiB "
                f"that it may: raise {self._setting}MEMORY_GIB, or give a lake more buckets and shards"
            )
        return None

    def end(self, *_: object) -> None:
        """End the step from inside, by an exception; later if it is just being published."""
        if self.verdict is not None and not is_publishing():
            raise LimitExceeded(self.verdict)

    def stop(self) -> None:
        self._over.set()
        self.join()


def memory_held(pid: int, *, exact: bool = True) -> int:
    """Bytes that a process and all below it hold, mapped files left out; 0 where nobody can say.

    Args:
        pid: the process.
        exact: count once what several share. To find out, the kernel walks through all their pages.
    """
    return sum(_held(member, exact) for member in [pid, *_below(pid)])


def kill_below(pid: int) -> None:
    """Kill every process below this one, parents first: they cannot start their children again."""
    for member in _below(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def _held(pid: int, exact: bool) -> int:
    rollup = _fields(_PROC / str(pid) / "smaps_rollup") if exact else {}
    if "Pss" in rollup:
        return (rollup["Pss"] - rollup.get("Pss_File", 0)) * 1024
    status = _fields(_PROC / str(pid) / "status")
    return (status.get("VmRSS", 0) - status.get("RssFile", 0)) * 1024


def _fields(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # it ended, is somebody else's, or there is no /proc
        return {}
    split = [line.split() for line in lines]
    return {parts[0].rstrip(":"): int(parts[1]) for parts in split if len(parts) > 1 and parts[1].isdigit()}


def _below(pid: int) -> list[int]:
    """The processes that a process started, and those that they started, parents first."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat") if _PROC.is_dir() else ():
        with suppress(OSError):  # it ended meanwhile
            parent = entry.read_text().rpartition(")")[2].split()[1]  # a process' name may hold anything
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found[1:]
