"""A point in time by which a url must be done, and a socket that keeps to it at every read."""

import io
import socket
import time
from typing import Any


class ResponseTooLargeError(Exception):
    """An answer went on beyond every honest size."""


class Deadline:
    """Time left for one url. Waiting for a free slot of a host does not count: ``extend`` gives it back."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left; negative when over."""
        return self._end - time.monotonic()

    def extend(self, seconds: float) -> None:
        """Move the deadline later."""
        self._end += seconds

    def cap(self, timeout_seconds: float) -> float:
        """The shorter of a timeout and the time left.

        Raises:
            TimeoutError: no time is left.
        """
        remaining = self.remaining()
        if remaining <= 0:
            raise TimeoutError("the deadline has passed")
        return min(timeout_seconds, remaining)


class DeadlineSocket:
    """As much of a socket as ``http.client.HTTPResponse`` needs, with deadline and size applied to every single read.

    A socket's own timeout starts anew with every byte, so a dripping server would never meet it. ``http.client`` reads
    to the end of the connection in one go when a server sends a negative chunk size.
    """

    __slots__ = ("deadline", "raw", "response_bytes", "timeout_seconds")

    def __init__(self, raw: socket.socket, timeout_seconds: float, deadline: Deadline) -> None:
        self.raw = raw
        self.timeout_seconds = timeout_seconds
        self.deadline = deadline
        self.response_bytes = 2**31
        """Most bytes of one answer, headers and framing included."""

    def sendall(self, data: bytes) -> None:
        """Send a whole request within the deadline."""
        self.raw.settimeout(self.deadline.cap(self.timeout_seconds))
        self.raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - the signature http.client calls
        """A buffered reader over the socket; closing it leaves the socket open for the next request."""
        return io.BufferedReader(_DeadlineReader(self), 65_536)

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, connection: DeadlineSocket) -> None:
        self._connection = connection
        self._left = connection.response_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        connection = self._connection
        connection.raw.settimeout(connection.deadline.cap(connection.timeout_seconds))
        count = connection.raw.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise ResponseTooLargeError(f"more than {connection.response_bytes} bytes with headers and framing")
        return count
