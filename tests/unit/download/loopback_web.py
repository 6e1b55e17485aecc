"""A web server on loopback that behaves as badly as it is told to, and pictures for it to serve."""

import io
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "WebServer"

    def do_GET(self) -> None:
        web = self.server.web
        with web.lock:
            web.requests[self.path] += 1
            web.headers.append(dict(self.headers.items()))
            web.busy += 1
            web.busiest = max(web.busiest, web.busy)
        try:
            answer = web.routes.get(self.path.partition("?")[0])
            if answer is None:
                self.reply(404, b"not here")
            else:
                answer(self)
        finally:
            with web.lock:
                web.busy -= 1

    def reply(self, status: int, body: bytes, *headers: tuple[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, data: bytes) -> None:
        """One byte at a time, until the other side or the test has had enough."""
        self.close_connection = True
        for byte in data:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            if self.server.web.over.wait(0.02):
                return

    def log_message(self, *_: Any) -> None:
        pass


class WebServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    web: "Web"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@dataclass
class Web:
    """What the server answers, and what it was asked."""

    port: int
    routes: dict[str, Answer] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy: int = 0
    busiest: int = 0
    connections: int = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes, *headers: tuple[str, str], status: int = 200, **more: Any) -> str:
        self.routes[path] = lambda handler: handler.reply(status, body, *headers, **more)
        return self.url(path)

    def raw(self, path: str, answer: bytes) -> str:
        """Serve bytes as they are, and hang up."""

        def write(handler: Handler) -> None:
            handler.close_connection = True
            handler.wfile.write(answer)

        self.routes[path] = write
        return self.url(path)

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        return self.serve(path, b"moved", ("Location", location), status=status)


def picture(width: int = 48, height: int = 32, *, seed: int = 0, format: str = "JPEG", **options: Any) -> bytes:
    """A picture of soft random colours."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(file, format, **options)
    return file.getvalue()
