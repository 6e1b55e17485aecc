"""Transfers that go on where they broke: the errors of sources, the retry policy, and the stream that resumes.

A source says how one connection is opened at an offset; everything about trying again lives here, once, for HTTP and S3
alike.
"""

import io
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 18
_PROGRESS_BYTES = 1 << 20


class SourceError(Exception):
    """A crawl source did not deliver. The message is fit for a user: what was asked, what came, what to do."""


class SourceNotFound(SourceError):
    """The source answers, but has no such file, crawl, folder or bucket."""


class SourceUnreachable(SourceError):
    """The source does not answer, or refuses us, after every retry."""


class SourceRefused(SourceUnreachable):
    """The source gives one file to nobody like us: it is not there, or is not ours to read.

    S3 tells the two apart only to those who may list the bucket, and answers all others with 403, AccessDenied (API
    reference of S3, GetObject, "Permissions"). Whoever asks whether a file is there has to ask for another one, too.
    Credentials that are wrong are no such refusal.
    """


ABSENT_OR_REFUSED = "it is not there, or may not be read: who may not list a bucket is not told which"
"""What a refusal comes to."""


class TransferError(SourceError):
    """A file began to arrive and did not arrive whole: what was read of it must be thrown away and read again."""


class UnexpectedContent(SourceError):
    """A file is there, and is not what its name says. The message names it and what it begins with."""


class ErrorPage(UnexpectedContent, TransferError):
    """In place of a file there is nothing, or what reads like a server's error page: another try may bring the file."""


class TransientFailure(Exception):
    """One attempt failed in a way that may pass; carries what the server asked us to wait."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        """Keep the reason and the wait.

        Args:
            reason: What happened, in words for a log.
            retry_after_seconds: The server's own wish (``Retry-After``), null if it has none.
        """
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and how patiently a transfer is tried again."""

    attempts: int = 8
    """Attempts in a row that may bring nothing before the source counts as unreachable."""
    base_delay_seconds: float = 0.5
    """Longest wait before the second attempt; it doubles with every further one."""
    max_delay_seconds: float = 60.0
    """Longest wait between two attempts, whatever the server asks for."""
    connect_timeout_seconds: float = 10.0
    """Longest wait for a connection."""
    read_timeout_seconds: float = 60.0
    """Longest silence in the middle of a transfer."""

    def __post_init__(self) -> None:
        """Refuse values under which nothing could ever be read."""
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, found {self.attempts}")
        for name in ("base_delay_seconds", "max_delay_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        for name in ("connect_timeout_seconds", "read_timeout_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")

    def delay_seconds(self, failures: int, retry_after_seconds: float | None) -> float:
        """The wait after the given number of failures in a row: exponential, with full jitter.

        Args:
            failures: Failures so far, at least 1.
            retry_after_seconds: What the server asked for; never waited for longer than ``max_delay_seconds``.

        Returns:
            Seconds, drawn evenly between 0 and the bound (Brooker 2015, *Exponential Backoff And Jitter*), and no less
            than what the server asked for within the bound.
        """
        bound = min(self.max_delay_seconds, self.base_delay_seconds * 2.0 ** min(failures - 1, 30))
        jittered = bound * secrets.randbelow(1_000_001) / 1_000_000
        return max(jittered, min(retry_after_seconds or 0.0, self.max_delay_seconds))


class Body(Protocol):
    """One open connection that delivers a file from some offset on."""

    total_bytes: int | None
    """Size of the whole file, null if the server does not say."""
    version: str | None
    """The server's mark of the file's content (ETag), null if it gives none."""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, nothing at the end; raises ``TransientFailure`` when the connection breaks."""

    def close(self) -> None:
        """Let the connection go."""


Connect = Callable[[int, str | None], Body]
"""Opens a body at an offset, asking for the given version; raises ``TransientFailure`` or a ``SourceError``."""


class ResumingStream(io.RawIOBase):
    """A binary stream over connections that may break: it connects again at the byte it has reached.

    Holds no more than one read's worth of data. The number of bytes delivered is checked against the size the server
    announced: the stream ends only where the file does.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        policy: RetryPolicy,
        *,
        offset: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect at once, so that a missing file is reported where it is opened.

        Args:
            name: What to call the file in messages.
            connect: Opens one connection.
            policy: How failures are met.
            offset: First byte to deliver.
            sleep: Waits the given seconds; tests hand in their own.

        Raises:
            SourceError: The file is not there, or the source cannot be reached.
        """
        super().__init__()
        self._name = name
        self._connect = connect
        self._policy = policy
        self._sleep = sleep
        self._position = offset
        self._failures = 0
        self._progress_mark = offset
        self._total: int | None = None
        self._version: str | None = None
        self._delivered = False
        self._body: Body | None = None
        self._reconnect()

    @property
    def total_bytes(self) -> int | None:
        """Size of the whole file, null if the server does not say."""
        return self._total

    @property
    def version(self) -> str | None:
        """The server's mark of the file's content (ETag), null if it gives none."""
        return self._version

    def readable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """The offset in the file of the next byte."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes, or all that is left.

        Raises:
            TransferError: The file cannot be had whole: the connection kept breaking, or the file changed.
        """
        if size is None or size < 0:
            chunks = []
            while chunk := self.read(_READ_BYTES):
                chunks.append(chunk)
            return b"".join(chunks)
        if size == 0 or self._position == self._total:
            return b""
        while True:
            try:
                return self._read_once(size)
            except TransientFailure as failure:
                self._close_body()
                self._note(failure)
                self._reconnect()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; returns how many bytes were read, 0 at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let the connection go; closing twice does nothing."""
        self._close_body()
        super().close()

    def _read_once(self, size: int) -> bytes:
        if self._body is None:
            raise ValueError(f"read of a closed stream: {self._name}")
        data = self._body.read(size)
        if not data:
            if self._total is not None and self._position < self._total:
                raise TransientFailure(f"the connection ended at byte {self._position:,} of {self._total:,}")
            return b""
        self._position += len(data)
        if self._total is not None and self._position > self._total:
            raise TransferError(f"{self._name} is longer than the {self._total:,} bytes announced; try again later")
        self._delivered = True
        if self._position - self._progress_mark >= _PROGRESS_BYTES:
            self._failures, self._progress_mark = 0, self._position
        return data

    def _reconnect(self) -> None:
        while True:
            try:
                body = self._connect(self._position, self._version)
            except TransientFailure as failure:
                self._note(failure)
                continue
            self._body = body
            if self._version is not None and body.version is not None and body.version != self._version:
                self.close()
                raise TransferError(f"{self._name} changed while it was read; read it again from the start")
            self._total = body.total_bytes if body.total_bytes is not None else self._total
            self._version = body.version or self._version
            return

    def _note(self, failure: TransientFailure) -> None:
        """Count a failure and wait, or give up with the error that fits how far the transfer had come."""
        self._failures += 1
        if self._failures >= self._policy.attempts:
            self.close()
            message = f"{self._name}: {failure} ({self._failures} attempts)"
            if self._delivered:
                raise TransferError(f"{message}; the file arrived in part only, run this again later") from failure
            raise SourceUnreachable(f"{message}; is the address right and the network up?") from failure
        delay = self._policy.delay_seconds(self._failures, failure.retry_after_seconds)
        logger.warning("%s: %s; attempt %d in %.1f s", self._name, failure, self._failures + 1, delay)
        self._sleep(delay)

    def _close_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
