"""A server on loopback that answers with bytes as they are, and hangs up."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256


@contextmanager
def raw_server(answer: Callable[[str], bytes]) -> Iterator[int]:
    """Serve until the end of the block; gives the port.

    Args:
        answer: Gives the bytes for a path, which need not be an answer of HTTP at all.
    """

    class Handler(StreamRequestHandler):
        timeout = 10

        def handle(self) -> None:
            try:
                path = self.rfile.readline().split(b" ")[1].decode("latin-1")
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(answer(path))
            except (OSError, IndexError):
                return  # hung up on

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
