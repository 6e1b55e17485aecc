"""What the C library and OpenMP must be told before torch runs well on a CPU, and nothing else.

torch frees and takes again the buffers of every layer at every step. glibc hands blocks of that size straight back to
the kernel, so that each step pays for faulting its pages in again; where page faults are dear, that is most of the
step.

torch's OpenMP threads wait for each other by spinning, for milliseconds before they sleep. On cores that other
processes use too, a thread spins while the one it waits for is not running: training steps became three to six times
slower. Threads that sleep at once take one and a half times as long on idle cores. A tenth of the usual patience costs
nothing there, and soon yields on busy cores.
"""

import ctypes
import os
import sys
from typing import Final

_LARGEST_MMAP_THRESHOLD: Final = 32 * 1024 * 1024
"""Bytes; glibc silently refuses a larger value."""

_LARGEST_TRIM_THRESHOLD: Final = 2**31 - 1
"""Bytes of free memory kept at the top of the heap: the most that `mallopt` can be told."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_OPENMP: Final = {"GOMP_SPINCOUNT": "30000"}

CPU_ENVIRONMENT: Final[dict[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": str(_LARGEST_MMAP_THRESHOLD),
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    **_OPENMP,
}
"""Environment for a process that trains or encodes on the CPU. Read once, when the process starts."""


def prepare_cpu() -> bool:
    """Give this process what `CPU_ENVIRONMENT` gives a new one. OpenMP listens only before torch is first imported.

    Returns:
        Whether the allocator took the settings: false where the C library is not glibc.
    """
    for name, value in _OPENMP.items():
        os.environ.setdefault(name, value)
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no mallopt
        return False
    taken = [
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_TRIM_THRESHOLD),
    ]
    return all(taken)
