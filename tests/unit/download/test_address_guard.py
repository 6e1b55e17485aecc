import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.download.deadline import Deadline
from laion_assets.download.guard import BlockedAddressError, Guard, LookupTimeoutError, is_public
from laion_assets.download.optout import opted_out


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::127.0.0.1",
    ],
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(address):
    assert is_public(f"::ffff:{address}") == is_public(f"64:ff9b::{address}") == is_public(str(address))


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


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (["all"], None),
        (["nofollow, noarchive"], None),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["nofollow, noindex"], "noindex"),
        (["nofollow", "noimageindex"], "noimageindex"),
        (["none"], "none"),
        (["otherbot: noindex"], None),
        (["otherbot: nofollow, noindex"], None),
        (["LAION-lakehouse: noai"], "noai"),
        (["otherbot: noindex", "laion-lakehouse: noindex"], "noindex"),
        (["otherbot: noindex, laion-lakehouse: noai"], "noai"),
        (["*: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["max-image-preview: none"], None),
        ([":::,,:"], None),
    ],
)
def test_opt_outs(headers, expected):
    assert opted_out(headers, "laion-lakehouse") == expected
