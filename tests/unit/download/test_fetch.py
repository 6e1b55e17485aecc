import contextlib
import gzip
import hashlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.download import Failure, loop
from laion_assets.download.fetch import Fetcher
from laion_assets.download.guard import Guard
from laion_assets.urls import parse_http_url
from tests.unit.download.conftest import OPTIONS
from tests.unit.download.loopback_web import picture

JPEG = picture()


def test_a_picture_comes_back_as_served(web, fetch):
    url = web.serve("/a.jpg", JPEG, ("Content-Type", "image/jpeg"))
    outcome = fetch(url)
    assert outcome.body == JPEG
    assert outcome.failure is None
    assert outcome.sha256 == hashlib.sha256(JPEG).hexdigest()
    assert (outcome.http_status, outcome.byte_size, outcome.attempts) == (200, len(JPEG), 1)
    assert (outcome.final_url, outcome.content_type) == (url, "image/jpeg")
    assert web.headers[0]["User-Agent"] == OPTIONS.user_agent


def test_a_picture_counts_whatever_its_content_type_says(web, fetch):
    assert fetch(web.serve("/a", JPEG, ("Content-Type", "text/html"))).body == JPEG


@pytest.mark.parametrize(
    ("status", "failure", "attempts"),
    [(404, "http_4xx", 1), (410, "http_4xx", 1), (429, "http_4xx", 2), (500, "http_5xx", 1), (503, "http_5xx", 2)],
)
def test_statuses(web, fetch, status, failure, attempts):
    outcome = fetch(web.serve("/a.jpg", b"sorry", status=status))
    assert (outcome.failure, outcome.http_status, outcome.attempts) == (failure, status, attempts)
    assert outcome.body is None


def test_a_server_that_recovers_is_asked_again(web, fetch):
    def once_busy(handler):
        handler.reply(*((503, b"busy") if web.requests[handler.path] == 1 else (200, JPEG)))

    web.routes["/a.jpg"] = once_busy
    outcome = fetch(web.url("/a.jpg"))
    assert (outcome.failure, outcome.http_status, outcome.attempts) == (None, 200, 2)


def test_a_retry_that_would_break_the_deadline_is_not_made(web, fetch):
    outcome = fetch(web.serve("/a.jpg", b"busy", ("Retry-After", "3600"), status=503))
    assert (outcome.failure, outcome.attempts) == ("http_5xx", 1)


def test_redirects_are_followed(web, fetch):
    target = web.serve("/b%20c.jpg", JPEG)
    web.redirect("/2", "/b c.jpg", 301)
    outcome = fetch(web.redirect("/1", "2"))
    assert (outcome.body, outcome.final_url) == (JPEG, target)


def test_redirects_in_a_circle_end(web, fetch):
    web.redirect("/2", "/1")
    outcome = fetch(web.redirect("/1", "/2"))
    assert (outcome.failure, outcome.http_status) == ("other", 302)
    assert "redirects" in outcome.failure_detail
    assert web.requests.total() == OPTIONS.redirects + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "data:image/png;base64,AAAA", "ftp://example.org/a.jpg"])
def test_other_schemes_are_refused(web, fetch, location):
    assert fetch(location).failure == "blocked_address"
    outcome = fetch(web.redirect("/1", location))
    assert (outcome.failure, outcome.http_status) == ("blocked_address", 302)


def test_private_addresses_are_refused_before_connecting(web, fetch):
    for url in (web.serve("/a.jpg", JPEG), web.url("/a.jpg", "localhost"), web.url("/a.jpg", "2130706433")):
        outcome = fetch(url, allowed_networks=())
        assert (outcome.failure, outcome.http_status) == ("blocked_address", None)
    assert web.connections == 0


def test_a_redirect_to_a_private_address_is_refused(web, fetch):
    """One loopback address plays the public internet, a name that resolves elsewhere is the trap."""

    class OneAddressIsPublic(Guard):
        def permits(self, address):
            return address == "127.0.0.1"

    names = {"public.test": "127.0.0.1", "trap.test": "127.0.0.2"}
    guard = OneAddressIsPublic(lookup=lambda host: [(socket.AF_INET, names[host])])
    web.serve("/a.jpg", JPEG)
    web.redirect("/1", web.url("/a.jpg", "trap.test"))
    outcome = fetch(web.url("/1", "public.test"), guard=guard)
    assert outcome.failure == "blocked_address"
    assert "127.0.0.2" in outcome.failure_detail
    assert fetch(web.url("/a.jpg", "public.test"), guard=guard).body == JPEG


