"""Telling somebody: what a webhook and a mail server get, what of their failures is said, and what never is."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from laion_assets.cli.common import UsageError
from laion_assets.cli.main import app
from laion_assets.common import messages
from laion_assets.common.messages import AlertOptions, Message, NotDelivered, receivers
from laion_assets.orchestration.execution.executors import sent_to_ray
from laion_assets.settings import Settings, SettingsError, load_settings
from tests.receivers import Received, certificate_of_loopback, mail_server, webhook

MESSAGE = Message("laion: 1 failed (lake)", ["• images [crawl=CC-1/bucket=0]: <!channel> a & b"])


def send(**options: Any) -> None:
    for receiver in receivers(AlertOptions(**options)):
        receiver.send(MESSAGE)


def mailing(port: int, **options: Any) -> dict[str, Any]:
    usual = {"mail_to": ("a@example.org", "b@example.org"), "smtp_host": "127.0.0.1", "smtp_port": port}
    return {**usual, "smtp_security": "none", **options}


def test_nobody_is_told_before_somebody_is_named() -> None:
    assert receivers(AlertOptions()) == []


def test_a_webhook_gets_the_text_in_which_no_name_calls_a_channel() -> None:
    received = Received()
    with webhook(received) as url:
        send(webhook=SecretStr(url))
    assert received.texts == [
        "laion: 1 failed (lake)\n• images [crawl=CC-1/bucket=0]: &lt;!channel&gt; a &amp; b",
    ]


@pytest.mark.parametrize("status", [302, 400, 403, 404, 429, 500, 503])
def test_a_webhook_that_does_not_take_it_is_told_without_its_secret(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    received = Received(status=status)
    with webhook(received) as url, pytest.raises(NotDelivered, match=f"webhook at 127.0.0.1 answered HTTP {status}"):
        send(webhook=SecretStr(url))
    assert received.asked == 1, "no redirect is followed"
    assert "s3cr3t" not in caplog.text


def test_a_webhook_that_is_not_there_is_told_without_its_secret() -> None:
    with webhook(Received()) as url:
        pass
    with pytest.raises(NotDelivered) as error:
        send(webhook=SecretStr(url))
    assert str(error.value) == "webhook at 127.0.0.1 cannot be reached (ConnectionRefusedError)"
    assert error.value.__cause__ is None


def test_a_receiver_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_SECONDS_IN_ALL", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(NotDelivered, match="did not answer within"):
            send(webhook=SecretStr(f"http://127.0.0.1:{port}/"))
        with pytest.raises(NotDelivered, match="did not answer within"):
            send(**mailing(port))


def test_a_mail_says_what_the_webhook_gets() -> None:
    received = Received()
    with mail_server(received) as port:
        send(**mailing(port, mail_from="lake@example.org"))
    [mail] = received.mails
    assert (mail["Subject"], mail["From"]) == ("laion: 1 failed (lake)", "lake@example.org")
    assert mail["To"] == "a@example.org, b@example.org"
    assert mail.get_content().replace("\r\n", "\n") == f"{MESSAGE.text}\n"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_password_goes_over_an_encrypted_connection(
    tls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_of_loopback(tmp_path / "certificate.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    received = Received()
    with mail_server(received, tls=tls, password="open sesame", certificate=certificate) as port:
        send(**mailing(port, smtp_security=tls, smtp_user="lake", smtp_password=SecretStr("open sesame")))
    assert (received.encrypted, received.logins) == ([True], [("lake", "open sesame")])


def test_a_wrong_password_is_not_repeated_even_if_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_of_loopback(tmp_path / "certificate.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with (
        mail_server(Received(), tls="starttls", password="right", certificate=certificate) as port,
        pytest.raises(NotDelivered, match=r"is refused \(SMTP 535\)") as error,
    ):
        send(**mailing(port, smtp_security="starttls", smtp_user="lake", smtp_password=SecretStr("s3cr3t")))
    assert "s3cr3t" not in str(error.value)


def test_nothing_is_written_where_the_connection_would_be_open_or_to_somebody_else(tmp_path: Path) -> None:
    certificate = certificate_of_loopback(tmp_path / "certificate.pem")
    received = Received()
    with mail_server(received) as port, pytest.raises(NotDelivered):
        send(**mailing(port, smtp_security="starttls"))
    with mail_server(received, tls="starttls", certificate=certificate) as port, pytest.raises(NotDelivered):
        send(**mailing(port, smtp_security="starttls"))  # nobody vouches for it
    assert received.mails == []


def test_a_mail_that_one_of_two_gets_is_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    received = Received(refused=frozenset({"b@example.org"}))
    with mail_server(received) as port:
        send(**mailing(port))
        assert "not taken for b@example.org (SMTP 550)" in caplog.text
        received.refused = frozenset({"example.org"})
        with pytest.raises(NotDelivered, match="no recipient is taken"):
            send(**mailing(port))
    assert len(received.mails) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"WEBHOOK": "ftp://s3cr3t"}, "webhook: expected https://"),
        ({"WEBHOOK": "s3cr3t"}, "webhook: expected https://"),
        ({"WEBHOOK": "https://user:s3cr3t@host/x"}, "webhook: expected https://"),
        ({"WEBHOOK": "http://host:s3cr3t/x"}, "webhook: expected https://"),
        ({"UI": "host:3000"}, "ui: expected https://"),
        ({"MAIL_TO": "a@example.org"}, "mail_to is set, and smtp_host is not"),
        ({"SMTP_HOST": "mail"}, "smtp_host is set, and mail_to is not"),
        ({"MAIL_TO": "nobody", "SMTP_HOST": "mail"}, "expected e-mail addresses, found 'nobody'"),
        ({"MAIL_TO": '["a@b"', "SMTP_HOST": "mail"}, "expected e-mail addresses with commas"),
        ({"MAIL_TO": "a@b", "SMTP_HOST": "mail", "SMTP_USER": "u"}, "smtp_user and smtp_password belong together"),
        (
            {"MAIL_TO": "a@b", "SMTP_HOST": "m", "SMTP_USER": "u", "SMTP_PASSWORD": "s3cr3t", "SMTP_SECURITY": "none"},
            "over an encrypted connection only",
        ),
        ({"SMTP_PORT": "0"}, "smtp_port: expected 1 to 65535"),
    ],
)
def test_settings_that_could_tell_nobody_are_refused_without_a_secret(
    options: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    for name, value in options.items():
        monkeypatch.setenv(f"LAION_ALERTS__{name}", value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert "LAION_ALERTS" in str(error.value)
    assert told in str(error.value)
    assert "s3cr3t" not in str(error.value)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    for name, value in {
        "WEBHOOK": "https://host/s3cr3t",
        "MAIL_TO": "a@example.org, b@example.org",
        "SMTP_HOST": "mail",
        "SMTP_USER": "u",
        "SMTP_PASSWORD": "s3cr3t",
    }.items():
        monkeypatch.setenv(f"LAION_ALERTS__{name}", value)


@pytest.mark.usefixtures("configured")
def test_secrets_are_in_no_text_of_the_settings_and_do_not_go_to_a_cluster() -> None:
    settings = load_settings()
    assert settings.alerts.mail_to == ("a@example.org", "b@example.org")
    assert settings.alerts.webhook_url == "https://host/s3cr3t"
    texts = [repr(settings), str(settings.model_dump()), settings.model_dump_json(), *sent_to_ray(settings)]
    texts += [text for receiver in receivers(settings.alerts) for text in (receiver.shown, repr(receiver))]
    assert not [text for text in texts if "s3cr3t" in text]


def test_a_trial_message_reaches_everybody_and_says_who_was_not_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    ran = CliRunner().invoke(app, ["alerts", "test"])
    assert isinstance(ran.exception, UsageError)
    assert "set LAION_ALERTS__WEBHOOK, or LAION_ALERTS__MAIL_TO" in str(ran.exception)
    received = Received()
    with webhook(received) as url, mail_server(received) as port:
        monkeypatch.setenv("LAION_ALERTS__WEBHOOK", url)
        for name, value in {"MAIL_TO": "a@example.org", "SMTP_HOST": "127.0.0.1", "SMTP_SECURITY": "none"}.items():
            monkeypatch.setenv(f"LAION_ALERTS__{name}", value)
        monkeypatch.setenv("LAION_ALERTS__SMTP_PORT", str(port))
        ran = CliRunner().invoke(app, ["alerts", "test"])
        assert (ran.exit_code, len(received.texts), len(received.mails)) == (0, 1, 1)
        assert "webhook at 127.0.0.1: a trial message was sent" in ran.output
        received.status = 403
        ran = CliRunner().invoke(app, ["alerts", "test"])
        assert (ran.exit_code, len(received.mails)) == (1, 2)
        assert "s3cr3t" not in ran.output


def test_defaults_are_those_of_a_settings_object(tmp_path: Path) -> None:
    assert Settings(_env_file=None, lake=str(tmp_path)).alerts == AlertOptions()  # type: ignore[call-arg]
