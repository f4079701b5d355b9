"""The demo's mail server, spoken to by smtplib, by digestbot's own SMTP and by clients that mean no good."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot import mailbox as module
from digestbot.mailbox import MailboxServer, Received
from digestbot.relay import SmtpSettings
from digestbot.smtp import Connection
from digestbot.smtp_replies import Verdict

TEXT = b"Subject: hi\r\n\r\nbody\r\n"


@pytest.fixture
def mailbox() -> Iterator[MailboxServer]:
    with MailboxServer() as running:
        yield running


class Client:
    """A bare client: bytes out, replies in."""

    def __init__(self, mailbox: MailboxServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", mailbox.port), timeout=10)
        self.file = self.socket.makefile("rb")
        assert self.reply() == 220

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> int:
        """The code of the next reply; 0: the server hung up."""
        while (line := self.file.readline())[3:4] == b"-":
            pass
        return int(line[:3] or 0)

    def say(self, *commands: bytes) -> list[int]:
        """Sends the commands in one packet; the reply to each."""
        self.send(b"".join(command + b"\r\n" for command in commands))
        return [self.reply() for _ in commands]

    def begin_text(self) -> None:
        codes = self.say(
            b"EHLO me.example", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.org>", b"DATA"
        )
        assert codes == [250, 250, 250, 354]


@dataclass(frozen=True)
class Letter:
    sender: str
    recipient: str
    data: bytes


def test_smtplib_delivers_and_the_envelope_is_kept(mailbox: MailboxServer) -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.port, local_hostname="me.example") as client:
        client.ehlo()
        assert {"pipelining", "size", "8bitmime", "smtputf8", "enhancedstatuscodes"} <= set(
            client.esmtp_features
        )
        client.sendmail("a@example.org", ["b@example.org", "c@example.org"], TEXT)
        client.sendmail("a@example.org", ["d@example.org"], b"Subject: 2\r\n\r\n")
    assert mailbox.mails == (
        Received("a@example.org", ("b@example.org", "c@example.org"), TEXT),
        Received("a@example.org", ("d@example.org",), b"Subject: 2\r\n\r\n"),
    )


@given(
    lines=st.lists(
        st.binary(max_size=60).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"")), max_size=8
    )
)
@settings(max_examples=40)
def test_every_byte_arrives_as_our_own_smtp_sent_it(lines: list[bytes]) -> None:
    data = b"".join(line + b"\r\n" for line in [b"", *lines, b".", b"..", b".x"])
    with MailboxServer() as mailbox:
        connection = Connection(SmtpSettings.from_url(mailbox.url))
        handover = connection.hand_over(Letter("a@example.org", "b@example.org", data), "1")
        connection.close()
        assert handover.verdict is Verdict.ACCEPTED
        assert mailbox.mails == (Received("a@example.org", ("b@example.org",), data),)


def test_on_mail_hears_of_each_mail_before_the_reply() -> None:
    heard: list[Received] = []
    with MailboxServer(on_mail=heard.append) as mailbox, Client(mailbox) as client:
        client.begin_text()
        assert heard == []
        client.send(TEXT + b".\r\n")
        assert client.reply() == 250
        assert heard == list(mailbox.mails) != []


def test_what_on_mail_cannot_take_is_refused_and_not_kept() -> None:
    def full(mail: Received) -> None:
        raise OSError("no space left")

    with MailboxServer(on_mail=full) as mailbox, Client(mailbox) as client:
        client.begin_text()
        client.send(TEXT + b".\r\n")
        assert client.reply() == 452
        assert client.say(b"NOOP") == [250]
        assert mailbox.mails == ()


def test_an_error_of_on_mail_is_not_swallowed() -> None:
    def broken(mail: Received) -> None:
        raise ZeroDivisionError

    def deliver() -> int:
        with MailboxServer(on_mail=broken) as mailbox, Client(mailbox) as client:
            client.begin_text()
            client.send(TEXT + b".\r\n")
            return client.reply()

    with pytest.raises(ZeroDivisionError):
        deliver()


def test_a_whole_pipelined_conversation_in_one_packet(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        client.send(
            b"EHLO me.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
            + TEXT
            + b".\r\nQUIT\r\n"
        )
        assert [client.reply() for _ in range(7)] == [250, 250, 250, 354, 250, 221, 0]
    assert mailbox.mails == (Received("", ("b@example.org",), TEXT),)


def test_helo_is_enough(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        assert client.say(b"helo me", b"mail from:<a@example.org>", b"vrfy a", b"rset") == [
            250,
            250,
            252,
            250,
        ]


@pytest.mark.parametrize(
    ("commands", "codes"),
    [
        ([b"MAIL FROM:<a@example.org>"], [503]),
        ([b"EHLO"], [501]),
        ([b"EHLO x", b"RCPT TO:<b@example.org>"], [250, 503]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org>", b"DATA"], [250, 250, 503]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org>", b"MAIL FROM:<a@example.org>"], [250, 250, 503]),
        (
            [b"EHLO x", b"MAIL FROM:<a@example.org>", b"RSET", b"RCPT TO:<b@example.org>"],
            [250, 250, 250, 503],
        ),
        (
            [b"EHLO x", b"MAIL FROM:<a@example.org>", b"EHLO x", b"RCPT TO:<b@example.org>"],
            [250, 250, 250, 503],
        ),
        ([b"EHLO x", b"MAIL FROM:a@example.org"], [250, 501]),
        ([b"EHLO x", b"MAIL TO:<a@example.org>"], [250, 501]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org> SIZE=99999999"], [250, 552]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org> SIZE=-1"], [250, 555]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org> AUTH=<>"], [250, 555]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org> RET=HDRS"], [250, 555]),
        ([b"EHLO x", b"MAIL FROM:<a@example.org> SIZE=9 BODY=8BITMIME"], [250, 250]),
        ([b"EHLO x", b"MAIL FROM:<nobody>"], [250, 553]),
        ([b"EHLO x", "MAIL FROM:<zoë@example.org>".encode()], [250, 553]),
        ([b"EHLO x", "MAIL FROM:<zoë@example.org> SMTPUTF8".encode()], [250, 250]),
        ([b"EHLO x", b"MAIL FROM:<>", b"RCPT TO:<>"], [250, 250, 553]),
        ([b"EHLO x", b"MAIL FROM:<>", b"RCPT TO:<b@example.org> NOTIFY=NEVER"], [250, 250, 555]),
        ([b"EHLO x", b"MAIL FROM:<>", b"RCPT TO:<b@example.org\x00>"], [250, 250, 500]),
        ([b"STARTTLS"], [500]),
        ([b"EXPN all"], [502]),
        ([b"\xff\xfe"], [500]),
        ([b""], [500]),
    ],
)
def test_commands_out_of_order_or_wrong_are_refused(
    mailbox: MailboxServer, commands: list[bytes], codes: list[int]
) -> None:
    with Client(mailbox) as client:
        assert client.say(*commands) == codes
        assert client.say(b"NOOP") == [250]


@pytest.mark.parametrize(
    "smuggled",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r\n.\r\r\n",
        b"x" * 2_000 + b"\n.\r\n",
        b"x" * (module.MAX_LINE - 1) + b"\n.\r\n",
    ],
)
def test_only_crlf_dot_crlf_ends_a_text(mailbox: MailboxServer, smuggled: bytes) -> None:
    inner = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nsmuggled\r\n"
    with Client(mailbox) as client:
        client.begin_text()
        client.send(b"one" + smuggled + inner + b".\r\nQUIT\r\n")
        assert [client.reply() for _ in range(3)] == [554, 221, 0]
    assert mailbox.mails == ()


def test_a_text_ends_only_at_a_dot_alone(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        client.begin_text()
        client.send(b". \r\n..\r\n...\r\n.\r\n")
        assert client.reply() == 250
    assert mailbox.mails[0].data == b" \r\n.\r\n..\r\n"


@pytest.mark.parametrize(("line", "code"), [(b"x" * 998, 250), (b"x" * 999, 554), (b"." + b"x" * 998, 250)])
def test_lines_of_text_have_a_limit(mailbox: MailboxServer, line: bytes, code: int) -> None:
    with Client(mailbox) as client:
        client.begin_text()
        client.send(line + b"\r\n.\r\n")
        assert client.reply() == code


def test_lines_of_commands_have_a_limit(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        client.send(b"NOOP " + b"x" * 300_000 + b"\r\n")
        assert client.reply() == 500
        assert client.say(b"NOOP " + b"x" * (module.MAX_COMMAND - 7)) == [250]


def test_a_mail_has_a_limit_and_the_session_goes_on() -> None:
    with MailboxServer(max_bytes=5000) as mailbox, Client(mailbox) as client:
        client.begin_text()
        client.send((b"x" * 98 + b"\r\n") * 51 + b".\r\n")
        assert client.reply() == 552
        client.begin_text()
        client.send((b"x" * 98 + b"\r\n") * 50 + b".\r\n")
        assert client.reply() == 250
        assert [len(mail.data) for mail in mailbox.mails] == [5000]


def test_a_mail_has_a_limited_number_of_recipients(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        client.say(b"EHLO x", b"MAIL FROM:<>")
        codes = client.say(*[b"RCPT TO:<%d@example.org>" % n for n in range(module.MAX_RECIPIENTS + 1)])
        assert codes == [250] * module.MAX_RECIPIENTS + [452]


def test_who_errs_too_often_is_sent_away(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        codes = client.say(*[b"NONSENSE"] * module.MAX_ERRORS)
        assert codes == [500] * module.MAX_ERRORS
        assert [client.reply(), client.reply()] == [421, 0]


def test_a_text_without_its_dot_is_no_mail(mailbox: MailboxServer) -> None:
    with Client(mailbox) as client:
        client.begin_text()
        client.send(TEXT + b".")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply() == 0
    assert mailbox.mails == ()


def test_many_at_once_lose_nothing(mailbox: MailboxServer) -> None:
    def deliver(number: int) -> None:
        with smtplib.SMTP("127.0.0.1", mailbox.port, local_hostname="me.example") as client:
            for n in range(10):
                client.sendmail("a@example.org", [f"{number}-{n}@example.org"], TEXT)

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recipients = [mail.recipients[0] for mail in mailbox.mails]
    assert sorted(recipients) == sorted(f"{number}-{n}@example.org" for number in range(8) for n in range(10))
    for number in range(8):
        assert [r for r in recipients if r.startswith(f"{number}-")] == [
            f"{number}-{n}@example.org" for n in range(10)
        ]


def test_the_end_cuts_idle_connections_and_waits_for_nobody() -> None:
    with MailboxServer() as mailbox:
        port = mailbox.port
        idle = Client(mailbox)
        began = time.monotonic()
    with idle:
        assert idle.reply() == 0
    assert time.monotonic() - began < 30
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
