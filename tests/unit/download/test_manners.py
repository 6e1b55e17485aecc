"""Many urls at once: how many requests a host and an address get, how far apart, and what holds nobody up."""

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest

from laion_assets.download.fetch import Fetcher
from laion_assets.download.guard import Guard
from laion_assets.download.slots import Slots
from tests.unit.download.conftest import OPTIONS
from tests.unit.download.loopback_web import picture

JPEG = picture()


def at(address, *more):
    found = [(socket.AF_INET, a) for a in (address, *more)]
    return Guard(("127.0.0.0/8",), lookup=lambda _: found)


@contextlib.contextmanager
def fetching(guard=None, slots=None, **options):
    fetcher = Fetcher(replace(OPTIONS, **options), guard=guard, slots=slots)
    try:
        yield fetcher
    finally:
        fetcher.close()


def failures(fetcher, urls):
    return [outcome.failure for _, outcome in fetcher.fetch_all((url, url) for url in urls)]


def together(web, count):
    """Answers of ``/a.jpg`` that wait for each other, so many at a time."""
    gathered = threading.Barrier(count)

    def answer(handler):
        gathered.wait(10)
        handler.reply(200, JPEG)

    web.routes["/a.jpg"] = answer


def test_forty_names_at_one_address_share_its_slots(web):
    together(web, 4)
    urls = [web.url(f"/a.jpg?{n}", f"name{n}.test") for n in range(40)]
    with fetching(at("127.0.0.1"), connections_per_host=4) as fetcher:
        assert failures(fetcher, urls) == [None] * 40
    assert web.busiest == 4


def test_names_share_the_address_that_they_fall_back_to(web):
    """Where the address that was given first does not answer, the slots of the one that does count."""
    together(web, 2)
    urls = [web.url(f"/a.jpg?{n}", f"name{n}.test") for n in range(8)]
    with fetching(at("127.0.0.2", "127.0.0.1"), connections_per_host=2) as fetcher:
        assert failures(fetcher, urls) == [None] * 8
    assert web.busiest == 2


def test_other_addresses_are_not_held_up_by_a_busy_one(web):
    """One slot an address, and that of 127.0.0.1 is held by somebody else."""
    slots = Slots(1)
    assert slots.take("127.0.0.1") == 0
    web.serve("/a.jpg", JPEG)
    guard = Guard(("127.0.0.0/8",), lookup=lambda host: [(socket.AF_INET, f"127.0.0.{1 + ('free' in host)}")])
    with socket.create_server(("127.0.0.2", 0)) as nobody:
        free = f"http://free.test:{nobody.getsockname()[1]}/"
    with fetching(guard, slots) as fetcher:
        outcomes = fetcher.fetch_all((url, url) for url in [*[web.url("/a.jpg", "busy.test")] * 5, free])
        assert next(outcomes)[0] == free
        slots.release("127.0.0.1")
        assert [outcome.failure for _, outcome in outcomes] == [None] * 5


def test_requests_to_one_address_are_apart(web):
    asked_at = []

    def answer(handler):
        asked_at.append(time.monotonic())
        handler.reply(200, JPEG)

    web.routes["/a.jpg"] = answer
    urls = [web.url(f"/a.jpg?{n}", f"name{n}.test") for n in range(5)]
    with fetching(at("127.0.0.1"), delay_seconds=0.05) as fetcher:
        assert failures(fetcher, urls) == [None] * 5
    assert asked_at[-1] - asked_at[0] > 4 * 0.05 - 0.03


def test_slots_are_taken_of_all_names_or_of_none():
    slots = Slots(1, delay_seconds=100)
    assert slots.take("a", "b") == 0
    assert slots.take("b", "c") > 0
    slots.release("a", "b")
    assert 90 < slots.take("a") <= 100
    assert slots.take("c") == 0


def test_two_names_in_one_place_of_the_table_do_not_wait_for_each_other():
    slots = Slots(1)
    assert slots.take("same", "same") == 0
    slots.release("same", "same")
    assert slots.take("same") == 0


def test_an_address_that_is_a_host_too_takes_one_slot(web):
    with fetching(connections_per_host=1) as fetcher:
        assert fetcher.fetch(web.serve("/a.jpg", JPEG)).failure is None


def test_urls_are_taken_as_there_is_room(web):
    """Bodies that nobody has taken count as room: memory is bounded however slow the caller is."""
    web.serve("/a.jpg", JPEG)
    taken = []

    def urls():
        for number in range(100):
            taken.append(number)
            yield number, web.url(f"/a.jpg?{number}")

    with fetching(threads=4) as fetcher:
        outcomes = fetcher.fetch_all(urls())
        for done in range(1, 30):
            assert next(outcomes)[1].failure is None
            assert len(taken) <= done + 8


