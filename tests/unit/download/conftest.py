"""The misbehaving web server as a fixture."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.download.loopback_web import Handler, Web, WebServer


@pytest.fixture
def web() -> Iterator[Web]:
    with WebServer(("127.0.0.1", 0), Handler) as server:
        server.web = Web(port=server.server_address[1])
        accept = server.get_request

        def counted() -> tuple[socket.socket, Any]:
            server.web.connections += 1
            return accept()

        server.get_request = counted  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.web
        finally:
            server.web.over.set()
            server.shutdown()
            thread.join()
