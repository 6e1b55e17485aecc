"""The misbehaving web server as a fixture."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from laion_assets.download import DownloadOptions
from laion_assets.download.fetch import Fetched, Fetcher
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


OPTIONS = DownloadOptions(
    allowed_networks=("127.0.0.0/8", "::1/128"),
    timeout_seconds=60,
    deadline_seconds=60,
    retry_delay_seconds=0,
    max_bytes=100_000,
    contact="https://example.org/bot",
)


@pytest.fixture
def fetch() -> Iterator[Callable[..., Fetched]]:
    """Fetches one url, each time with a fetcher of its own; options as keywords."""
    fetchers = []

    def fetch(url: str, *, guard: Any = None, removals: Any = None, **options: Any) -> Fetched:
        fetchers.append(Fetcher(replace(OPTIONS, **options), removals, guard))
        return fetchers[-1].fetch(url)

    yield fetch
    for fetcher in fetchers:
        fetcher.close()
