"""The mail server: can it be reached, is the line safe, does it let us in, what does it take."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from digestbot.doctor.finding import Finding, fail, ok, warn
from digestbot.relay import ServerRefused, SmtpSettings, Timeouts
from digestbot.settings import Settings
from digestbot.smtp import Connection
from digestbot.smtp_replies import Stage

CHECK = "mail server"
PATIENCE = Timeouts(connect_s=10, command_s=20, text_s=20)
PROBE_S = 3.0
PORTS = (25, 465, 587, 2525)  # where mail servers listen
SMALL_BYTES = (
    512 * 1024
)  # a full digest is up to 80 KiB of HTML, three times that where letters need escapes, and text


def check_relay(settings: Settings) -> Iterator[Finding]:
    server = SmtpSettings.from_url(settings.smtp_url)
    where = f"{server.scheme}://{server.host}:{server.port}"
    try:
        connection = Connection(server, PATIENCE)
    except ServerRefused as error:
        yield fail(CHECK, f"{where}: {error.stage}: {error.reply.line}", _advice(server, error))
        return
    try:
        login = "without login" if server.user is None else "login accepted"
        yield ok(CHECK, f"{where}: answers, {login}")
        yield from _size(connection.size_limit_bytes)
        yield from _privacy(server)
    finally:
        connection.close()


def _size(limit: int | None) -> Iterator[Finding]:
    if limit is not None and limit < SMALL_BYTES:
        said = f"takes messages of {limit:,} bytes at most"
        yield warn(
            "message size", said, "raise its limit (Postfix: message_size_limit), or lower --max-papers"
        )


def _privacy(server: SmtpSettings) -> Iterator[Finding]:
    if server.scheme != "smtp" or server.is_loopback:
        return
    if server.user is not None:
        said = "user and password travel in plain text"
        yield fail("encryption", said, "DIGESTBOT_SMTP_URL: use smtp+starttls:// or smtps://")
    else:
        yield warn(
            "encryption", "mails travel in plain text", "DIGESTBOT_SMTP_URL: use smtp+starttls:// or smtps://"
        )


def _advice(server: SmtpSettings, error: ServerRefused) -> str:
    if error.stage is Stage.CONNECT and not error.reply.code:
        return _about_connecting(server, error)
    if error.stage is Stage.TLS:
        return _about_tls(server, error)
    if error.stage is Stage.AUTH and not error.reply.code and "not supported" in error.reply.text:
        return (
            "DIGESTBOT_SMTP_URL: this server takes no login here: use smtp+starttls:// or smtps://,"
            " or leave user and password out"
        )
    if error.stage is Stage.AUTH:
        return (
            "DIGESTBOT_SMTP_URL: check user and password (special characters percent-encoded: @ is %40, / is %2F);"
            " some providers want an app password"
        )
    return "ask whoever runs the mail server why it refuses this machine"


def _about_tls(server: SmtpSettings, error: ServerRefused) -> str:
    if "certificate" in error.reply.text:
        return "use the name that its certificate is for; for an authority of your own name its file in SSL_CERT_FILE"
    if server.scheme == "smtps":
        return "this port does not begin with TLS: try smtp+starttls://, mostly on port 587"
    return "the server offers no STARTTLS here: try smtps://, mostly on port 465, or port 587"


def _about_connecting(server: SmtpSettings, error: ServerRefused) -> str:
    cause = error.__cause__
    if isinstance(cause, socket.gaierror):
        return "DIGESTBOT_SMTP_URL: the host's name is not known; check its spelling and this machine's DNS"
    if isinstance(cause, smtplib.SMTPException) or "no reply" in error.reply.text:
        return "something listens there, but not for mails in this way: look at the port; 465 mostly wants smtps://"
    if isinstance(cause, ConnectionRefusedError) and server.is_loopback:
        return f"nothing listens on port {server.port} of this machine: start a mail server, or set DIGESTBOT_SMTP_URL"
    others = [port for port in open_ports(server.host) if port != server.port]
    if others:
        named = " and ".join(map(str, others))
        return (
            f"port {server.port} is blocked or closed, but {named} of the same host can be reached: try"
            f" {_usual_url(others, server.host)}"
        )
    blocked = "; many providers block port 25 for good" if server.port == 25 else ""
    return f"no mail port of {server.host} can be reached from here: a firewall on the way?{blocked}"


def _usual_url(ports: Sequence[int], host: str) -> str:
    """How one speaks on the best of the ports: with STARTTLS, but for 465 (RFC 8314 3.3)."""
    best = next((port for port in (587, 465) if port in ports), ports[0])
    return f"{'smtps' if best == 465 else 'smtp+starttls'}://USER:PASSWORD@{host}:{best}"


def open_ports(host: str, ports: tuple[int, ...] = PORTS) -> list[int]:
    """Those of the ports that take a connection within three seconds."""

    def is_open(port: int) -> bool:
        try:
            with socket.create_connection((host, port), timeout=PROBE_S):
                return True
        except OSError:
            return False

    with ThreadPoolExecutor(len(ports)) as pool:
        return [port for port, found in zip(ports, pool.map(is_open, ports), strict=True) if found]
