"""Memory that pictures which are decoded at the same time share."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

MAX_PICTURE_BYTES: Final = 750_000_000
"""Memory that decoding one picture may take. A picture of 89 megapixels with transparency takes 716 MB."""
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
