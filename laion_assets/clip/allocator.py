"""Settings of the C allocator that torch on a CPU needs, and nothing else.

torch frees and takes again the buffers of every layer at every step. glibc hands blocks of that size straight back to the
kernel, so that each step pays for faulting its pages in again; where page faults are dear, that is most of the step.
"""

import ctypes
import sys
from typing import Final

_LARGEST_MMAP_THRESHOLD: Final = 32 * 1024 * 1024
"""Bytes; glibc silently refuses a larger value."""

_TRIM_THRESHOLD: Final = 2**31 - 1
"""Bytes of free memory at the top of the heap that are kept; the largest value `mallopt` can be given."""

CPU_ALLOCATOR_ENVIRONMENT: Final[dict[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": str(_LARGEST_MMAP_THRESHOLD),
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}
"""Environment for a process that trains or encodes on the CPU. Read once, when the process starts."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> bool:
    """Make this process keep the memory it frees, as `CPU_ALLOCATOR_ENVIRONMENT` does for a new one.

    Returns:
        Whether the allocator took both settings: false where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no mallopt
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
    )
