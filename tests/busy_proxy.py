"""A proxy before an S3 server that does to requests what a busy S3 does; a process of its own, of nothing but Python.

It is told its trouble as JSON, says at which port it listens, and when its input ends says what it did. In the process
that asks it could not run: delta-rs holds Python's lock while it waits for some answers.
"""

import http.client
import json
import random
import sys
import threading
import time
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_BUSY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


class Trouble:
    """Which requests are refused, answered late, or carried out without anybody hearing of it."""

    def __init__(self, seed: int, *, refused: float = 0.04, late: float = 0.02, unheard: int = 0) -> None:
        """Make trouble.

        Args:
            seed: of the dice.
            refused: share of the requests that are answered 503 SlowDown.
            late: share of the answers that are held back for up to a second.
            unheard: how many commits are carried out, and answered 503 all the same.
        """
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._shares = {"refused": refused, "late": late}
        self._unheard = unheard
        self.done: Counter[str] = Counter()

    def next(self, method: str, path: str) -> str:
        """What happens to a request: ``refused``, ``late``, ``unheard`` or ``passed``."""
        with self._lock:
            thrown, kind = self._dice.random(), "passed"
            if method == "PUT" and "/_delta_log/" in path and self._unheard and thrown < 0.5:
                self._unheard -= 1
                kind = "unheard"
            elif thrown < self._shares["refused"]:
                kind = "refused"
            elif thrown < self._shares["refused"] + self._shares["late"]:
                kind = "late"
            self.done[kind] += 1
            return kind

    def delay(self) -> float:
        """Seconds that a late answer is held back."""
        with self._lock:
            return self._dice.uniform(0.1, 1.0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, server_port: int, trouble: Trouble, *arguments: Any) -> None:
        self._port, self._trouble = server_port, trouble
        self._behind: http.client.HTTPConnection | None = None
        super().__init__(*arguments)

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self._trouble.next(self.command, self.path)
        if kind == "refused":
            self._answer(503, {"Content-Type": "application/xml"}, _BUSY)
            return
        status, headers, content = self._ask(body)
        if kind == "unheard":
            self._answer(503, {"Content-Type": "application/xml"}, _BUSY)
            return
        if kind == "late":
            time.sleep(self._trouble.delay())
        self._answer(status, headers, content)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._behind is None:
            self._behind = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        self._behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                self._behind.putheader(name, value)
        self._behind.endheaders(body or None)
        answer = self._behind.getresponse()
        content = answer.read()
        if answer.will_close:
            self._behind.close()
            self._behind = None
        left_out = ("connection", "transfer-encoding", "date", "server")
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in left_out}
        return answer.status, headers, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        given = {name.lower() for name in headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in given and status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients hang up when they have heard enough."""


def main() -> None:
    """Listen until the input ends."""
    port, given = int(sys.argv[1]), json.loads(sys.argv[2])
    trouble = Trouble(**given)
    with _Server(("127.0.0.1", 0), partial(_Handler, port, trouble)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()
    print(json.dumps(trouble.done), flush=True)


if __name__ == "__main__":
    main()
