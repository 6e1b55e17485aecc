import errno
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from laion_assets.consent.optout import opted_out
from laion_assets.download import DownloadOptions, transfer
from laion_assets.download.fetch import Fetcher
from laion_assets.download.guard import Guard, is_bad_port
from tests.unit.download.loopback_web import picture

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("networks", "address", "permitted"),
    [
        ((), "127.0.0.1", False),
        ((), "8.8.8.8", True),
        (LOOPBACK, "127.9.9.9", True),
        (LOOPBACK, "::1", True),
        (LOOPBACK, "::ffff:127.0.0.1", True),
        (LOOPBACK, "10.0.0.1", False),
        (LOOPBACK, "::ffff:10.0.0.1", False),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "127.0.0.1", False),
        (("fd00::/8",), "fd12::1", True),
        (("0.0.0.0/0", "::/0"), "192.168.0.1", True),
        # RFC 3927, RFC 4291 section 2.5.6, and the clouds' own documents: never, whatever is allowed.
        (("0.0.0.0/0", "::/0"), "169.254.169.254", False),
        (("0.0.0.0/0", "::/0"), "::ffff:169.254.169.254", False),
        (("0.0.0.0/0", "::/0"), "fe80::1", False),
        (("0.0.0.0/0", "::/0"), "168.63.129.16", False),
        (("0.0.0.0/0", "::/0"), "192.0.0.192", False),
        (("0.0.0.0/0", "::/0"), "fd00:ec2::254", False),
    ],
)
def test_what_is_allowed_beside_the_public_internet(networks, address, permitted):
    assert Guard(networks).permits(address) is permitted


def fetch(guard, url, **options):
    fetcher = Fetcher(replace(DownloadOptions(), retry_delay_seconds=0, retries=0, **options), guard=guard)
    try:
        return fetcher.fetch(url)
    finally:
        fetcher.close()


def test_only_allowed_addresses_of_a_host_are_connected_to(web):
    found = [(socket.AF_INET, "10.1.1.1"), (socket.AF_INET, "127.0.0.1")]
    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    assert fetch(Guard(["127.0.0.1/32"], lookup=lambda _: found), url).failure is None
    assert web.connections == 1


