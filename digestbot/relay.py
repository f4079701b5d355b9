"""The mail server that takes our mails: where it is, and the way to it, secured and logged in, through smtplib."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import unquote, urlsplit

from digestbot.errors import DeliveryStopped, UsageError
from digestbot.smtp_client import Client, TlsClient, in_words
from digestbot.smtp_replies import Reply, Stage

DEFAULT_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The relay. scheme: smtp, smtp+starttls or smtps."""

    host: str
    port: int
    scheme: str = "smtp"
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> SmtpSettings:
        """Raises UsageError, whose message holds no secret."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise UsageError("the SMTP URL has no valid host and port") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise UsageError("the SMTP URL must be smtp://, smtp+starttls:// or smtps://, then host and port")
        user, password = (
            None if text is None else unquote(text) for text in (parts.username, parts.password)
        )
        return cls(parts.hostname, port or DEFAULT_PORTS[parts.scheme], parts.scheme, user, password)

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for replies, in seconds (RFC 5321 4.5.3.2)."""

    connect_s: float = 60
    command_s: float = 300
    text_s: float = 600  # the reply to the final dot: giving up early makes doubles


class ServerRefused(DeliveryStopped):
    """The relay cannot be used: refused, or not to be trusted, at `stage`."""

    def __init__(self, relay: SmtpSettings, stage: Stage, reply: Reply) -> None:
        self.relay, self.stage, self.reply = relay, stage, reply
        how = f"refused at {stage}" if reply.code else f"cannot be used ({stage})"
        super().__init__(f"the mail server {relay.where} {how}: {reply.line}")

    def __reduce__(self) -> tuple[type[ServerRefused], tuple[SmtpSettings, Stage, Reply]]:
        """Can be handed to another process."""
        return ServerRefused, (self.relay, self.stage, self.reply)


def open_client(settings: SmtpSettings, timeouts: Timeouts, give_up: threading.Event | None) -> Client:
    """Connected, secured and logged in, or ServerRefused is raised."""
    stage = Stage.CONNECT
    smtp: Client | None = None
    try:
        smtp = _connect(settings, timeouts, give_up)
        assert smtp.sock is not None
        stage = Stage.EHLO
        _require(*smtp.ehlo())
        if settings.scheme == "smtp+starttls":
            stage = Stage.TLS
            _require(*smtp.secure(_tls()))
            stage = Stage.EHLO
            _require(*smtp.ehlo())
        if settings.user is not None:
            stage = Stage.AUTH
            smtp.login(settings.user, settings.password or "")
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        smtp.sock.settimeout(timeouts.command_s)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        if smtp is not None:
            smtp.close()
        stage = Stage.TLS if isinstance(error, ssl.SSLError) else stage
        raise ServerRefused(settings, stage, _reply_of(error)) from error
    smtp.give_up = None
    return smtp


def _connect(settings: SmtpSettings, timeouts: Timeouts, give_up: threading.Event | None) -> Client:
    kind, tls = (TlsClient, {"context": _tls()}) if settings.scheme == "smtps" else (Client, {})
    return kind(
        settings.host,
        settings.port,
        _own_name(),
        connect_s=timeouts.connect_s,
        reply_s=timeouts.command_s,
        give_up=give_up,
        **tls,
    )


def _require(code: int, text: bytes) -> None:
    if code // 100 != 2:
        raise smtplib.SMTPResponseException(code, text)


def _reply_of(error: Exception) -> Reply:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return Reply(
            max(error.smtp_code, 0), text.decode(errors="replace") if isinstance(text, bytes) else text
        )
    if isinstance(error, UnicodeError):  # its text would show the password
        return Reply(0, "user or password hold characters that AUTH cannot carry")
    return Reply(0, in_words(error))


def _tls() -> ssl.SSLContext:
    """Verifies certificate and name; OpenSSL honours SSL_CERT_FILE here."""
    return ssl.create_default_context()


@cache
def _own_name() -> str:
    """What EHLO says: this host's full name, else its address as a literal (RFC 5321 4.1.4)."""
    name = socket.getfqdn()
    if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name) and not name.startswith("localhost"):
        return name
    try:
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    except OSError:
        return "[127.0.0.1]"
