import http.client
import socket
import subprocess
import sys
import threading

import polars as pl
import pytest

from laion_assets.sample.publish import SampleError
from laion_assets.sample.server import SampleServer
from laion_assets.sample.web import Reply, write_web
from tests.unit.sample.conftest import free_port


@pytest.fixture(scope="module")
def server(small_sample):
    with SampleServer(small_sample.root) as running:
        yield running


def get(server, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def path_of(sample, kind):
    url = sample.truth.filter(pl.col("kind") == kind)["url"][0]
    return "/" + url.partition("://")[2].partition("/")[2]


def test_a_picture_comes_with_its_type(server, small_sample):
    ordinary = small_sample.truth.filter((pl.col("kind") == "ordinary") & pl.col("url").str.ends_with(".jpg"))["url"][0]
    status, headers, body = get(server, "/" + ordinary.partition("://")[2].partition("/")[2])
    assert (status, headers["Content-Type"], body[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("kind", "status"), [("http_404", 404), ("http_410", 410), ("http_500", 500), ("http_503", 503), ("tiny", 200)]
)
def test_statuses(server, small_sample, kind, status):
    assert get(server, path_of(small_sample, kind))[0] == status


def test_an_unknown_path_is_not_found(server):
    assert get(server, "/nothing/here.jpg")[0] == 404


def test_redirects_lead_to_a_picture(server, small_sample):
    path, hops = path_of(small_sample, "redirected"), 0
    status, headers, body = get(server, path)
    while status in (301, 302):
        hops += 1
        status, headers, body = get(server, headers["Location"])
    assert (status, body[:2]) == (200, b"\xff\xd8")
    assert 1 <= hops <= 2


def test_a_redirect_loop_leads_to_itself(server, small_sample):
    path = path_of(small_sample, "redirect_loop")
    assert get(server, path)[1]["Location"] == path


def test_html_comes_as_jpeg(server, small_sample):
    status, headers, body = get(server, path_of(small_sample, "html_as_jpeg"))
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert body.startswith(b"<!DOCTYPE html>")


def test_opt_outs_are_said(server, small_sample):
    assert get(server, path_of(small_sample, "opted_out"))[1]["X-Robots-Tag"] == "noai, noimageai"


def test_a_huge_claim_is_followed_by_little(server, small_sample):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path_of(small_sample, "huge_claim"))
    answer = connection.getresponse()
    assert int(answer.headers["Content-Length"]) == 5_000_000_000
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()


def test_a_dripping_answer_starts_at_once_and_does_not_end(server, small_sample):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(f"GET {path_of(small_sample, 'dripping')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(4096)
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"200 OK" in head
        body += client.recv(4096)
        assert 1 <= len(body) <= 3


def test_a_slow_answer_does_not_hold_up_others(server, small_sample):
    done: list[str] = []
    slow = threading.Thread(target=lambda: (get(server, path_of(small_sample, "slow")), done.append("slow")))
    slow.start()
    get(server, path_of(small_sample, "tiny"))
    done.append("quick")
    slow.join()
    assert done == ["quick", "slow"]


def test_one_connection_serves_many_requests_and_pipelined_ones_in_order(server, small_sample):
    paths = [path_of(small_sample, kind) for kind in ("http_404", "tiny", "http_500")]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths[:2]))
        client.sendall(f"GET {paths[2]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: client.recv(65536), b""))
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404", b"200", b"500"]


def test_head_sends_no_body(server, small_sample):
    status, headers, body = get(server, path_of(small_sample, "tiny"), "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_other_methods_and_nonsense_are_refused(server):
    assert get(server, "/", "POST")[0] == 405
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 405")


def test_localhost_answers_too(server):
    connection = http.client.HTTPConnection("localhost", server.port, timeout=10)
    connection.request("GET", "/x")
    assert connection.getresponse().status == 404
    connection.close()


def test_a_second_server_of_the_same_sample_uses_the_first(server, small_sample):
    with SampleServer(small_sample.root) as second:
        assert get(second, "/x")[0] == 404
    assert get(server, "/x")[0] == 404


def test_a_port_taken_by_another_program_is_told(tmp_path):
    write_web(tmp_path, [("/a.jpg", b"x", None)])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        closing = threading.Thread(target=lambda: [other.accept()[0].close() for _ in range(2)])
        closing.start()
        with pytest.raises(SampleError, match="in use by another program"):
            SampleServer(tmp_path, port=other.getsockname()[1]).__enter__()
        closing.join()


def test_any_files_can_be_served(tmp_path):
    files = [("/ünï cødé.jpg", b"one", None), ("/b.png", b"two", Reply(status=203, headers={"X-A": "b"}))]
    write_web(tmp_path, files)
    with SampleServer(tmp_path, port=free_port()) as server:
        status, headers, body = get(server, "/b.png?size=3")
        assert (status, headers["X-A"], headers["Content-Type"], body) == (203, "b", "image/png", b"two")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SampleError, match="publish"):
        SampleServer(tmp_path).__enter__()
    with pytest.raises(SampleError, match=r"web\.zip"):
        SampleServer(tmp_path, port=free_port()).__enter__()


def test_the_server_ends_with_the_process_that_started_it(tmp_path):
    write_web(tmp_path, [("/a.jpg", b"x", None)])
    port = free_port()
    script = (
        "import os, sys, pathlib\n"
        "from laion_assets.sample.server import SampleServer\n"
        f"server = SampleServer(pathlib.Path({str(tmp_path)!r}), port={port})\n"
        "server.__enter__()\n"
        "print(server._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert _closes(port)


def _closes(port):
    """Whether the port stops answering; each try waits for the server to close the connection it holds."""
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.settimeout(5)
                client.recv(1)
        except (ConnectionRefusedError, ConnectionResetError):
            return True
    return False


def test_the_command_line_names_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "laion_assets.sample.server", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no published sample" in ended.stderr
    assert "Traceback" not in ended.stderr
