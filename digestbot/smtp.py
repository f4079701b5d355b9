"""The only place that speaks SMTP: one connection to the relay, one message at a time.

relay.py connects, negotiates TLS and logs in; MAIL, RCPT and DATA are here, because it matters which replies came.
"""

from __future__ import annotations

import re
import smtplib
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from digestbot.quoted import Lines
from digestbot.relay import SmtpSettings, Timeouts, open_client
from digestbot.smtp_client import in_words
from digestbot.smtp_replies import Reply, Stage, Verdict, judge

GOODBYE_S = 5.0
LONGEST_ADDRESS_BYTES = 254  # RFC 5321, 4.5.3.1.3
PLAIN_ADDRESS = re.compile(
    r"[^\x00-\x20\x7f<>()\[\],;:\\\"@]+@[A-Za-z0-9.-]+"
)  # no quoting needed, so none is possible

_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")


class Mail(Protocol):
    """What is handed over: addresses without brackets, and the message with CRLF line ends. What is `Lines` is sent as
    it is; anything else is looked through and has its dots doubled, which takes 200 us."""

    @property
    def sender(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Handover:
    """What became of one message."""

    verdict: Verdict
    stage: Stage
    reply: Reply


class Connection:
    """One open connection to the relay, for one thread. After a handover with `is_open` False, open another."""

    def __init__(
        self,
        settings: SmtpSettings,
        timeouts: Timeouts | None = None,
        *,
        give_up: threading.Event | None = None,
    ) -> None:
        """Connects, secures, logs in. Raises ServerRefused; never speaks plain text where TLS was asked for.

        give_up: set, it ends the opening; what comes later is for `abort` to end.
        """
        self._timeouts = timeouts or Timeouts()
        self._where = settings.where
        self._smtp = open_client(settings, self._timeouts, give_up)
        self._extensions = self._smtp.esmtp_features  # by name in small letters
        self.size_limit_bytes = _size_limit(self._extensions)
        self.is_open = True
        self._hung_up = False
        self.delivered = 0  # messages accepted on this connection

    def hand_over(self, mail: Mail, envelope_id: str) -> Handover:
        """Sends one message to its one recipient. `envelope_id`: names the delivery in delivery reports (RFC 3461)."""
        refusal = self._check(mail)
        if refusal is not None:
            return refusal
        try:
            return self._transact(mail, envelope_id)
        except (OSError, smtplib.SMTPException) as error:
            self.abort()
            return Handover(Verdict.LOST, Stage.MAIL, self._lost("before the text was out", error))

    def close(self) -> None:
        """Says goodbye, without waiting long."""
        if self.is_open and self._smtp.sock is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._sock.settimeout(GOODBYE_S)
                self._smtp.reply_s = GOODBYE_S
                self._smtp.docmd("QUIT")
        self.abort()

    def hang_up(self) -> None:
        """For another thread: cuts the connection, though a reply may be awaited on it."""
        self._hung_up = True
        self.abort()

    def abort(self) -> None:
        """Cuts the connection; a thread that waits for a reply on it gets an error at once."""
        self.is_open = False
        sock = self._smtp.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._smtp.close()

    # ---- one transaction -------------------------------------------------------------------------------------------

    def _check(self, mail: Mail) -> Handover | None:
        """What must not or cannot be sent on this connection."""
        if not isinstance(mail.data, Lines) and not _is_crlf_only(mail.data):
            raise ValueError("a message must have CRLF line ends and nothing else of the kind")
        if not _is_plain(mail.sender) or not mail.sender.isascii():
            return Handover(
                Verdict.STOP, Stage.MAIL, Reply(0, "the envelope sender is no address to mail from")
            )
        if not _is_plain(mail.recipient):
            return Handover(Verdict.REFUSED, Stage.RCPT, Reply(0, "not an address that can be mailed"))
        if not mail.recipient.isascii() and "smtputf8" not in self._extensions:
            return Handover(Verdict.UNREACHABLE, Stage.RCPT, Reply(0, "the mail server lacks SMTPUTF8"))
        limit = self.size_limit_bytes
        if limit is not None and len(mail.data) > limit:
            return Handover(
                Verdict.TOO_BIG, Stage.MAIL, Reply(0, f"the mail server takes {limit} bytes at most")
            )
        return None

    def _transact(self, mail: Mail, envelope_id: str) -> Handover:
        self._smtp.reply_s = self._timeouts.command_s
        commands = [
            (Stage.MAIL, f"MAIL FROM:<{mail.sender}>{self._mail_parameters(mail, envelope_id)}"),
            (Stage.RCPT, f"RCPT TO:<{mail.recipient}>{self._rcpt_parameters(mail)}"),
            (Stage.DATA, "DATA"),
        ]
        refused = self._pipelined(commands) if "pipelining" in self._extensions else self._stepwise(commands)
        return refused or self._send_text(mail.data)

    def _stepwise(self, commands: list[tuple[Stage, str]]) -> Handover | None:
        """One command, one reply; None: the server waits for the text."""
        for stage, command in commands:
            self._send(command)
            reply = self._reply()
            if not _goes_on(stage, reply):
                return self._refused(stage, reply, reset=stage is not Stage.MAIL)
        return None

    def _pipelined(self, commands: list[tuple[Stage, str]]) -> Handover | None:
        """All three in one packet (RFC 2920): saves two round trips a message."""
        self._send("\r\n".join(command for _, command in commands))
        first: tuple[Stage, Reply] | None = None
        for stage, _ in commands:
            reply = self._reply()
            if first is None and not _goes_on(stage, reply):
                first = stage, reply
            if reply.code == 421:
                break
        if first is None:
            return None
        if reply.code == 354:  # it took DATA without a recipient: end the empty text, which goes nowhere
            self._send(".")
            self._reply()
        return self._refused(*first, reset=False)

    def _refused(self, stage: Stage, reply: Reply, *, reset: bool) -> Handover:
        verdict = judge(stage, reply)
        if verdict is Verdict.ACCEPTED:  # 2xx where 354 was due
            verdict = Verdict.LOST
        if verdict in (Verdict.CLOSING, Verdict.LOST):
            self.abort()
        elif reset:
            self._send("RSET")
            self._reply()
        return Handover(verdict, stage, reply)

    def _send_text(self, data: bytes) -> Handover:
        # An error here means that the final dot, which goes last, did not get out: nothing is in doubt.
        self._sock.sendall((data if isinstance(data, Lines) else _dot_stuffed(data)) + b".\r\n")
        try:
            self._smtp.reply_s = self._timeouts.text_s
            reply = self._reply()
        except (OSError, smtplib.SMTPException) as error:
            self.abort()
            return Handover(Verdict.DOUBT, Stage.TEXT, self._lost("after the text was out", error))
        verdict = judge(Stage.TEXT, reply)
        if verdict is Verdict.ACCEPTED:
            self.delivered += 1
        elif verdict in (Verdict.CLOSING, Verdict.DOUBT):
            self.abort()
        return Handover(verdict, Stage.TEXT, reply)

    def _mail_parameters(self, mail: Mail, envelope_id: str) -> str:
        parameters = ""
        if "size" in self._extensions:
            parameters += f" SIZE={len(mail.data)}"
        if not mail.data.isascii() and "8bitmime" in self._extensions:
            parameters += " BODY=8BITMIME"
        if not mail.recipient.isascii():
            parameters += " SMTPUTF8"
        if "dsn" in self._extensions:
            parameters += f" RET=HDRS ENVID={_xtext(envelope_id)[:100]}"
        return parameters

    def _rcpt_parameters(self, mail: Mail) -> str:
        if "dsn" not in self._extensions:
            return ""
        kind = "rfc822" if mail.recipient.isascii() else "utf-8"  # RFC 6533 3
        address = _xtext(mail.recipient) if mail.recipient.isascii() else mail.recipient
        return f" NOTIFY=FAILURE ORCPT={kind};{address}"

    # ---- lines ---------------------------------------------------------------------------------------------------

    @property
    def _sock(self) -> socket.socket:
        """Another thread may hang up at any moment, and then there is none."""
        sock: socket.socket | None = self._smtp.sock
        if sock is None:
            raise smtplib.SMTPServerDisconnected("it is not connected")
        return sock

    def _send(self, command: str) -> None:
        self._sock.sendall(command.encode() + b"\r\n")

    def _reply(self) -> Reply:
        return _read_reply(*self._smtp.getreply())

    def _lost(self, when: str, error: Exception) -> Reply:
        why = "digestbot was told to end" if self._hung_up else in_words(error)
        return Reply(0, f"{self._where} lost {when}: {why}")


@lru_cache(100)
def _read_reply(code: int, text: bytes) -> Reply:
    """Three of a message's four replies are those of the message before."""
    return Reply(max(code, 0), text.decode(errors="replace"))


def _size_limit(extensions: Mapping[str, str]) -> int | None:
    """The largest message the server says it takes (RFC 1870); None: it does not say."""
    size = next(iter(extensions.get("size", "").split()), "")
    return int(size) or None if size.isdecimal() and len(size) <= 20 else None  # RFC 1870 3: 20 digits


def _is_plain(address: str) -> bool:
    return PLAIN_ADDRESS.fullmatch(address) is not None and len(address.encode()) <= LONGEST_ADDRESS_BYTES


def _is_crlf_only(data: bytes) -> bool:
    """Whether all lines end in CRLF and neither CR nor LF stands alone."""
    lines = data.count(b"\r\n")
    return data.count(b"\r") == lines == data.count(b"\n") and data.endswith(b"\r\n")


def _dot_stuffed(data: bytes) -> bytes:
    """A dot more where a line begins with one (RFC 5321 4.5.2)."""
    data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data.startswith(b".") else data


def _goes_on(stage: Stage, reply: Reply) -> bool:
    return reply.code == 354 if stage is Stage.DATA else reply.code // 100 == 2


def _xtext(text: str) -> str:
    """RFC 3461 4: printable ASCII but for + and =, the rest as +XX."""
    return _NOT_XTEXT.sub(lambda match: f"+{ord(match[0]):02X}", text)
