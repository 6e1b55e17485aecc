"""Manners: how many requests are under way to one host and to one address, and how far apart they begin."""

import functools
import mmap
import multiprocessing
import time
import zlib

_PLACES = 65_536
_FULL_SECONDS = 0.004
"""How soon a name whose slots were all held is tried again: other processes do not say when they let go."""


class Slots:
    """Slots of hosts and addresses, shared with the processes that are forked after this was made.

    Names are spread over a fixed table in shared memory; two that meet in one place share its slots.

    Args:
        per_name: requests under way to one host, and to one address.
        delay_seconds: least time between the beginnings of two requests to one host or address.
    """

    def __init__(self, per_name: int, delay_seconds: float = 0.0) -> None:
        self.per_name, self.delay_seconds = per_name, delay_seconds
        self._lock = multiprocessing.get_context("fork").Lock()
        self._held = memoryview(mmap.mmap(-1, 4 * _PLACES)).cast("i")
        self._open_at = memoryview(mmap.mmap(-1, 8 * _PLACES)).cast("d")

    def take(self, *names: str) -> float:
        """Hold a slot of every name, or of none: 0 where they are held, else seconds after which to try again."""
        places = _places(names)
        now = time.monotonic() if self.delay_seconds else 0.0
        with self._lock:
            if any(self._held[place] >= self.per_name for place in places):
                return _FULL_SECONDS
            pause = max(self._open_at[place] for place in places) - now
            if pause > 0:
                return pause
            for place in places:
                self._held[place] += 1
                self._open_at[place] = now + self.delay_seconds
            return 0.0

    def release(self, *names: str) -> None:
        """Let go of what ``take`` gave for names."""
        with self._lock:
            for place in _places(names):
                self._held[place] -= 1


@functools.lru_cache(100_000)
def _places(names: tuple[str, ...]) -> frozenset[int]:
    return frozenset(zlib.crc32(name.encode("utf-8", "replace")) % _PLACES for name in names)
