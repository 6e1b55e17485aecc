"""Serves the sample's pictures on loopback, good manners and bad ones.

A small HTTP/1.1 server on asyncio protocols, in its own process, so that it competes with nothing in the caller's.
`python -m laion_assets.sample.server ROOT` serves until it is interrupted, or until the process ends that started it by
`SampleServer`: the child of a killed process must not keep the port.
"""

import argparse
import asyncio
import json
import logging
import mmap
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.request import urlopen

from laion_assets.common.processes import end_with_parent, with_parent
from laion_assets.sample.publish import SampleError, find_sample
from laion_assets.sample.web import CONTENT_TYPES, Reply, read_replies

logger = logging.getLogger(__name__)

ABOUT_PATH: Final = "/.well-known/sample.json"
"""Answers with the sample's digest, by which a server that is already running is recognised."""
_MAX_HEADER_BYTES: Final = 65_536
_DRIPPED_BYTES: Final = 4_000
"""A dripping answer ends after these many bytes even for a client without patience limits."""


class PictureStore:
    """The bodies and answers of a published web, by path."""

    def __init__(self, root: Path) -> None:
        self.replies: dict[str, Reply] = read_replies(root)
        path = root / "web.zip"
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with zipfile.ZipFile(path) as archive:
            self._places = {f"/{entry.filename}": self._place(entry) for entry in archive.infolist()}

    def _place(self, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Where an uncompressed entry's bytes lie: after its local header, whose last two fields vary in length."""
        at = entry.header_offset
        name, extra = (int.from_bytes(self._map[at + k : at + k + 2], "little") for k in (26, 28))
        return at + 30 + name + extra, entry.file_size

    def body(self, path: str) -> bytes | None:
        """The file at a path, None where there is none."""
        place = self._places.get(path)
        return None if place is None else self._map[place[0] : place[0] + place[1]]


class _Connection(asyncio.Protocol):
    """One client: requests in, answers out, in turn, over a connection that stays open."""

    def __init__(self, store: PictureStore, about: bytes, connections: set["_Connection"]) -> None:
        self._store = store
        self._about = about
        self._connections = connections
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._slow: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio names it)
        self._connections.discard(self)
        self._transport = None
        if self._slow is not None:
            self._slow.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._serve()

    def _serve(self) -> None:
        while self._slow is None and self._transport is not None:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                if len(head) > _MAX_HEADER_BYTES:
                    self._transport.close()
                return
            self._received = rest
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        words = lines[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] not in ("GET", "HEAD"):
            self._send(Reply(status=405), b"", "GET", "/", close=True)
            return
        method, target, version = words
        asked = head.lower()
        close = b"\r\nconnection: close" in asked or (version == "HTTP/1.0" and b"keep-alive" not in asked)
        path = target.partition("?")[0].partition("#")[0]
        if path == ABOUT_PATH:
            self._send(Reply(headers={"Content-Type": "application/json"}), self._about, method, path, close=close)
            return
        body, reply = self._store.body(path), self._store.replies.get(path)
        if reply is None:
            reply = _FOUND if body is not None else _MISSING
        if reply.delay_seconds or reply.drip_seconds:
            self._slow = asyncio.get_running_loop().create_task(self._send_slowly(reply, body or b"", method, path))
        else:
            self._send(reply, body or b"", method, path, close=close)

    def _send(self, reply: Reply, body: bytes, method: str, path: str, *, close: bool) -> None:
        if self._transport is None:
            return
        close = close or reply.claimed_bytes is not None
        head = _head(reply, len(body), path, close=close)
        self._transport.write(head if method == "HEAD" else head + body)
        if close:
            self._transport.close()

    async def _send_slowly(self, reply: Reply, body: bytes, method: str, path: str) -> None:
        await asyncio.sleep(reply.delay_seconds)
        if not reply.drip_seconds or method == "HEAD":
            self._send(reply, body, method, path, close=False)
        elif (transport := self._transport) is not None:
            transport.write(_head(reply, len(body), path, close=True))
            for at in range(min(len(body), _DRIPPED_BYTES)):
                await asyncio.sleep(reply.drip_seconds)
                transport.write(body[at : at + 1])
            transport.close()
        self._slow = None
        self._serve()


_FOUND: Final = Reply()
_MISSING: Final = Reply(status=404)