def test_time_that_the_caller_takes_is_no_urls_time(web):
    """A picture takes long to decode, while another server's answer lies in the socket or is on its way."""
    over = threading.Event()
    asked = threading.Event()

    def slow(handler):
        asked.set()
        over.wait(10)
        handler.reply(200, JPEG)

    web.routes["/slow.jpg"] = slow
    with fetching(timeout_seconds=0.2, deadline_seconds=0.3) as fetcher:
        outcomes = fetcher.fetch_all((url, url) for url in [web.url("/slow.jpg"), web.serve("/a.jpg", JPEG)])
        assert next(outcomes)[1].failure is None
        assert asked.wait(10)
        time.sleep(0.5)  # the decoder's
        over.set()
        time.sleep(0.1)
        assert next(outcomes)[1].failure is None


def test_a_hundred_servers_that_say_nothing_hold_up_nobody(web):
    web.routes["/silence.jpg"] = lambda handler: handler.server.web.over.wait(30)
    web.serve("/a.jpg", JPEG)
    urls = [web.url(f"/silence.jpg?{n}") for n in range(100)] + [web.url("/a.jpg")]
    with fetching(threads=200, connections_per_host=200, timeout_seconds=1) as fetcher:
        outcomes = fetcher.fetch_all((url, url) for url in urls)
        assert next(outcomes)[0] == web.url("/a.jpg")


def test_connections_serve_many_names_of_their_own_only(web):
    """A kept connection serves its own host again, and redirects keep it too."""
    web.serve("/a.jpg", JPEG)
    web.redirect("/1", "/a.jpg")
    with fetching(at("127.0.0.1")) as fetcher:
        for host in ("one.test", "one.test", "two.test", "two.test"):
            assert fetcher.fetch(web.url("/1", host)).failure is None
    assert web.connections == 2
    assert [headers["Host"].partition(":")[0] for headers in web.headers] == ["one.test"] * 4 + ["two.test"] * 4


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "some.test.", "SOME.test", "a_b.test", "127.1", "0x7f000001"]
)
def test_hosts_in_many_spellings_are_asked(web, host):
    with fetching(at("127.0.0.1")) as fetcher:
        web.serve("/a.jpg", JPEG)
        assert fetcher.fetch(web.url("/a.jpg", host)).failure is None


def test_a_redirect_with_a_body_without_end_is_followed(web):
    def endless(handler):
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /a.jpg\r\n\r\n")
        with contextlib.suppress(OSError):
            while not handler.server.web.over.is_set():
                handler.wfile.write(bytes(65_536))

    web.routes["/1"] = endless
    web.serve("/a.jpg", JPEG)
    with fetching() as fetcher:
        assert fetcher.fetch(web.url("/1")).failure is None


PROMISES = b'Strict-Transport-Security: max-age=99999\r\nAlt-Svc: h3=":1", h2=":1"\r\nSet-Cookie: a=b; Path=/\r\n'


@pytest.fixture
def tls(tmp_path):
    """A server on loopback with a certificate of its own; gives its port and the certificate's file."""
    pytest.importorskip("cryptography", reason="cryptography makes the certificate of this test")
    from tests.unit.download.test_fetch import self_signed

    certificate = self_signed(tmp_path / "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(connection):
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            while secure.recv(65_536):
                secure.sendall(b"HTTP/1.1 200 OK\r\n" + PROMISES + b"Content-Length: %d\r\n\r\n" % len(JPEG) + JPEG)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], certificate
        listener.shutdown(socket.SHUT_RDWR)


def test_certificates_of_ones_own_are_trusted_where_a_bundle_says_so(tls):
    port, certificate = tls
    with fetching(ca_bundle=str(certificate)) as fetcher:
        outcomes = [fetcher.fetch(f"https://localhost:{port}/a.jpg") for _ in range(2)]
        assert [outcome.failure_detail for outcome in outcomes] == [None, None]
        assert outcomes[0].body == JPEG
    with fetching() as fetcher:
        outcome = fetcher.fetch(f"https://localhost:{port}/a.jpg")
        assert outcome.failure == "connect"
        assert "self-signed certificate" in outcome.failure_detail
    with fetching(at("127.0.0.1"), ca_bundle=str(certificate)) as fetcher:  # RFC 6125: the name counts
        assert fetcher.fetch(f"https://other.test:{port}/a.jpg").failure == "connect"


def test_what_one_answer_says_about_its_host_does_not_shape_the_next_request(tls, web):
    """HSTS (RFC 6797), Alt-Svc (RFC 7838) and cookies (RFC 6265) bind a browser; urls here do not know each other."""
    port, certificate = tls
    web.serve("/a.jpg", JPEG)
    with fetching(ca_bundle=str(certificate)) as fetcher:
        for url in (f"https://localhost:{port}/", f"https://localhost:{port}/", web.url("/a.jpg", "localhost")):
            outcome = fetcher.fetch(url)
            assert (outcome.failure, outcome.final_url) == (None, url)
    assert "Cookie" not in web.headers[0]


def test_the_systems_store_is_the_default(tls, monkeypatch):
    """OpenSSL's SSL_CERT_FILE names it; what libcurl was built with does not count."""
    port, certificate = tls
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with fetching() as fetcher:
        assert fetcher.fetch(f"https://localhost:{port}/a.jpg").failure is None
