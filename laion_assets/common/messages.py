"""Telling somebody: a line of text to a webhook, as Slack takes it, or by e-mail.

Nothing is told before an address is set. What is secret in an address, and the password of the mail server, is in no
message, log line or error of ours.
"""

import json
import logging
import smtplib
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import BeforeValidator, SecretStr

from laion_assets.common.listed import listed

SETTINGS: Final = "LAION_ALERTS__WEBHOOK, or LAION_ALERTS__MAIL_TO and LAION_ALERTS__SMTP_HOST"
"""What has to be set before anybody is told."""

_SECONDS: Final = 8.0
"""For one answer of a receiver."""
_SECONDS_IN_ALL: Final = 20.0
"""For one message to one receiver: a sensor has a minute for all."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


_logger = logging.getLogger(__name__)


class NotDelivered(Exception):
    """A receiver did not take a message; the text says which one and why, and holds no secret."""


def _addresses(value: object) -> object:
    return listed(value, "e-mail addresses with commas between them, or a JSON list of them")


Addresses: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_addresses)]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertOptions:
    """Who is told of failed runs and checks, and how; nobody as delivered."""

    webhook: SecretStr | None = None
    """Address that `{"text": …}` is posted to, as Slack's incoming webhooks take it. All of it is secret."""
    mail_to: Addresses = ()
    """Addresses that are written to."""
    mail_from: str = ""
    """Address that is written from; empty: the first of `mail_to`."""
    smtp_host: str = ""
    """Mail server that takes the messages."""
    smtp_port: int = 587
    """Its port."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted: after STARTTLS, from its beginning (port 465, usually), or not at all."""
    smtp_user: str = ""
    """User at the mail server; empty: none is needed."""
    smtp_password: SecretStr | None = None
    """The user's password."""
    ui: str = ""
    """Address of the Dagster UI as those who are told reach it, for links; empty: runs are named by their ids."""

    def __post_init__(self) -> None:
        """Refuse what could tell nobody. No value is repeated: it may be secret."""
        for name, address in (("webhook", self.webhook_url), ("ui", self.ui)):
            if address and not _is_http(address):
                raise ValueError(f"{name}: expected https://host/… or http://host/…, without a user's name")
        if bool(self.mail_to) != bool(self.smtp_host):
            given, other = ("mail_to", "smtp_host") if self.mail_to else ("smtp_host", "mail_to")
            raise ValueError(f"{given} is set, and {other} is not: mail needs both")
        for address in (*self.mail_to, self.mail_from):
            if address and (not address.isprintable() or "@" not in address.strip("@") or " " in address):
                raise ValueError(f"mail_to, mail_from: expected e-mail addresses, found {address!r}")
        if not 0 < self.smtp_port < 65_536:
            raise ValueError(f"smtp_port: expected 1 to 65535, found {self.smtp_port}")
        if (self.smtp_password is not None) != bool(self.smtp_user):
            raise ValueError("smtp_user and smtp_password belong together")
        if self.smtp_user and self.smtp_security == "none" and self.smtp_host not in _LOOPBACK:
            raise ValueError("smtp_security: a password is sent over an encrypted connection only, found none")

    @property
    def webhook_url(self) -> str:
        """The address of the webhook; empty where there is none."""
        return "" if self.webhook is None else self.webhook.get_secret_value()


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False


@dataclass(frozen=True)
class Message:
    """What is told."""

    subject: str
    """All of it in a few words, one line."""
    lines: Sequence[str]
    """The rest."""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join([self.subject, *self.lines])


class Receiver(Protocol):
    """Somebody who can be told."""

    @property
    def name(self) -> str:
        """Which of them it is; the same at every start."""

    @property
    def shown(self) -> str:
        """Where it is, without secrets."""

    def send(self, message: Message) -> None:
        """Tell it.

        Raises:
            NotDelivered: it was not taken, or no answer came in time.
        """


