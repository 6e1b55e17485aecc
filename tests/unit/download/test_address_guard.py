import socket
import threading

import pytest

from laion_assets.download.deadline import Deadline
from laion_assets.download.guard import BlockedAddressError, Guard, LookupTimeoutError


def connect(guard, port, seconds=5.0):
    return guard.connect("some.test", port, timeout_seconds=seconds, deadline=Deadline(seconds))


def test_only_allowed_addresses_of_a_host_are_connected_to(web):
    class LoopbackIsPublic(Guard):
        def permits(self, address):
            return address == "127.0.0.1"

    found = [(socket.AF_INET, "10.1.1.1"), (socket.AF_INET, "127.0.0.1")]
    connection = connect(LoopbackIsPublic(lookup=lambda _: found), web.port)
    assert connection.getpeername()[0] == "127.0.0.1"
    connection.close()


def test_a_host_with_private_addresses_alone_is_blocked():
    guard = Guard(lookup=lambda _: [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
    with pytest.raises(BlockedAddressError, match=r"some.test is at 127.0.0.1, ::1"):
        connect(guard, 1)


def test_a_name_is_looked_up_once_and_checked_every_time(web):
    asked = []

    def lookup(host):
        asked.append(host)
        return [(socket.AF_INET, "127.0.0.1")]

    guard = Guard(allow_private_addresses=True, lookup=lookup)
    for _ in range(3):
        connect(guard, web.port).close()
    guard.allow_private_addresses = False
    with pytest.raises(BlockedAddressError):
        connect(guard, web.port)
    assert asked == ["some.test"]


def test_a_resolver_that_hangs_does_not_hang_us():
    over = threading.Event()
    try:
        with pytest.raises(LookupTimeoutError, match=r"some.test"):
            connect(Guard(lookup=lambda _: over.wait(60) and []), 1, seconds=0.05)
    finally:
        over.set()
