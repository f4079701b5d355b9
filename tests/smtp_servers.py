"""Real SMTP servers on loopback sockets: one that records byte for byte, and misbehaves exactly where a test says so."""

from __future__ import annotations

import datetime
import enum
import ipaddress
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ALL_FEATURES = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")


class Misbehave(enum.Enum):
    DROP = "close the connection without a word"
    HANG = "say nothing until the client goes away"


Answer = str | Misbehave | None  # None: what a good server says
Script = Callable[[str, str], Answer]  # (stage, argument) -> answer


@dataclass(frozen=True)
class Received:
    """A message the server holds. data: as a parsing server understands it, without the doubled dots."""

    sender: str
    recipient: str
    mail_parameters: str
    rcpt_parameters: str
    data: bytes
    encrypted: bool


class SmtpServer:
    """Stages: connect, ehlo, starttls, auth, mail, rcpt, data, text; the argument of `text` is the recipient.

    A message counts as held unless the answer to its text is a refusal; with DROP or HANG the server holds it.
    """

    def __init__(
        self,
        script: Script = lambda stage, argument: None,
        *,
        features: tuple[str, ...] = ALL_FEATURES,
        certificate: Path | None = None,
        tls_from_start: bool = False,
        users: dict[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.script, self.features, self.users = script, features, users or {}
        self.messages: list[Received] = []
        self.commands: list[str] = []  # as they came, in the order of all connections
        self.clear_text = bytearray()  # all that came outside of TLS
        self.connections = 0
        self._tls_from_start = tls_from_start
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> SmtpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, scheme: str = "smtp", login: str = "") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As if the process died: no connection gets a further word."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def recipients(self) -> list[str]:
        return sorted(message.recipient for message in self.messages)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # replies to pipelined commands at once
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Session(self, connection).run()
        except (_Gone, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def record(self, message: Received) -> None:
        with self._lock:
            self.messages.append(message)

    def heard(self, line: str) -> None:
        with self._lock:
            self.commands.append(line)


class _Gone(Exception):
    pass


class _Session:
    """One connection."""

    def __init__(self, server: SmtpServer, connection: socket.socket) -> None:
        self.server, self.socket = server, connection
        self.buffer = b""
        self.encrypted = False
        self.sender = self.recipient = self.mail_parameters = self.rcpt_parameters = ""

    def run(self) -> None:
        if self.server._tls_from_start:
            self._secure()
        if not self._say("connect", "", "220 test.example ESMTP").startswith("2"):
            return
        while True:
            line = self._line()
            self.server.heard(line)
            verb, _, argument = line.partition(" ")
            if verb.upper() == "QUIT":
                self._send("221 2.0.0 bye")
                return
            getattr(self, "do_" + verb.lower(), self._unknown)(argument)

    def do_ehlo(self, argument: str) -> None:
        features = list(self.server.features)
        if self.server._context and not self.encrypted:
            features.append("STARTTLS")
        if self.server.users:
            features.append("AUTH PLAIN")
        lines = ["test.example", *features]
        good = "\r\n".join(f"250{'-' if n < len(lines) - 1 else ' '}{line}" for n, line in enumerate(lines))
        self._say("ehlo", argument, good)

    def do_helo(self, argument: str) -> None:
        self._say("ehlo", argument, "250 test.example")

    def do_starttls(self, argument: str) -> None:
        if self._say("starttls", argument, "220 2.0.0 go ahead").startswith("2"):
            self._secure()

    def do_auth(self, argument: str) -> None:
        _, user, password = b64decode(argument.split()[-1]).decode().split("\0")
        good = self.server.users.get(user) == password
        self._say("auth", argument, "235 2.7.0 welcome" if good else "535 5.7.8 wrong user or password")

    def do_mail(self, argument: str) -> None:
        self.sender, _, self.mail_parameters = argument.removeprefix("FROM:<").partition(">")
        if not self._say("mail", argument, "250 2.1.0 ok").startswith("2"):
            self.sender = ""

    def do_rcpt(self, argument: str) -> None:
        self.recipient, _, self.rcpt_parameters = argument.removeprefix("TO:<").partition(">")
        if not self.sender:
            self.recipient = ""
            self._send("503 5.5.1 MAIL first")
        elif not self._say("rcpt", self.recipient, "250 2.1.5 ok").startswith("2"):
            self.recipient = ""

    def do_data(self, argument: str) -> None:
        if not self.recipient:
            self._send("554 5.5.1 no valid recipients")
            return
        if not self._say("data", self.recipient, "354 end with a dot").startswith("354"):
            return
        data = self._text()
        message = Received(
            self.sender,
            self.recipient,
            self.mail_parameters.strip(),
            self.rcpt_parameters.strip(),
            data,
            self.encrypted,
        )
        self.sender = self.recipient = ""
        answer = self.server.script("text", message.recipient)
        if answer is None or isinstance(answer, Misbehave) or answer.startswith("2"):
            self.server.record(message)
        self._give(answer, "250 2.0.0 queued")

    def do_rset(self, argument: str) -> None:
        self.sender = self.recipient = ""
        self._send("250 2.0.0 ok")

    def _unknown(self, argument: str) -> None:
        self._send("502 5.5.2 what?")

    def _secure(self) -> None:
        assert self.server._context is not None
        secured = self.server._context.wrap_socket(self.socket, server_side=True)
        self.socket, self.encrypted, self.buffer = secured, True, b""

    def _say(self, stage: str, argument: str, good: str) -> str:
        return self._give(self.server.script(stage, argument), good)

    def _give(self, answer: Answer, good: str) -> str:
        """Sends the answer; returns what was said."""
        if answer is Misbehave.DROP:
            raise _Gone
        if answer is Misbehave.HANG:
            while self.socket.recv(65536):
                pass
            raise _Gone
        said = good if answer is None else str(answer)
        self._send(said)
        if said.startswith("421"):
            raise _Gone
        return said

    def _send(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\r\n")

    def _line(self) -> str:
        return self._raw_line().decode().removesuffix("\r\n")

    def _text(self) -> bytes:
        """Up to the line that is one dot, lines without their doubled dots (RFC 5321 4.5.2)."""
        got, looked_at = bytearray(b"\r\n" + self.buffer), 0
        while (end := got.find(b"\r\n.\r\n", looked_at)) < 0:
            looked_at = max(0, len(got) - 4)
            got += self._receive()
        self.buffer = bytes(got[end + 5 :])
        return bytes(got[: end + 2].replace(b"\r\n.", b"\r\n")[2:])

    def _receive(self) -> bytes:
        received = self.socket.recv(65536)
        if not received:
            raise _Gone
        if not self.encrypted:
            self.server.clear_text += received
        return received

    def _raw_line(self) -> bytes:
        """Up to CRLF; a bare CR or LF ends nothing here."""
        while b"\r\n" not in self.buffer:
            self.buffer += self._receive()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line + b"\r\n"


def make_certificate(folder: Path, name: str = "127.0.0.1") -> Path:
    """A self-signed certificate with its key in one PEM file; valid for `name` alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = (
        [x509.IPAddress(ipaddress.ip_address(name))] if name[0].isdigit() else [x509.DNSName(name)]
    )
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