def _head(reply: Reply, length: int, path: str, *, close: bool) -> bytes:
    kind = CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")
    headers = {"Server": "sample", "Content-Type": kind} | reply.headers
    headers["Content-Length"] = str(length if reply.claimed_bytes is None else reply.claimed_bytes)
    headers["Connection"] = "close" if close else "keep-alive"
    lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def serve(root: Path, port: int, digest: str, ready: Callable[[], None] | None = None) -> None:
    """Serve the web at `root` on 127.0.0.1, and on ::1 where the machine has it, until cancelled.

    Args:
        root: Folder with `web.zip` and `web.json`.
        port: Where to listen.
        digest: What `ABOUT_PATH` answers with.
        ready: Called once connections are accepted.
    """
    store = PictureStore(root)
    about = json.dumps({"digest": digest}).encode()
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()

    def connect() -> _Connection:
        return _Connection(store, about, connections)

    servers = [await loop.create_server(connect, "127.0.0.1", port, backlog=1024)]
    try:
        servers.append(await loop.create_server(connect, "::1", port, backlog=1024))
    except OSError as error:
        logger.info("not listening on ::1: %s", error)
    if ready is not None:
        ready()
    await asyncio.gather(*(server.serve_forever() for server in servers))


class SampleServer:
    """Serves a published web from a process of its own while the context lasts.

    A server that already serves the same sample on the port (`make ui` beside a build) is used as it is. One that is
    started ends with the thread that entered here, too (`laion_assets.common.processes`).

    Args:
        root: A folder that `publish` made, or, if `port` is given, any folder that `web.write_web` wrote to.
        port: Where to listen; None takes the port of the sample's options.

    Raises:
        SampleError: on entering: nothing to serve at `root`, the port is taken, or the server does not start.
    """

    def __init__(self, root: Path, port: int | None = None) -> None:
        self.root = root
        self._given_port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where the server listens."""
        return _port(self.root, self._given_port)

    @property
    def url(self) -> str:
        """The server's root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        if _serves(self.port) == _identity(self.root):
            return self
        command = [
            sys.executable,
            "-m",
            "laion_assets.sample.server",
            str(self.root),
            "--port",
            str(self.port),
            "--child",
        ]
        environment = {**os.environ, **with_parent()}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if self._process.stdout is not None and self._process.stdout.readline() == b"ready\n":
            return self
        said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
        self._process = None
        raise SampleError(f"the sample's server did not start: {said[-1] if said else 'it gave no reason'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()  # it only reads; and whoever started us may have had SIGTERM ignored
            self._process.communicate()
            self._process = None


def _port(root: Path, given: int | None) -> int:
    if given is not None:
        return given
    found = find_sample(root)
    if found is None:
        raise SampleError(f"{root} holds no published sample: publish one there, or say on which port to serve it")
    return found.options.port


def _identity(root: Path) -> str:
    """What tells this web from others: the sample's digest, or for any other web its path and time."""
    found = find_sample(root)
    if found is not None:
        return found.digest
    archive = root / "web.zip"
    if not archive.is_file():
        raise SampleError(f"{root} holds no web.zip: publish a sample there first")
    return f"{archive.resolve()} {archive.stat().st_mtime_ns}"


def _serves(port: int) -> str | None:
    """The identity of the sample served on a port; None if the port is free.

    Raises:
        SampleError: Something else answers there.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            pass
    except OSError:
        return None
    try:
        with urlopen(f"http://127.0.0.1:{port}{ABOUT_PATH}", timeout=5) as answer:
            return str(json.load(answer)["digest"])
    except (OSError, ValueError, KeyError) as error:
        raise SampleError(
            f"port {port} is in use by another program ({error}): end it, or publish the sample for another port"
        ) from error


async def _run(root: Path, port: int, *, child: bool) -> None:
    def ready() -> None:
        sys.stdout.write("ready\n" if child else f"serving {root} on http://127.0.0.1:{port}\n")
        sys.stdout.flush()

    await serve(root, port, _identity(root), ready)


def main(arguments: list[str] | None = None) -> int:
    """Serve a sample from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m laion_assets.sample.server", description="Serve a published sample."
    )
    parser.add_argument("root", type=Path, help="folder that the sample was published to")
    parser.add_argument("--port", type=int, default=None, help="default: the port in the sample's urls")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    end_with_parent()
    try:
        asyncio.run(_run(given.root, _port(given.root, given.port), child=given.child))
    except (SampleError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
