"""Looking host names up: many at once, each bounded in time, so that slow names hold up nobody else.

The system's resolver knows no deadline, so each lookup has a thread, which is left behind once its time is over.
"""

import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from laion_assets.common.passing import error_can_pass
from laion_assets.download.failures import Failure, FetchFailed

Address = tuple[socket.AddressFamily, str]
"""An address family and a numeric address."""

Lookup = Callable[[str], list[Address]]
"""Looks up a host name; raises ``socket.gaierror``."""

_Answer = list[Address] | FetchFailed

_AT_ONCE = 64
_SLOW_SECONDS = 0.25
"""A lookup that has taken longer makes room for the next one."""
_MOST_THREADS = 1024
_TRIES = 3


def system_lookup(host: str) -> list[Address]:
    """Ask the system's resolver for the addresses of a host, in the order it prefers."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [(family, str(sockaddr[0])) for family, _, _, _, sockaddr in found]
    return list(dict.fromkeys(a for a in addresses if a[0] in (socket.AF_INET, socket.AF_INET6)))


class Names:
    """Answers what addresses a host has, and remembers it, and failures too unless they pass.

    Args:
        lookup: asks a resolver; called in threads.
        timeout_seconds: longest time of one lookup, with its further tries.
        pause_seconds: before a further try, where the resolver fails in a way that passes (EAI_AGAIN).
    """

    def __init__(self, lookup: Lookup, timeout_seconds: float, pause_seconds: float) -> None:
        self._lookup, self._timeout, self._pause = lookup, timeout_seconds, pause_seconds
        self._known: dict[str, _Answer] = {}
        self._waiters: dict[str, list[Any]] = {}
        self._running: dict[str, float] = {}
        self._answers: deque[tuple[str, _Answer, bool]] = deque()

    def room(self) -> int:
        """How many further names should be asked for now at most."""
        now = time.monotonic()
        quick = sum(now - since < _SLOW_SECONDS for since in self._running.values())
        return min(_AT_ONCE - quick, _MOST_THREADS - len(self._running))

    def ask(self, host: str, waiter: Any) -> _Answer | None:
        """The addresses of ``host`` or why it has none; None where ``settled`` will tell the waiter."""
        if host not in self._known and host not in self._running:
            try:  # numeric already: the URL standard has no other spelling of these
                family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
                self._known[host] = [(family, host)]
            except ValueError:
                self._running[host] = time.monotonic()
                threading.Thread(target=self._look_up, args=(host,), daemon=True).start()
        if host not in self._known:
            self._waiters.setdefault(host, []).append(waiter)
        return self._known.get(host)

    def settled(self) -> Iterator[tuple[Any, _Answer]]:
        """Waiters and their answers, as far as there are any now."""
        while self._answers:
            host, answer, passes = self._answers.popleft()
            del self._running[host]
            self._known[host] = answer
            yield from ((waiter, answer) for waiter in self._waiters.pop(host, ()))
            if passes:
                del self._known[host]
        now = time.monotonic()
        for host in [host for host in self._waiters if now - self._running[host] >= self._timeout]:
            late = FetchFailed(Failure.DNS, f"the resolver gave no answer for {host} in {self._timeout:g} s")
            self._known[host] = late
            yield from ((waiter, late) for waiter in self._waiters.pop(host))

    def _look_up(self, host: str) -> None:
        answer: _Answer = FetchFailed(Failure.DNS, f"{host} has no address")
        passes = False
        for again in range(_TRIES):
            time.sleep(self._pause if again else 0)
            try:
                answer, passes = self._lookup(host) or answer, False
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for this lookup
                passes = isinstance(error, socket.gaierror) and error_can_pass(error)
                answer = FetchFailed(Failure.DNS, str(error))
            if not passes:
                break
        self._answers.append((host, answer, passes))