def receivers(options: AlertOptions) -> list[Receiver]:
    """Who is to be told, as the settings say; none as delivered."""
    found: list[Receiver] = []
    if options.webhook_url:
        found.append(Webhook(options.webhook_url))
    if options.mail_to:
        found.append(Mail(options))
    return found


@dataclass(frozen=True, repr=False)
class Webhook:
    """An address that JSON is posted to (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks)."""

    url: str
    name: str = "webhook"

    @property
    def shown(self) -> str:
        """The host alone: the rest is what lets anybody post there."""
        return f"webhook at {urlsplit(self.url).hostname}"

    def send(self, message: Message) -> None:
        """Post it; see :class:`Receiver`."""
        _in_time(self.shown, lambda: self._post(message))

    def _post(self, message: Message) -> None:
        body = json.dumps({"text": _for_slack(message.text)}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "laion-lakehouse"}
        request = Request(self.url, body, headers)  # noqa: S310 - the options take http and https alone
        try:
            with build_opener(_NoRedirect).open(request, timeout=_SECONDS):
                return
        except HTTPError as error:
            error.close()
            raise NotDelivered(f"{self.shown} answered HTTP {error.code}") from None
        except (HTTPException, OSError, ValueError) as error:  # what it says may name the address
            reason = error.reason if isinstance(error, URLError) else error
            raise NotDelivered(f"{self.shown} cannot be reached ({type(reason).__name__})") from None


class _NoRedirect(HTTPRedirectHandler):
    """Follows none: the message would go to somebody whom nobody named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the answer counts as the error that it is here."""


def _for_slack(text: str) -> str:
    """The three characters that Slack reads as more than text, escaped as it asks: no name in it calls a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True, repr=False)
class Mail:
    """A mail server, and who is written to through it (RFC 5321)."""

    options: AlertOptions
    name: str = "mail"

    @property
    def shown(self) -> str:
        """Who is written to, and by which server."""
        return f"mail to {', '.join(self.options.mail_to)} by {self.options.smtp_host}:{self.options.smtp_port}"

    def send(self, message: Message) -> None:
        """Write it; see :class:`Receiver`."""
        _in_time(self.shown, lambda: self._write(_mail(message, self.options)))

    def _write(self, mail: EmailMessage) -> None:
        options = self.options
        try:
            with self._connected() as server:
                if options.smtp_security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if options.smtp_user and options.smtp_password is not None:
                    server.login(options.smtp_user, options.smtp_password.get_secret_value())
                refused = server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"{self.shown} is refused (SMTP {error.smtp_code})") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise NotDelivered(f"{self.shown}: no recipient is taken ({_codes(error.recipients)})") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise NotDelivered(f"{self.shown} cannot be reached ({type(error).__name__}: {error})") from None
        if refused:  # told again, it would reach the others twice
            _logger.error("%s: not taken for %s (%s)", self.shown, ", ".join(sorted(refused)), _codes(refused))

    def _connected(self) -> smtplib.SMTP:
        host, port = self.options.smtp_host, self.options.smtp_port
        if self.options.smtp_security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, timeout=_SECONDS)


def _codes(refused: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(sorted({f"SMTP {code}" for code, _ in refused.values()}))


def _mail(message: Message, options: AlertOptions) -> EmailMessage:
    mail = EmailMessage()
    sender = options.mail_from or options.mail_to[0]
    mail["Subject"] = " ".join(message.subject.split())[:200]
    mail["From"] = sender
    mail["To"] = ", ".join(options.mail_to)
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    mail.set_content(message.text)
    return mail


def _in_time(name: str, work: Callable[[], None]) -> None:
    """Do it, but wait no longer than a sensor can: a server that says a byte now and then would keep us for ever."""
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where somebody waits for it
            failed.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(_SECONDS_IN_ALL)
    if thread.is_alive():
        raise NotDelivered(f"{name} did not answer within {_SECONDS_IN_ALL:.0f} s")
    if failed:
        raise failed[0]