def test_a_name_without_an_address(fetch):
    def unknown(_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    outcome = fetch("http://no.test/a.jpg", guard=Guard(lookup=unknown))
    assert (outcome.failure, outcome.http_status) == ("dns", None)


def test_nobody_listens(fetch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcome = fetch(f"http://127.0.0.1:{port}/a.jpg")
    assert (outcome.failure, outcome.failure_detail) == ("connect", "connection refused")


def test_silence_is_a_timeout(web, fetch):
    web.routes["/a.jpg"] = lambda handler: handler.server.web.over.wait(30)
    outcome = fetch(web.url("/a.jpg"), timeout_seconds=0.1)
    assert (outcome.failure, outcome.attempts) == ("timeout", 1)


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + JPEG, b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 900],
    ids=["body", "headers"],
)
def test_dripping_ends_at_the_deadline(web, fetch, data):
    web.routes["/a.jpg"] = lambda handler: handler.drip(data)
    outcome = fetch(web.url("/a.jpg"), deadline_seconds=0.3)
    assert outcome.failure == "timeout"
    assert "0.3 s" in outcome.failure_detail


def test_a_big_body_is_refused_by_its_announcement(web, fetch):
    outcome = fetch(web.serve("/a.jpg", JPEG, length=10**12))
    assert (outcome.failure, outcome.http_status) == ("too_large", 200)


def test_a_big_body_without_announcement_is_cut_off(web, fetch):
    def endless(handler):
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.server.web.over.is_set():
            handler.wfile.write(bytes(65_536))

    web.routes["/a.jpg"] = endless
    assert fetch(web.url("/a.jpg")).failure == "too_large"


def test_a_short_transfer_is_seen_and_tried_again(web, fetch):
    def short(handler):
        handler.close_connection = True
        handler.reply(200, JPEG[:100], length=len(JPEG))

    web.routes["/a.jpg"] = short
    outcome = fetch(web.url("/a.jpg"))
    assert (outcome.failure, outcome.attempts) == ("connect", 2)


def test_a_short_chunked_transfer_is_seen(web, fetch):
    def short(handler):
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n\xff\xd8")

    web.routes["/a.jpg"] = short
    assert fetch(web.url("/a.jpg")).failure == "connect"


def test_a_chunked_picture(web, fetch):
    def chunked(handler):
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(JPEG), JPEG)
        )

    web.routes["/a.jpg"] = chunked
    assert fetch(web.url("/a.jpg")).body == JPEG


def test_an_unwanted_content_encoding_is_undone_within_bounds(web, fetch):
    gzipped = ("Content-Encoding", "gzip")
    assert fetch(web.serve("/a.jpg", gzip.compress(JPEG), gzipped)).body == JPEG
    assert fetch(web.serve("/b.jpg", gzip.compress(bytes(10**7)), gzipped)).failure == "too_large"
    assert fetch(web.serve("/c.jpg", b"not gzip", gzipped)).failure == "not_an_image"


BOMB = picture(format="PNG")[:16] + struct.pack(">II", 60_000, 60_000) + bytes(100)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b"<html>hello</html>", "not_an_image"),
        (b"", "not_an_image"),
        (BOMB, "too_large"),
        (picture(10, 10), "too_small"),
        (picture(600, 30), "aspect"),
        (picture(format="TIFF"), "decode"),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9", "decode"),
    ],
    ids=["html", "empty", "bomb", "small", "long", "tiff", "no size"],
)
def test_bodies_that_are_refused_undecoded(web, fetch, body, failure):
    outcome = fetch(web.serve("/a.jpg", body, ("Content-Type", "image/jpeg")), min_image_size=16, max_aspect_ratio=10)
    assert (outcome.failure, outcome.http_status, outcome.body) == (failure, 200, None)


def test_opt_outs_are_respected(web, fetch):
    url = web.serve("/a.jpg", JPEG, ("X-Robots-Tag", "nofollow"), ("X-Robots-Tag", "noai, noimageai"))
    outcome = fetch(url)
    assert (outcome.failure, outcome.failure_detail) == ("opted_out", "X-Robots-Tag: noai")
    assert fetch(url, respect_opt_outs=False).body == JPEG


class Listed:
    """What must not be fetched, as a test wishes."""

    def __init__(self, *parts, body=b"\0"):
        self.parts, self.body = dict(parts), body

    def match_url(self, url):
        return next((kind for part, kind in self.parts.items() if part in url), None)

    def match_body(self, body):
        return body == self.body


def test_listed_urls_are_refused_before_connecting(web, fetch):
    for kind, failure in (("url", "deny_listed"), ("domain", "deny_listed"), ("hash", "hash_listed")):
        outcome = fetch(web.serve("/a.jpg", JPEG), removals=Listed(("a.jpg", kind)))
        assert (outcome.failure, outcome.attempts, outcome.final_url) == (failure, 0, None)
    assert web.connections == 0


def test_listed_targets_of_redirects_are_refused(web, fetch):
    web.serve("/bad.jpg", JPEG)
    outcome = fetch(web.redirect("/1", "/bad.jpg"), removals=Listed(("bad", "domain")))
    assert (outcome.failure, outcome.http_status) == ("deny_listed", 302)
    assert web.requests["/bad.jpg"] == 0


def test_listed_bodies_are_refused(web, fetch):
    assert fetch(web.serve("/a.jpg", JPEG), removals=Listed(body=JPEG)).failure == "hash_listed"


