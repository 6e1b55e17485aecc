"""Answers as servers really give them: what is let through, what is refused, and which refusals can pass.

HTTP/1.1's form is RFC 9112, its meaning RFC 9110.
"""

import contextlib
import gzip
import socket
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import brotli
import pyarrow as pa
import pytest

from laion_assets.download.encodings import undo_encodings
from laion_assets.download.failures import Failure, FetchFailed, is_transient
from laion_assets.download.fetch import Fetcher, _retry_after
from laion_assets.download.guard import Guard
from tests.unit.download.conftest import OPTIONS
from tests.unit.download.loopback_web import picture

JPEG = picture()
BODY = b"Content-Length: %d\r\n\r\n" % len(JPEG) + JPEG
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 102 Processing\r\n\r\n" + OK + BODY,  # RFC 9110, section 15.2: interim answers, of any number
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + OK + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 500 + OK + BODY,
        b"HTTP/1.1 103 Early Hints\r\nX-Robots-Tag: noai\r\n\r\n" + OK + BODY,  # of no final answer
        OK + b"".join(b"X-%d: y\r\n" % n for n in range(150)) + BODY,
        OK + b"X-Long: %s\r\n" % (b"a" * 60_000) * 4 + BODY,
        OK + b"X-Folded: a\r\n b\r\n\tc\r\n" + BODY,  # RFC 9112, section 5.2
        OK + b'X-Quoted: "a, b; c=\\"d\\""\r\n' + BODY,
        (OK + b"Content-Length: %d\r\n\r\n" % len(JPEG)).replace(b"\r\n", b"\n") + JPEG,  # RFC 9112, section 2.2
        b"HTTP/1.0 200 OK\r\n\r\n" + JPEG,
        b"HTTP/1.1 200\r\n" + BODY,
        OK + b"Content-Length: %d\r\n" % len(JPEG) + BODY,  # RFC 9110, section 8.6: the same number twice
        OK + b": nameless\r\n" + BODY,
        OK + b"X-Latin: caf\xe9\r\n" + BODY,
        OK + b"Connection: close\r\n\r\n" + JPEG,
        b"HTTP/1.1 201 Created\r\n" + BODY,
        b"HTTP/1.1 202 Accepted\r\n" + BODY,
        b"HTTP/1.1 203 Non-Authoritative Information\r\n" + BODY,
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n" % (len(JPEG) - 1, len(JPEG)) + BODY,
        b"HTTP/1.1 226 IM Used\r\n" + BODY,
    ],
)
def test_a_picture_is_let_through(web, fetch, answer):
    outcome = fetch(web.raw("/a.jpg", answer))
    assert (outcome.failure, outcome.failure_detail, outcome.body) == (None, None, JPEG)
    assert outcome.attempts == 1


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (OK + b"a line without a colon\r\nX-Robots-Tag: noai\r\n" + BODY, "protocol"),
        (OK + b"X-Nul: a\0b\r\n" + BODY, "protocol"),
        (OK + b"X-Return: a\rb\r\n" + BODY, "protocol"),
        (b"\r\n" + OK + BODY, "protocol"),
        (JPEG, "protocol"),  # HTTP/0.9
        (b"ICY 200 OK\r\n" + BODY, "protocol"),
        (b"HTTP/1.1 2000 OK\r\n" + BODY, "protocol"),
        (b"HTTP/2 200 OK\r\n" + BODY, "protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + JPEG, "protocol"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + JPEG, "protocol"),
        (OK + b"X-Long: %s\r\n" % (b"a" * 60_000) * 6 + BODY, "protocol"),
        (OK + b"X-Long: %s\r\n" % (b"a" * 300_000) + BODY, "protocol"),
        (OK + b"Content-Length: -5\r\n\r\n" + JPEG, "protocol"),
        (OK + b"Content-Length: 5\r\n" + BODY, "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc", "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", "protocol"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc", "connect"),
        (OK + b"Content-Length: 9000\r\n\r\n" + JPEG, "connect"),
        (OK + b"Content-Type: image/jpe", "connect"),
        (OK, "connect"),
        (b"", "connect"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "connect"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/5000\r\n" + BODY, "protocol"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-%d/*\r\n" % len(JPEG) + BODY, "protocol"),
        (b"HTTP/1.1 206 Partial Content\r\n" + BODY, "protocol"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\nnot yet.", "protocol"),
        (OK + b"Content-Encoding: rot13\r\nContent-Length: 5\r\n\r\nuryyb", "protocol"),
        (b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", "protocol"),
        (b"HTTP/1.1 302 Found\r\nLocotion: /a\r\nContent-Length: 0\r\n\r\n", "protocol"),
        (b"HTTP/1.1 302 Found\r\nbroken\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", "protocol"),
    ],
)
def test_a_failure_that_can_pass(web, fetch, answer, failure):
    outcome = fetch(web.raw("/a.jpg", answer))
    assert (outcome.failure, outcome.body) == (failure, None)
    assert is_transient(outcome.failure, outcome.http_status)


@pytest.mark.parametrize(
    "line",
    [
        b"X-Robots-Tag: noai",
        b"x-robots-tag:noai",
        b"X-Robots-Tag : noai",
        b"X-ROBOTS-TAG:\tnofollow,\r\n noai",
        b"X-Robots-Tag: all\r\nX-Robots-Tag: noai",
    ],
)
def test_every_line_of_the_final_head_reaches_the_opt_out(web, fetch, line):
    many = b"".join(b"X-%d: y\r\n" % n for n in range(150))
    for head in (line + b"\r\n" + many, many + line + b"\r\n"):
        outcome = fetch(web.raw("/a.jpg", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + head + BODY))
        assert (outcome.failure, outcome.body) == ("opted_out", None)


def test_a_redirect_with_an_opt_out_is_not_followed(web, fetch):
    outcome = fetch(web.serve("/1", b"", ("Location", "/2"), ("X-Robots-Tag", "noai"), status=302))
    assert (outcome.failure, web.requests["/2"]) == ("opted_out", 0)


@pytest.mark.parametrize(
    "scope", ["; Path=/", "; Path=/bilder", ""]
)  # RFC 6265, section 5.1.4: paths and default paths
def test_a_redirect_that_only_sets_a_cookie_is_followed(web, fetch, scope):
    def cookie(handler):
        if "seen=1" in handler.headers.get("Cookie", ""):
            handler.reply(200, JPEG)
        else:
            handler.reply(302, b"", ("Location", handler.path), ("Set-Cookie", f"seen=1{scope}"))

    web.routes["/bilder/a.jpg"] = cookie
    assert fetch(web.url("/bilder/a.jpg")).failure is None


def test_a_cookie_may_be_any_bytes(web, fetch):
    web.serve("/b.jpg", JPEG)
    web.raw("/1", b"HTTP/1.1 302 Found\r\nLocation: /b.jpg\r\nSet-Cookie: a=\xe9; Path=/\r\nContent-Length: 0\r\n\r\n")
    assert fetch(web.url("/1")).failure is None
    assert web.headers[-1]["Cookie"] == "a=\xe9"


def test_cookies_stay_with_the_redirects_of_one_url(web):
    web.serve("/b.jpg", JPEG, ("Set-Cookie", "picture=1; Path=/"))
    web.serve("/1", b"", ("Location", "/b.jpg"), ("Set-Cookie", "redirect=1; Path=/"), status=302)
    fetcher = Fetcher(OPTIONS)
    for _ in range(2):
        assert fetcher.fetch(web.url("/1")).failure is None
    fetcher.fetch(web.url("/b.jpg"))
    fetcher.close()
    assert [headers.get("Cookie") for headers in web.headers] == [None, "redirect=1", None, "redirect=1", None]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b; Path=/\r\n\r\n" + OK + BODY,
        b"HTTP/1.1 101 Switching Protocols\r\nSet-Cookie: a=b; Path=/\r\n\r\n",
        OK + b"Set-Cookie: a=b; Path=/\r\nno header\r\n" + BODY,
        OK + b"Set-Cookie: a=b; Path=/\r\n" + b"X: %s\r\n" % (b"y" * 60_000) * 9 + BODY,
        OK + b"Set-Cookie: a=b; Path=/\r\nCut: off",
    ],
    ids=["interim", "switching", "malformed", "too large", "cut off"],
)
def test_cookies_of_heads_that_nobody_judged_go_no_further(web, answer):
    web.serve("/b.jpg", JPEG)
    fetcher = Fetcher(OPTIONS)
    fetcher.fetch(web.raw("/1", answer))
    assert fetcher.fetch(web.url("/b.jpg")).failure is None
    fetcher.close()
    assert web.headers[-1].get("Cookie") is None


