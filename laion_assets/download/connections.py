"""Connections kept open from one request to the next, every one of them made through the guard."""

import select
import socket
import ssl
import threading
import time
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from laion_assets.download.deadline import Deadline, DeadlineSocket
from laion_assets.download.guard import Guard

_IDLE_SECONDS = 10.0


class Origin(NamedTuple):
    """Where a connection leads: scheme, host (ASCII, lower case, without brackets) and port."""

    scheme: str
    host: str
    port: int


class Slots(Protocol):
    """Bounds the requests under way to one host."""

    def hold(self, host: str) -> AbstractContextManager[object]:
        """Wait for a free slot of ``host`` and hold it."""


@dataclass(eq=False)
class HostSlots:
    """Bounds the requests to one host inside one process."""

    per_host: int
    _slots: dict[str, threading.BoundedSemaphore] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, host: str) -> AbstractContextManager[object]:
        """Wait for a free slot of ``host`` and hold it."""
        with self._lock:
            return self._slots.setdefault(host, threading.BoundedSemaphore(self.per_host))


@dataclass(eq=False)
class Connections:
    """Opens connections and keeps idle ones for the next request to the same origin.

    Certificates are verified against the system's store. At most ``max_idle`` connections wait, the oldest go first.
    """

    guard: Guard
    timeout_seconds: float
    max_idle: int = 128
    _idle: "OrderedDict[int, tuple[Origin, socket.socket, float]]" = field(default_factory=OrderedDict)
    _by_origin: dict[Origin, list[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _tls: ssl.SSLContext | None = None

    def take(self, origin: Origin, deadline: Deadline) -> DeadlineSocket | None:
        """An idle connection to ``origin`` that is still open, or None."""
        while True:
            with self._lock:
                waiting = self._by_origin.get(origin)
                if not waiting:
                    return None
                _, raw, since = self._forget(waiting[-1])
            if time.monotonic() - since < _IDLE_SECONDS and not _has_something_to_read(raw):
                return DeadlineSocket(raw, self.timeout_seconds, deadline)
            raw.close()

    def open(self, origin: Origin, deadline: Deadline) -> DeadlineSocket:
        """A new connection to ``origin``; raises what ``Guard.connect`` raises, and ``ssl.SSLError``."""
        raw = self.guard.connect(origin.host, origin.port, timeout_seconds=self.timeout_seconds, deadline=deadline)
        if origin.scheme == "https":
            try:
                raw.settimeout(deadline.cap(self.timeout_seconds))
                raw = self._tls_context().wrap_socket(raw, server_hostname=origin.host)
            except BaseException:
                raw.close()
                raise
        return DeadlineSocket(raw, self.timeout_seconds, deadline)

    def keep(self, origin: Origin, connection: DeadlineSocket) -> None:
        """Keep a connection, whose answer was read to its end, for the next request."""
        raw = connection.raw
        dropped = None
        with self._lock:
            if len(self._idle) >= self.max_idle:
                _, dropped, _ = self._forget(next(iter(self._idle)))
            self._idle[id(raw)] = (origin, raw, time.monotonic())
            self._by_origin.setdefault(origin, []).append(id(raw))
        if dropped is not None:
            dropped.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            while self._idle:
                self._forget(next(iter(self._idle)))[1].close()

    def _forget(self, key: int) -> tuple[Origin, socket.socket, float]:
        entry = self._idle.pop(key)
        same = self._by_origin[entry[0]]
        same.remove(key)
        if not same:
            del self._by_origin[entry[0]]
        return entry

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            return self._tls


def _has_something_to_read(raw: socket.socket) -> bool:
    """Whether an idle connection was closed by the other side, or answered what nobody asked."""
    poll = select.poll()
    poll.register(raw, select.POLLIN)
    return bool(poll.poll(0))
