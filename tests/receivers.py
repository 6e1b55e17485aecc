"""Receivers of messages on loopback, as real as it takes: a webhook over HTTP, a mail server over SMTP (RFC 5321)."""

import base64
import email
import email.policy
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from tests.integration.conftest import serving


@dataclass
class Received:
    """What a receiver got, and how it answers."""

    texts: list[str] = field(default_factory=list)
    """Of a webhook, each `text`."""
    mails: list[EmailMessage] = field(default_factory=list)
    status: int = 200
    """What a webhook answers."""
    asked: int = 0
    """Requests, taken or not."""
    encrypted: list[bool] = field(default_factory=list)
    """Of each mail, whether it came over an encrypted connection."""
    logins: list[tuple[str, str]] = field(default_factory=list)
    refused: frozenset[str] = frozenset()
    """Addresses that a mail server takes nothing for."""


class _Webhook(BaseHTTPRequestHandler):
    def __init__(self, received: Received, *arguments: Any) -> None:
        self._received = received
        super().__init__(*arguments)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._received.asked += 1
        if self._received.status == 200:
            self._received.texts.append(json.loads(body)["text"])
        self.send_response(self._received.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def webhook(received: Received) -> Iterator[str]:
    """A webhook; gives its address, whose path is secret as Slack's are."""
    with serving(partial(_Webhook, received)) as port:
        yield f"http://127.0.0.1:{port}/services/T0/B0/s3cr3t"


class _Mail(StreamRequestHandler):
    server: "_MailServer"

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            if self.server.tls == "tls":
                self._encrypt()
            self._say("220 ready")
            while line := self.rfile.readline().decode().strip():
                if self._answer(line):
                    return

    def _encrypt(self) -> None:
        assert self.server.context is not None
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _answer(self, line: str) -> bool:
        """Answer a command; says whether it was the last."""
        received, command = self.server.received, line.split(":")[0].split(" ")[0].upper()
        encrypted = isinstance(self.connection, ssl.SSLSocket)
        if command == "EHLO":
            offered = ["AUTH PLAIN"] if self.server.password else []
            offered += ["STARTTLS"] if self.server.tls == "starttls" and not encrypted else []
            for name in ["127.0.0.1", *offered]:
                self._say(f"250-{name}")
            self._say("250 SIZE 1000000")
        elif command == "STARTTLS":
            self._say("220 go on")
            self._encrypt()
        elif command == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            received.logins.append((user, password))
            self._say("235 welcome" if password == self.server.password else f"535 {password} is wrong")
        elif command == "RCPT" and any(address in line for address in received.refused):
            self._say("550 nobody here")
        elif command == "DATA":
            self._say("354 go on")
            lines = list(iter(self.rfile.readline, b".\r\n"))
            mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
            assert isinstance(mail, EmailMessage)
            received.mails.append(mail)
            received.encrypted.append(encrypted)
            self._say("250 taken")
        else:
            self._say("221 bye" if command == "QUIT" else "250 ok")
        return command == "QUIT"


class _MailServer(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, received: Received, tls: str, password: str, certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.received, self.tls, self.password = received, tls, password
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)


@contextmanager
def mail_server(
    received: Received, *, tls: str = "none", password: str = "", certificate: Path | None = None
) -> Iterator[int]:
    """A mail server; gives its port.

    Args:
        received: what it got.
        tls: `starttls`, `tls`, or `none`.
        password: what a login needs; empty: it offers none.
        certificate: of its encrypted connections.
    """
    with _MailServer(received, tls, password, certificate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def certificate_of_loopback(path: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=36_500))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path