def test_a_host_may_begin_with_a_hyphen(web):
    """URL standard, section 3.3: CheckHyphens is false; libcurl reads such an entry of RESOLVE as one to take away."""
    fetcher = Fetcher(OPTIONS, guard=Guard(("127.0.0.0/8",), lookup=lambda _: [(socket.AF_INET, "127.0.0.1")]))
    assert fetcher.fetch(web.serve("/a.jpg", JPEG).replace("127.0.0.1", "-foo.test")).failure is None
    fetcher.close()


def test_one_endless_url_costs_no_other(web):
    web.serve("/a.jpg", JPEG)
    fetcher = Fetcher(OPTIONS)
    urls = [web.url("/a.jpg"), web.url("/" + "x" * 9_000_000), web.url("/none.jpg")]
    outcomes = dict(fetcher.fetch_all(enumerate(urls)))
    fetcher.close()
    assert [outcomes[number].failure for number in range(3)] == [None, "other", "http_4xx"]


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/gr\xc3\xbcn.jpg", "/gr%C3%BCn.jpg"),
        (b"/gr\xfcn.jpg", "/gr%FCn.jpg"),
        (b"/a\\b.jpg", "/a/b.jpg"),
        (b"b c.jpg#part", "/b%20c.jpg"),
        (b"?q", "/1?q"),
    ],
)
def test_locations_are_read_as_browsers_read_them(web, fetch, location, asked):
    """Bytes other than ASCII stand for themselves; the rest is the URL standard's."""
    web.raw("/1", b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
    fetch(web.url("/1"), redirects=1)
    assert list(web.requests)[-1] == asked


def test_a_url_is_asked_as_the_standard_writes_it(web, fetch):
    """What libcurl's own parser would change or refuse goes out as it is: dots, bars, quotes, braces."""
    path = "/a//b/%2e%2E/c|d{e}'\"f%zz?x=|&y=%"
    fetch(web.url("/a/./" + path[1:]))
    assert [*web.requests] == ["/a/a//c|d%7Be%7D'%22f%zz?x=|&y=%"]


def test_user_names_and_passwords_are_neither_sent_nor_told(web, fetch):
    web.serve("/b.jpg", b"no picture")
    secret = web.url("/1").replace("//", "//user:secret@")
    for location in ("/b.jpg", web.url("/b.jpg").replace("//", "//user:secret@"), "http://user:secret@127.0.0.1:22/"):
        web.redirect("/1", location)
        outcome = fetch(secret)
        assert outcome.failure in ("not_an_image", "blocked_address")
        assert "secret" not in f"{outcome.failure_detail} {outcome.final_url}"
    assert not [headers for headers in web.headers if "Authorization" in headers]


def test_nothing_of_the_environment_comes_between(web, fetch, monkeypatch, tmp_path):
    """Proxies, .netrc, and what earlier answers said: HSTS (RFC 6797), Alt-Svc (RFC 7838)."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine localhost login me password secret\n")
    (tmp_path / ".curlrc").write_text("proxy = http://127.0.0.1:1\n")
    elsewhere = ("Alt-Svc", 'h3="127.0.0.1:1", h2="127.0.0.1:1"')
    url = web.serve("/a.jpg", JPEG, ("Strict-Transport-Security", "max-age=9999"), elsewhere)
    for _ in range(2):
        assert fetch(url.replace("127.0.0.1", "localhost")).failure is None
    assert not [headers for headers in web.headers if "Authorization" in headers or "Cookie" in headers]


def raw_deflate(plain):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(plain) + stream.flush()


def zstd(plain):
    return pa.Codec("zstd").compress(plain, asbytes=True)


AWS_CHUNKED = b"64;chunk-signature=%s\r\n%s\r\n%x;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n\r\n" % (
    *(b"a" * 64, JPEG[:100], len(JPEG) - 100, b"b" * 64, JPEG[100:], b"c" * 64),
)
GZIP = gzip.compress(JPEG)


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (["gzip"], GZIP),
        (["GZip"], GZIP),
        (["x-gzip"], GZIP),  # RFC 9110, section 8.4.1.3
        (["gzip, identity"], GZIP),
        (["identity", "gzip"], GZIP),
        (["gzip"], gzip.compress(JPEG[:50]) + gzip.compress(JPEG[50:])),  # RFC 1952, section 2.2: members
        (["gzip"], GZIP + bytes(512)),
        (["gzip"], GZIP + b"junk"),
        (["gzip, gzip"], gzip.compress(GZIP)),
        (["gzip", "gzip"], gzip.compress(GZIP)),
        (["deflate"], zlib.compress(JPEG)),  # RFC 9110, section 8.4.1.2: the zlib format
        (["deflate"], raw_deflate(JPEG)),
        (["br"], brotli.compress(JPEG)),  # RFC 7932
        (["deflate, br"], brotli.compress(zlib.compress(JPEG))),
        (["zstd"], zstd(JPEG)),  # RFC 8878
        (["zstd"], zstd(JPEG[:9]) + zstd(JPEG[9:])),
        (["aws-chunked"], JPEG),
        (["aws-chunked"], AWS_CHUNKED),
        (["aws-chunked,gzip"], GZIP),
        (["identity"], JPEG),
        ([""], JPEG),
        (["utf-8"], JPEG),
        (["gzip"], JPEG),  # not encoded at all, whatever it says
    ],
)
def test_a_content_encoding_is_undone(web, fetch, codings, body):
    outcome = fetch(web.serve("/a.jpg", body, *(("Content-Encoding", coding) for coding in codings)))
    assert (outcome.failure, outcome.failure_detail, outcome.body) == (None, None, JPEG)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIP[:-1]),
        ("gzip", GZIP[: len(GZIP) // 2]),
        ("gzip", GZIP[:12]),
        ("gzip", GZIP[:1]),
        ("gzip", b""),
        ("gzip", GZIP + GZIP[:1]),  # RFC 1952, section 2.2: a member follows
        ("zstd", zstd(JPEG)[:1]),
        ("br", b""),
        ("deflate", zlib.compress(JPEG)[:40] + b"\xff\xff" + zlib.compress(JPEG)[42:]),
        ("gzip", (gzip.compress(JPEG[:50]) + GZIP)[:-9]),
        ("gzip", GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:]),
        ("deflate", zlib.compress(JPEG)[:-5]),
        ("deflate", raw_deflate(JPEG)[:-5]),
        ("br", brotli.compress(JPEG)[:-1]),
        ("zstd", zstd(JPEG)[:-1]),
        ("aws-chunked", AWS_CHUNKED[:300]),
        ("gzip, gzip", gzip.compress(GZIP[:-5])),
    ],
)
def test_an_encoded_body_that_stops_before_its_end_is_a_broken_transfer(web, fetch, coding, body):
    outcome = fetch(web.serve("/a.jpg", body, ("Content-Encoding", coding)))
    assert (outcome.failure, outcome.attempts) == ("connect", 2)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_undone_is_bounded(coding):
    quick = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd}
    pack = quick.get(coding, lambda plain: brotli.compress(plain, quality=1))
    assert undo_encodings(pack(bytes(1000)), [coding], 1000) == bytes(1000)
    for bomb, codings in ((pack(bytes(10**7)), [coding]), (pack(pack(bytes(10**7))), [coding, coding])):
        with pytest.raises(FetchFailed) as refused:
            undo_encodings(bomb, codings, 1000)
        assert refused.value.failure is Failure.TOO_LARGE


def test_encodings_without_end_are_refused():
    with pytest.raises(FetchFailed) as refused:
        undo_encodings(b"", ["gzip," * 1000], 1000)
    assert refused.value.failure is Failure.PROTOCOL


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),  # past
        ("soon", None),
        ("-5", None),
        ("9" * 400, float("inf")),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999999999999", None),
    ],
)
def test_how_long_a_server_asks_to_wait(value, seconds):
    assert _retry_after([value]) == seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_a_date_to_wait_for_has_three_forms(form):
    """RFC 9110, sections 10.2.3 and 5.6.7."""
    found = _retry_after([(datetime.now(UTC) + timedelta(seconds=100)).strftime(form)])
    assert 95 < found <= 100


def test_a_server_that_asks_to_wait_until_a_date_beyond_the_deadline_is_left_alone(web, fetch):
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    outcome = fetch(web.serve("/a.jpg", b"busy", ("Retry-After", later), status=503))
    assert (outcome.failure, outcome.attempts) == ("http_5xx", 1)


def test_a_server_is_given_the_time_it_asks_for():
    fetcher = Fetcher(replace(OPTIONS, deadline_seconds=60))
    steps = fetcher._steps("http://some.test/a.jpg")
    assert next(steps) == "some.test"
    visit = steps.send([(socket.AF_INET, "127.0.0.1")])
    busy = FetchFailed(Failure.HTTP_5XX, "HTTP status 503", again=True, wait_seconds=7)
    assert steps.throw(busy) == 7  # the pause
    assert visit.seconds == 53
    fetcher.close()


def test_a_trickle_of_interim_answers_ends_at_the_deadline(web, fetch):
    web.routes["/a.jpg"] = lambda handler: handler.drip(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
    assert fetch(web.url("/a.jpg"), deadline_seconds=0.2).failure == "timeout"


WHOLE = [
    OK + b"Content-Type: image/jpeg\r\nX-Robots-Tag: nofollow\r\n" + BODY,
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    + OK
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(JPEG)
    + JPEG,
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n" % (len(JPEG) - 1, len(JPEG)) + BODY,
    OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(JPEG)) + gzip.compress(JPEG),
]
INSERTED = [b"\r\n", b"\n", b":", b" ", b"\0", b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"a" * 5000, b"\xe9"]


def mutant(random):
    """A sound answer with some faults, most of them in its head."""
    answer = random.choice(WHOLE)
    for _ in range(random.choice([1, 1, 2, 5])):
        place = random.randrange(len(answer) if random.random() < 0.2 else answer.find(b"\r\n\r\n") % len(answer) + 1)
        before, after = answer[:place], answer[place:]
        answer = random.choice(
            [
                before + random.randbytes(1) + after[1:],
                before + after[random.randrange(1, 20) :],
                before + random.choice(INSERTED) + after,
                before + before + after,
                before,
            ]
        )
        answer = answer or b"x"
    return answer


def test_hundreds_of_damaged_answers_each_come_to_an_end(web):
    """Seeded. No outcome is lost, none is an exception of ours, and what fails for its form can pass."""
    random = Random(20_250_601)
    for number in range(400):
        web.raw(f"/{number}", mutant(random))
    with contextlib.closing(Fetcher(replace(OPTIONS, connections_per_host=64))) as fetcher:
        outcomes = dict(fetcher.fetch_all((n, web.url(f"/{n}")) for n in range(400)))
    assert len(outcomes) == 400
    lasting = {o.failure_detail for o in outcomes.values() if o.failure == "other"}
    assert all(detail.startswith(("HTTP status", "more than 5 redirects", "redirect to")) for detail in lasting), (
        lasting
    )


def test_a_host_that_is_found_nowhere_after_a_redirect_is_named(web, fetch):
    def lookup(host):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    guard = Guard(("127.0.0.0/8",), lookup=lookup)
    outcome = fetch(web.redirect("/1", "http://no.test/a.jpg"), guard=guard)
    assert (outcome.failure, outcome.final_url) == ("dns", "http://no.test/a.jpg")
