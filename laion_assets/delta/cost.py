"""What it costs to build a partition: time, processors, memory, and on which machine. Kept in the commit's record."""

import os
import resource
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, TypedDict

CPU: Final = "cpu"
"""The device of a step that used no accelerator."""

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK: Final = "5"


class Cost(TypedDict, total=False):
    """What one step used; absent from commits made before it was measured. No part of any digest."""

    seconds: float
    """Wall clock, from the opening of the build until its rows were ready to be committed."""
    cpu_seconds: float
    """Processor time of the process, and of those of its children that ended meanwhile."""
    peak_memory_bytes: int
    """Largest resident memory of one process, the step's own or a child's; where the kernel cannot measure a step by
    itself, of the whole life of the process."""
    host: str
    """Name of the machine."""
    cpus: int
    """Processors this process may use."""
    device: str
    """Name of the accelerator, or `cpu`."""


class Meter:
    """Measures from the moment it is made."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._cpu = _cpu_seconds()
        self._children_peak = _peak_of(resource.RUSAGE_CHILDREN)
        with suppress(OSError):  # no such file on this system, or not allowed: the peak is the process' own, ever
            _CLEAR.write_text(_RESET_PEAK)

    def read(self, device: str = CPU) -> Cost:
        """What was used so far."""
        children = _peak_of(resource.RUSAGE_CHILDREN)
        return Cost(
            seconds=round(time.monotonic() - self._started, 3),
            cpu_seconds=round(_cpu_seconds() - self._cpu, 3),
            # The largest child ever is known, and no other: it was one of ours if it is larger than before.
            peak_memory_bytes=max(_peak(), children if children > self._children_peak else 0),
            host=socket.gethostname(),
            cpus=_cpus(),
            device=device,
        )


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak() -> int:
    """Bytes since the kernel was told to forget, where it listens."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return _peak_of(resource.RUSAGE_SELF)
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else _peak_of(resource.RUSAGE_SELF)


def _peak_of(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