def test_requests_to_one_host_are_bounded(web):
    gathered = threading.Barrier(2)

    def together(handler):
        gathered.wait(10)
        handler.reply(200, JPEG)

    web.routes["/a.jpg"] = together
    fetcher = Fetcher(replace(OPTIONS, connections_per_host=2, threads=8))
    outcomes = [outcome for _, outcome in fetcher.fetch_all((n, web.url(f"/a.jpg?{n}")) for n in range(16))]
    fetcher.close()
    assert [outcome.failure for outcome in outcomes] == [None] * 16
    assert web.busiest == 2


def test_waiting_for_a_host_does_not_cost_a_urls_time(web, monkeypatch):
    """Eight urls of a host that takes ten seconds for each, one at a time: together beyond the deadline of each."""
    clock = SimpleNamespace(seconds=0.0, monotonic=lambda: clock.seconds + time.monotonic())
    monkeypatch.setattr(loop, "time", clock)

    def slowly(handler):
        handler.server.web.over.wait(0.02)  # the others come to wait
        clock.seconds += 10
        handler.reply(200, JPEG)

    web.routes["/a.jpg"] = slowly
    fetcher = Fetcher(replace(OPTIONS, connections_per_host=1, deadline_seconds=30))
    outcomes = [outcome for _, outcome in fetcher.fetch_all((n, web.url(f"/a.jpg?{n}")) for n in range(8))]
    fetcher.close()
    assert [outcome.failure for outcome in outcomes] == [None] * 8
    assert clock.seconds == 80


def test_connections_are_kept_and_replaced_when_the_server_closed_them(web):
    def closing(handler):
        handler.reply(200, JPEG)
        handler.close_connection = True

    web.serve("/keep.jpg", JPEG)
    web.routes["/close.jpg"] = closing
    fetcher = Fetcher(OPTIONS)
    outcomes = [fetcher.fetch(web.url(f"/{what}.jpg")) for what in ("keep", "keep", "close", "keep", "close", "keep")]
    fetcher.close()
    assert [(outcome.failure, outcome.attempts) for outcome in outcomes] == [(None, 1)] * 6
    assert web.connections == 3


def test_an_untrusted_certificate_is_refused(tmp_path, fetch):
    pytest.importorskip("cryptography", reason="cryptography makes the certificate of this test")
    certificate = self_signed(tmp_path / "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands():
            with listener.accept()[0] as connection, contextlib.suppress(OSError):
                received.append(context.wrap_socket(connection, server_side=True).recv(1))

        thread = threading.Thread(target=shake_hands)
        thread.start()
        outcome = fetch(f"https://localhost:{listener.getsockname()[1]}/a.jpg")
        thread.join()
    assert outcome.failure == "connect"
    assert "certificate" in outcome.failure_detail.lower()
    assert received in ([], [b""])


def self_signed(path):
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36_500))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + certificate)
    return path


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://Example.ORG/a b.jpg#part", "http://example.org/a%20b.jpg"),
        ("http://example.org:80/ü?q=ö&x=%20", "http://example.org/%C3%BC?q=%C3%B6&x=%20"),
        ("https://bücher.example:8443", "https://xn--bcher-kva.example:8443/"),
        ("http://user:secret@example.org/a", "http://example.org/a"),
        ("http://[2001:db8::1]:81/a", "http://[2001:db8::1]:81/a"),
        ("http://example.org/a\r\nHost: evil", "http://example.org/aHost:%20evil"),
    ],
)
def test_what_is_asked_for_a_url(url, asked):
    assert parse_http_url(url).href == asked


@given(st.one_of(st.text(), st.builds("http://{}/{}".format, st.text(), st.text())))
def test_any_url_gives_an_outcome_and_a_clean_request(url):
    try:
        target = parse_http_url(url)
    except ValueError:
        return
    request = f"{target.target}{target.authority}"
    assert request.isascii()
    assert not any(c.isspace() or not c.isprintable() for c in request)


@pytest.mark.parametrize("url", ["", "http://", "http:///", "http://[::1/a", "http://a:99999/", "http://a\udce4/b"])
def test_a_malformed_url_is_a_failure(fetch, url):
    outcome = fetch(url)
    assert outcome.failure in (Failure.OTHER, Failure.BLOCKED_ADDRESS)
    assert (outcome.attempts, outcome.body) == (0, None)


def test_a_negative_chunk_size_does_not_lift_the_limit(web, fetch):
    sent = []

    def answer(handler):
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"-1\r\n")
        try:
            for _ in range(200):
                handler.wfile.write(bytes(100_000))
                sent.append(100_000)
        except OSError:
            pass

    web.routes["/endless"] = answer
    outcome = fetch(web.url("/endless"), retries=0)
    assert outcome.failure == "protocol"  # RFC 9112, section 7.1: a size has no sign
    assert sum(sent) < 15_000_000