def test_an_address_that_does_not_answer_gives_way_to_the_next(web):
    found = [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")]
    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    assert fetch(Guard(LOOPBACK, lookup=lambda _: found), url).failure is None


def test_an_address_of_a_family_that_this_machine_lacks_gives_way_to_the_next(web, monkeypatch):
    def opened(family, *rest):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return socket.socket(family, *rest)

    found = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    monkeypatch.setattr(transfer, "socket", SimpleNamespace(socket=opened))
    assert fetch(Guard(LOOPBACK, lookup=lambda _: found), url).failure is None
    assert web.connections == 1


def test_a_host_with_private_addresses_alone_is_blocked():
    guard = Guard(lookup=lambda _: [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
    outcome = fetch(guard, "http://some.test/")
    assert outcome.failure == "blocked_address"
    assert "some.test is at 127.0.0.1, ::1" in outcome.failure_detail


def test_what_is_connected_to_is_judged_again(web):
    """A guard that lets an address of a name pass, and refuses it once libcurl is about to open a socket to it."""

    class OnSecondThought(Guard):
        def permitted(self, host, addresses):
            return list(addresses)

    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    outcome = fetch(OnSecondThought(lookup=lambda _: [(socket.AF_INET, "127.0.0.1")]), url)
    assert outcome.failure == "blocked_address"
    assert "127.0.0.1" in outcome.failure_detail
    assert web.connections == 0


def test_a_name_is_looked_up_once_and_checked_every_time(web):
    asked = []

    def lookup(host):
        asked.append(host)
        return [(socket.AF_INET, "127.0.0.1")]

    class Switch(Guard):
        open = True

        def permits(self, address):
            return self.open

    guard = Switch(lookup=lookup)
    fetcher = Fetcher(DownloadOptions(), guard=guard)
    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    for _ in range(3):
        assert fetcher.fetch(url).failure is None
    guard.open = False
    assert fetcher.fetch(url).failure == "blocked_address"
    fetcher.close()
    assert asked == ["some.test"]
    assert web.connections == 1


def test_a_resolver_that_hangs_does_not_hang_us():
    over = threading.Event()
    try:
        outcome = fetch(Guard(lookup=lambda _: over.wait(60) and []), "http://some.test/", timeout_seconds=0.05)
    finally:
        over.set()
    assert outcome.failure == "dns"
    assert "some.test" in outcome.failure_detail


@pytest.mark.parametrize("again", [socket.EAI_AGAIN, socket.EAI_NONAME])
def test_a_resolver_that_fails_for_now_is_asked_again_and_one_that_knows_better_is_not(web, again):
    """RFC 3493, section 6.1: EAI_AGAIN may succeed on future attempts, EAI_NONAME says that there is no such name."""
    asked = []

    def lookup(host):
        asked.append(host)
        if len(asked) == 1:
            raise socket.gaierror(again, "as the resolver says")
        return [(socket.AF_INET, "127.0.0.1")]

    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    fetcher = Fetcher(replace(DownloadOptions(), retry_delay_seconds=0), guard=Guard(LOOPBACK, lookup=lookup))
    failures = {outcome.failure for _, outcome in fetcher.fetch_all((n, f"{url}?{n}") for n in range(20))}
    fetcher.close()
    assert (failures, len(asked)) == (({None}, 2) if again == socket.EAI_AGAIN else ({"dns"}, 1))


def test_a_passing_failure_of_the_resolver_is_not_remembered(web):
    answers = [socket.gaierror(socket.EAI_AGAIN, "not now")] * 3 + [[(socket.AF_INET, "127.0.0.1")]]

    def lookup(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    fetcher = Fetcher(replace(DownloadOptions(), retry_delay_seconds=0), guard=Guard(LOOPBACK, lookup=lookup))
    url = web.serve("/a.jpg", picture()).replace("127.0.0.1", "some.test")
    assert [fetcher.fetch(url).failure for _ in range(2)] == ["dns", None]
    fetcher.close()


def test_slow_names_do_not_hold_up_others(web):
    over = threading.Event()

    def lookup(host):
        if host.startswith("slow"):
            over.wait(60)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, "127.0.0.1")]

    url = web.serve("/a.jpg", picture())
    slow = [url.replace("127.0.0.1", f"slow{n}.test") for n in range(200)]
    fetcher = Fetcher(replace(DownloadOptions(), threads=4), guard=Guard(LOOPBACK, lookup=lookup))
    outcomes = fetcher.fetch_all((u, u) for u in [*slow, url.replace("127.0.0.1", "quick.test")])
    key, outcome = next(outcomes)
    over.set()
    assert ("quick" in key, outcome.failure) == (True, None)
    assert {outcome.failure for _, outcome in outcomes} == {"dns"}
    fetcher.close()


BAD_PORTS = """
    0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135
    137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719
    1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""


@pytest.mark.parametrize("port", [*map(int, BAD_PORTS.split()), 6379, 11211])
def test_ports_of_other_protocols_are_refused_before_connecting(port):
    """The Fetch standard, section "Port blocking"; and two stores that take a request's lines for commands."""
    outcome = fetch(Guard(LOOPBACK), f"http://127.0.0.1:{port}/a.jpg")
    assert (outcome.failure, outcome.attempts) == ("blocked_address", 0)
    assert str(port) in outcome.failure_detail


@pytest.mark.parametrize("location", ["http://127.0.0.1:25/a.jpg", "//127.0.0.1:6379/", "https://127.0.0.1:22/"])
def test_a_redirect_to_a_port_of_another_protocol_is_refused(web, location):
    outcome = fetch(Guard(LOOPBACK), web.redirect("/1", location))
    assert (outcome.failure, outcome.http_status) == ("blocked_address", 302)


@pytest.mark.parametrize("port", [80, 443, 81, 1024, 8000, 8080, 8443, 65535])
def test_ports_of_web_servers_are_open(port):
    assert not is_bad_port(port)


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
