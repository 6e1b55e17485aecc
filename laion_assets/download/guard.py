"""Which addresses may be connected to: names are looked up once, and the socket goes to an address that was checked.

Looking a name up, checking it, and letting a library look it up again is how DNS rebinding gets in; so nothing here
hands a name on. Proxies of the environment are not used: what stands behind them could not be checked.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from laion_assets.download.addresses import is_public
from laion_assets.download.deadline import Deadline

Address = tuple[socket.AddressFamily, str]
"""An address family and a numeric address."""

Lookup = Callable[[str], list[Address]]
"""Looks up a host name; raises ``socket.gaierror``."""


class BlockedAddressError(Exception):
    """A host has none but addresses outside the public internet."""


class LookupTimeoutError(Exception):
    """The resolver did not answer in time."""


def system_lookup(host: str) -> list[Address]:
    """Ask the system's resolver for the addresses of a host, in the order it prefers."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [(family, str(sockaddr[0])) for family, _, _, _, sockaddr in found]
    return list(dict.fromkeys(a for a in addresses if a[0] in (socket.AF_INET, socket.AF_INET6)))


@dataclass(eq=False)
class Guard:
    """Opens connections to allowed addresses only.

    Lookups are remembered, failed ones too, for the life of the guard (one tar): every address is checked again at
    every connection, so that a remembered answer cannot be turned against us.
    """

    allow_private_addresses: bool = False
    lookup: Lookup = system_lookup
    _lookups: dict[str, "Future[list[Address]]"] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def permits(self, address: str) -> bool:
        """Whether this numeric address may be connected to."""
        return self.allow_private_addresses or is_public(address)

    def connect(self, host: str, port: int, *, timeout_seconds: float, deadline: Deadline) -> socket.socket:
        """Connect to the first allowed address of ``host`` that answers.

        Raises:
            BlockedAddressError: no address of the host is allowed.
            LookupTimeoutError: the resolver did not answer in time.
            socket.gaierror: the name has no address.
            TimeoutError: the last address tried did not answer in time.
            OSError: the last address tried refused.
        """
        addresses = self._resolve(host, min(timeout_seconds, deadline.remaining()))
        allowed = [(family, address) for family, address in addresses if self.permits(address)]
        if not allowed:
            found = ", ".join(address for _, address in addresses)
            raise BlockedAddressError(f"{host} is at {found}, outside the public internet")
        failure: OSError | None = None
        for family, address in allowed:
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(deadline.cap(timeout_seconds))
                connection.connect((address, port))
                peer = str(connection.getpeername()[0])
                if not self.permits(peer):
                    raise BlockedAddressError(f"{host} answered from {peer}, outside the public internet")
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
            else:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
        raise failure or OSError(f"{host} has no address")

    def _resolve(self, host: str, timeout_seconds: float) -> list[Address]:
        """Look ``host`` up in a thread of its own, since the system's resolver knows no deadline."""
        with self._lock:
            future = self._lookups.get(host)
            if future is None:
                future = self._lookups[host] = Future()
                threading.Thread(target=self._look_up, args=(host, future), daemon=True).start()
        try:
            return future.result(timeout=max(timeout_seconds, 0))
        except FutureTimeoutError:
            raise LookupTimeoutError(f"the resolver gave no answer for {host} in {timeout_seconds:.1f} s") from None

    def _look_up(self, host: str, future: "Future[list[Address]]") -> None:
        try:
            future.set_result(self.lookup(host))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for this lookup
            future.set_exception(error)
