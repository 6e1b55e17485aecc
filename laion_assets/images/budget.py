"""Memory that pictures which are decoded at the same time share."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_PICTURE_BYTES: Final = 750_000_000
"""Memory that decoding one picture may take. A PNG of 89 megapixels with transparency takes 716 MB; of a WebP that is
see-through 75 megapixels are let in, and 53 of one that moves too."""
SHARED_BYTES: Final = 1_000_000_000
"""Memory that all decoding threads of a process may take."""


class MemoryBudget:
    """Bytes that threads share: whoever asks for more than is left waits until others are done.

    Args:
        total_bytes: what there is.
    """

    def __init__(self, total_bytes: int) -> None:
        self._left = total_bytes
        self._returned = threading.Condition()

    @contextlib.contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Hold part of it; ``size_bytes`` is at most the total."""
        with self._returned:
            self._returned.wait_for(lambda: self._left >= size_bytes)
            self._left -= size_bytes
        try:
            yield
        finally:
            with self._returned:
                self._left += size_bytes
                self._returned.notify_all()


SHARED: Final = MemoryBudget(SHARED_BYTES)
"""The budget of this process."""


def limit_process_memory(more_bytes: int) -> None:
    """Let allocations of this process fail once it has taken so many bytes more: the last net, not the first.

    Of memory that is written to (RLIMIT_DATA): address space (RLIMIT_AS) is reserved by allocators, for each thread,
    far beyond what they use. Without effect where there is no ``/proc``.
    """
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
