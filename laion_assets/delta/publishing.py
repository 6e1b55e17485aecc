"""Whether rows are being handed to Delta just now, for whoever could disturb that."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PUBLISHING: ContextVar[bool] = ContextVar("publishing", default=False)


@contextmanager
def publishing() -> Iterator[None]:
    """The block hands rows over: an exception out of their iterator would abort the process."""
    before = _PUBLISHING.set(True)
    try:
        yield
    finally:
        _PUBLISHING.reset(before)


def is_publishing() -> bool:
    """Whether this thread is in such a block."""
    return _PUBLISHING.get()
