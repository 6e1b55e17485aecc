"""Standard output and standard error, and what becomes of a command where nobody takes what it says."""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CLOSED = 128 + signal.SIGPIPE
"""The exit code of a command whose reader is gone: the one that a shell gives for a process that SIGPIPE ended."""


class _Outlet(io.FileIO):
    """A standard stream that goes nowhere once it could not be written."""

    def __init__(self, descriptor: int, lost: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._lost = lost

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # Python writes what is left when it ends, and must not fail again
            os.close(nowhere)
            self._lost(error)
        return memoryview(data).nbytes


@contextmanager
def standard_streams() -> Iterator[None]:
    """Let what is said in the block end it where it cannot be written: quietly where a reader has gone, as with
    ``| head``, else with one line that says why.

    SIGPIPE is left alone: a server that hangs up must not end a build. The end is no ``Exception``, for nobody who
    expects faults of files or partitions may take it for one. What standard error cannot take is dropped.

    Raises:
        SystemExit: :data:`CLOSED`, or 2 where standard output failed in another way.
    """
    if sys.stdout is None:  # the shell closed it: `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _through(sys.stdout, _end)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _through(sys.stderr, lambda _: None)
    try:
        yield
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _through(stream: io.TextIOWrapper, lost: Callable[[OSError], None]) -> TextIO:
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(stream.fileno(), lost)),
        encoding=stream.encoding,
        errors=stream.errors,
        newline="",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _end(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise SystemExit(CLOSED) from None
    from laion_assets.cli.common import complain

    complain("laion:", f"standard output cannot be written: {error.strerror}")
    raise SystemExit(2) from None
