"""smtplib's client, which a server can neither keep for ever nor fill up, and whose errors are in words."""

from __future__ import annotations

import smtplib
import ssl
import threading
import time
from contextlib import suppress

REPLY_BYTES = 65_536  # of one reply; RFC 5321, 4.5.3.1.5: a line has 512 at most
LOOK_S = 0.5  # between two looks at `give_up`


class Client(smtplib.SMTP):
    """`getreply` gives a whole reply `reply_s` seconds, however the server spreads it.

    give_up: waiting ends as soon as it is set.
    """

    def __init__(
        self,
        host: str,
        port: int,
        own_name: str,
        *,
        connect_s: float,
        reply_s: float,
        give_up: threading.Event | None = None,
        **tls: ssl.SSLContext,
    ) -> None:
        self.reply_s, self.give_up = reply_s, give_up
        self._wait_s = reply_s  # the socket's own: another reply_s costs no call to the system
        self._received = b""
        try:
            super().__init__(host, port, own_name, timeout=connect_s, **tls)  # type: ignore[arg-type]
        except BaseException:
            self.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """The code, -1 for what is none, and the text. Raises OSError or SMTPServerDisconnected."""
        deadline = time.monotonic() + self.reply_s
        texts: list[bytes] = []
        while True:
            line = self._line(deadline, REPLY_BYTES - sum(map(len, texts)))
            if not line[:3].isdigit():
                return -1, b"not an SMTP reply: " + line.strip()
            texts.append(line[4:].strip(b" \t\r\n"))
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(texts)

    def secure(self, context: ssl.SSLContext) -> tuple[int, bytes]:
        """STARTTLS."""
        answer = self.starttls(context=context)
        self._received = b""  # what was sent along in plain text is not to be taken for a reply under TLS
        return answer

    def _line(self, deadline: float, room: int) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > room:
                raise smtplib.SMTPServerDisconnected("its reply has no end")
            self._received += self._receive(deadline)
        line, end, self._received = self._received.partition(b"\n")
        return line + end

    def _receive(self, deadline: float) -> bytes:
        sock = self.sock  # another thread may hang up meanwhile, and then it is None
        if sock is None:
            raise smtplib.SMTPServerDisconnected("it is not connected")
        while (left := deadline - time.monotonic()) > 0:
            if self.give_up is not None and self.give_up.is_set():
                raise InterruptedError("given up")
            is_short = (
                self.give_up is not None or left < 0.9 * self._wait_s
            )  # else the socket's own time will do
            if is_short:
                sock.settimeout(left if self.give_up is None else min(left, LOOK_S))
            try:
                received = sock.recv(4096)
            except TimeoutError:
                continue
            finally:
                if is_short:
                    with suppress(OSError):  # it was hung up
                        sock.settimeout(self._wait_s)
            if not received:
                raise smtplib.SMTPServerDisconnected("it closed the connection")
            return received
        raise TimeoutError(f"no reply within {self.reply_s:g} s")


class TlsClient(Client, smtplib.SMTP_SSL):
    """Under TLS from the first byte (RFC 8314)."""


def in_words(error: Exception) -> str:
    """What went wrong, without numbers and names of errors."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
