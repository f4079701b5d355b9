"""One connection to the relay: what leaves, byte for byte, under which protection, and what replies come to."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digestbot.errors import UsageError
from digestbot.relay import ServerRefused, SmtpSettings, Timeouts
from digestbot.smtp import Connection
from digestbot.smtp_replies import Reply, Stage, Verdict, judge
from tests.deliveries import TestMail
from tests.smtp_servers import ALL_FEATURES, Answer, Misbehave, SmtpServer, make_certificate

QUICK = Timeouts(5, 5, 5)
PLAIN_TEXT = b"From: a@example.org\r\nSubject: x\r\n\r\nHello\r\n"


def mail(data: bytes = PLAIN_TEXT, recipient: str = "ada@example.com") -> TestMail:
    return TestMail("bounce+tag@example.org", recipient, data)


def connect(url: str) -> Connection:
    return Connection(SmtpSettings.from_url(url), QUICK)


# ---- what leaves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [ALL_FEATURES, ()])
def test_the_server_gets_the_bytes(features: tuple[str, ...]) -> None:
    data = b"Subject: x\r\n\r\n.\r\n..\r\n.dot\r\n...\r\na.b\r\n" + b"w" * 5000 + b"\r\n\r\n.\r\n"
    with SmtpServer(features=features) as server:
        connection = connect(server.url())
        for _ in range(3):
            assert connection.hand_over(mail(data), "id").verdict is Verdict.ACCEPTED
        connection.close()
    assert [message.data for message in server.messages] == [data] * 3
    assert server.connections == 1


lines = st.lists(
    st.one_of(st.binary(max_size=60), st.sampled_from([b".", b"..", b"", b".\x00", "…😀 עברית".encode()])),
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines)
def test_any_lines_arrive_as_they_are(text: list[bytes]) -> None:
    clean = [line.replace(b"\r", b"").replace(b"\n", b"") for line in text]
    data = b"Subject: x\r\n\r\n" + b"".join(line + b"\r\n" for line in clean)
    with SmtpServer() as server:
        connection = connect(server.url())
        assert connection.hand_over(mail(data), "id").verdict is Verdict.ACCEPTED
        connection.close()
    assert [message.data for message in server.messages] == [data]


@pytest.mark.parametrize(
    "data",
    [
        b"Subject: x\r\n\r\nHello\n.\nMAIL FROM:<evil@x>\r\n",
        b"Subject: x\r\n\r\nHello\r.\r\n",
        b"Subject: x\r\n\r\nHello\r\r\n",
        b"Subject: x\r\n\r\nHello\n",
        b"Subject: x\r\n\r\nHello",
        b"\n",
    ],
)
def test_a_bare_line_end_never_leaves(data: bytes) -> None:
    with SmtpServer() as server:
        connection = connect(server.url())
        with pytest.raises(ValueError, match="CRLF"):
            connection.hand_over(mail(data), "id")
        connection.close()
    assert server.messages == []
    assert not any(line.startswith("MAIL") for line in server.commands)


@pytest.mark.parametrize(
    "address",
    [
        "b@x.example>\r\nRCPT TO:<evil",
        "b@x.example\n",
        "a b@x.example",
        "",
        "<>",
        "a@b@c.example",
        "a\x00@x.example",
    ],
)
def test_an_address_that_would_become_another_is_refused(address: str) -> None:
    with SmtpServer() as server:
        connection = connect(server.url())
        assert connection.hand_over(mail(recipient=address), "id").verdict is Verdict.REFUSED
        connection.close()
    assert not any("RCPT" in line for line in server.commands)


@pytest.mark.parametrize(
    "sender", ["a b@x.example", "zoë+tag@x.example", "b@exämple.org", "", "a" * 250 + "@x.example"]
)
def test_a_sender_that_is_no_address_is_nobody_elses_fault(sender: str) -> None:
    with SmtpServer() as server:
        connection = connect(server.url())
        handover = connection.hand_over(TestMail(sender, "ada@example.com", PLAIN_TEXT), "id")
        connection.close()
    assert handover.verdict is Verdict.STOP
    assert not any("MAIL" in line for line in server.commands)


def test_extensions_are_used_where_offered() -> None:
    with SmtpServer() as server:
        connection = connect(server.url())
        connection.hand_over(mail(), "d1+x@example.org")
        connection.hand_over(mail(PLAIN_TEXT + "é\r\n".encode(), "zoë@example.com"), "d2")
        connection.close()
    plain, utf8 = server.messages
    assert plain.mail_parameters == f"SIZE={len(PLAIN_TEXT)} RET=HDRS ENVID=d1+2Bx@example.org"
    assert plain.rcpt_parameters == "NOTIFY=FAILURE ORCPT=rfc822;ada@example.com"
    assert "BODY=8BITMIME" in utf8.mail_parameters
    assert "SMTPUTF8" in utf8.mail_parameters
    assert utf8.recipient == "zoë@example.com"


def test_nothing_is_used_that_is_not_offered() -> None:
    with SmtpServer(features=()) as server:
        connection = connect(server.url())
        connection.hand_over(mail(), "d1")
        connection.close()
    assert server.messages[0].mail_parameters == server.messages[0].rcpt_parameters == ""


def test_a_refused_recipient_leaves_the_connection_good() -> None:
    for features in (ALL_FEATURES, ()):
        with SmtpServer(
            lambda s, a: "550 5.1.1 no" if s == "rcpt" and "bob" in a else None, features=features
        ) as server:
            connection = connect(server.url())
            assert connection.hand_over(mail(recipient="bob@example.com"), "1").verdict is Verdict.DEAD
            assert connection.hand_over(mail(), "2").verdict is Verdict.ACCEPTED
            connection.close()
        assert server.recipients == ["ada@example.com"]


def test_a_server_that_takes_data_without_a_recipient() -> None:
    """RFC 2920 3.1: after pipelined commands it may answer DATA with 354 though RCPT failed."""

    def script(stage: str, argument: str) -> Answer:
        return (
            "550 5.1.1 no\r\n354 go on\r\n554 5.5.1 nobody" if stage == "rcpt" and "bob" in argument else None
        )

    with SmtpServer(script) as server:
        connection = connect(server.url())
        assert connection.hand_over(mail(recipient="bob@example.com"), "1").verdict is Verdict.DEAD
        connection.abort()
    assert server.messages == []


# ---- protection -----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
def test_tls_and_login(certificate: Path, scheme: str) -> None:
    users = {"ada": "p@ss:word/ü"[:-1]}
    with SmtpServer(certificate=certificate, tls_from_start=scheme == "smtps", users=users) as server:
        connection = connect(server.url(scheme, "ada:p%40ss%3Aword%2F@"))
        assert connection.hand_over(mail(), "id").verdict is Verdict.ACCEPTED
        connection.close()
    assert server.messages[0].encrypted
    assert b"AUTH" not in server.clear_text
    assert b"MAIL" not in server.clear_text


def refusal(url: str) -> ServerRefused:
    with pytest.raises(ServerRefused) as caught:
        connect(url)
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
def test_a_certificate_nobody_vouches_for(tmp_path: Path, scheme: str) -> None:
    with SmtpServer(certificate=make_certificate(tmp_path), tls_from_start=scheme == "smtps") as server:
        stopped = refusal(server.url(scheme, "ada:secret@"))
    assert stopped.stage is Stage.TLS
    assert "certificate is not valid" in str(stopped)
    assert server.messages == []


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
def test_a_certificate_of_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    path = make_certificate(tmp_path, "other.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with SmtpServer(certificate=path, tls_from_start=scheme == "smtps") as server:
        assert refusal(server.url(scheme, "ada:secret@")).stage is Stage.TLS


def test_a_server_without_starttls_gets_nothing() -> None:
    with SmtpServer(users={"ada": "secret"}) as server:
        assert refusal(server.url("smtp+starttls", "ada:secret@")).stage is Stage.TLS
    assert all(line.upper().startswith(("EHLO", "QUIT", "RSET")) for line in server.commands)


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "500 what?", Misbehave.DROP])
def test_starttls_that_fails_never_goes_on_in_plain_text(certificate: Path, answer: Answer) -> None:
    script = lambda stage, _: answer if stage == "starttls" else None  # noqa: E731
    with SmtpServer(script, certificate=certificate, users={"ada": "secret"}) as server:
        refusal(server.url("smtp+starttls", "ada:secret@"))
    assert b"AUTH" not in server.clear_text
    assert b"MAIL" not in server.clear_text


def test_what_was_slipped_in_before_tls_is_forgotten(certificate: Path) -> None:
    """CVE-2021-38371 and its kin: a reply sent along with the answer to STARTTLS must not be taken for one under TLS."""
    slipped = "220 go ahead\r\n250-test.example\r\n250 SIZE 7"
    with SmtpServer(
        lambda stage, _: slipped if stage == "starttls" else None, certificate=certificate
    ) as server:
        connection = connect(server.url("smtp+starttls"))
        assert connection.size_limit_bytes != 7
        assert connection.hand_over(mail(), "id").verdict is Verdict.ACCEPTED
        connection.close()
    assert server.messages[0].encrypted


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("SIZE 7000000", 7_000_000),
        ("SIZE", None),
        ("SIZE 0", None),
        ("SIZE \u00b2", None),
        ("SIZE " + "9" * 5000, None),
    ],
    ids=["bytes", "nothing", "no limit", "no digit", "endless"],
)
def test_what_a_server_says_of_sizes(said: str, understood: int | None) -> None:
    with SmtpServer(features=(said,)) as server:
        connection = connect(server.url())
        assert connection.size_limit_bytes == understood
        assert connection.hand_over(mail(), "id").verdict is Verdict.ACCEPTED
        connection.close()


def test_a_plain_server_where_tls_was_asked_for() -> None:
    with SmtpServer() as server:
        refusal(server.url("smtps", "ada:secret@"))
    assert b"AUTH" not in server.clear_text


def test_a_wrong_password(certificate: Path) -> None:
    with SmtpServer(certificate=certificate, users={"ada": "right"}) as server:
        stopped = refusal(server.url("smtp+starttls", "ada:secret@"))
    assert stopped.stage is Stage.AUTH
    assert "5.7.8" in str(stopped)


def test_a_password_that_auth_cannot_carry(certificate: Path) -> None:
    with SmtpServer(certificate=certificate, users={"ada": "right"}) as server:
        refusal(server.url("smtp+starttls", "ada:secret%C3%BC@"))


# ---- servers that keep one waiting -----------------------------------------------------------------------------------


class RawServer:
    """Answers the connection, then each packet, with the next of its answers, piece by piece, whatever they are."""

    def __init__(self, *answers: list[bytes]) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, suppress(OSError):
            for answer in self._answers:
                for piece in answer:
                    connection.sendall(piece)
                    time.sleep(0.02 if len(answer) > 1 and len(piece) < 20 else 0)
                connection.recv(65536)

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


ENDLESS = [b"250-and another thing\r\n" * 1000] * 1000


@pytest.mark.parametrize(
    ("answers", "stage", "words"),
    [
        (([],), Stage.CONNECT, "no reply within 1 s"),
        (([b"2"] * 1000,), Stage.CONNECT, "no reply within 1 s"),
        (([b"220-wait\r\n"] * 1000,), Stage.CONNECT, "no reply within 1 s"),
        (([b"220 hello\r\n"], [b"x"] * 1000), Stage.EHLO, "no reply within 1 s"),
        (([b"220 hello\r\n"], ENDLESS), Stage.EHLO, "its reply has no end"),
        (([b"220 hello\r\n"], [b"250 " + b"x" * 200_000]), Stage.EHLO, "its reply has no end"),
        (([b"HTTP/1.1 400 Bad Request\r\n\r\n"],), Stage.CONNECT, "HTTP/1.1 400 Bad Request"),
        (([b"220 hello\r\n"], [b"\x00\x00\x00\r\n"]), Stage.EHLO, ""),
    ],
)
def test_a_server_that_only_seems_to_answer(
    answers: tuple[list[bytes], ...], stage: Stage, words: str
) -> None:
    command_s = 1 if "no reply" in words else 60
    with RawServer(*answers) as server:
        began = time.monotonic()
        with pytest.raises(ServerRefused) as caught:
            Connection(SmtpSettings.from_url(server.url), Timeouts(5, command_s))
    assert time.monotonic() - began < 30
    assert caught.value.stage is stage
    assert words in caught.value.reply.line
    assert server.url.removeprefix("smtp://") in str(caught.value)


def test_a_reply_that_drips_after_the_text_is_in_doubt_in_time() -> None:
    answers = (
        [b"220 hi\r\n"],
        [b"250 hi\r\n"],
        [b"250 ok\r\n"],
        [b"250 ok\r\n"],
        [b"354 go\r\n"],
        [b"2"] * 500,
    )
    with RawServer(*answers) as server:
        connection = Connection(SmtpSettings.from_url(server.url), Timeouts(5, 5, text_s=0.5))
        handover = connection.hand_over(mail(), "id")
    assert (handover.verdict, handover.stage) == (Verdict.DOUBT, Stage.TEXT)
    assert "lost after the text was out: no reply within 0.5 s" in handover.reply.line


def test_line_feeds_alone_end_replies_too() -> None:
    answers = (
        [b"220 hi\n"],
        [b"250-hi\n250 SIZE 999\n"],
        *([[b"250 ok\n"]] * 2),
        [b"354 go\n"],
        [b"250 \x00got it\n"],
    )
    with RawServer(*answers) as server:
        handover = connect(server.url).hand_over(mail(), "id")
    assert handover.verdict is Verdict.ACCEPTED
    assert handover.reply.line == "250 got it"


def test_opening_is_given_up_when_the_pass_is_to_end() -> None:
    stop = threading.Event()
    with RawServer([b"220-wait\r\n"] * 1000) as server:
        threading.Timer(0.3, stop.set).start()
        began = time.monotonic()
        with pytest.raises(ServerRefused):
            Connection(SmtpSettings.from_url(server.url), Timeouts(60, 60), give_up=stop)
    assert time.monotonic() - began < 30


def test_hanging_up_is_not_blamed_on_the_server() -> None:
    def hang(stage: str, _: str) -> Misbehave | None:
        if stage != "text":
            return None
        threading.Thread(target=connection.hang_up).start()
        return Misbehave.HANG

    with SmtpServer(hang) as server:
        connection = connect(server.url())
        handover = connection.hand_over(mail(), "id")
    assert handover.verdict is Verdict.DOUBT
    assert (
        handover.reply.line
        == f"127.0.0.1:{server.port} lost after the text was out: digestbot was told to end"
    )


def test_hung_up_between_two_steps() -> None:
    with SmtpServer() as server:
        connection = connect(server.url())
        connection.hang_up()
        handover = connection.hand_over(mail(), "id")
    assert handover.verdict is Verdict.LOST
    assert handover.reply.line.endswith("lost before the text was out: digestbot was told to end")


def test_errors_are_told_in_words() -> None:
    with SmtpServer() as server:
        url = server.url()
    with pytest.raises(ServerRefused) as caught:
        connect(url)
    assert (
        str(caught.value)
        == f"the mail server {url.removeprefix('smtp://')} cannot be used (connect): Connection refused"
    )
    with SmtpServer() as server, pytest.raises(ServerRefused) as caught:
        connect(server.url("smtps"))
    assert caught.value.reply.line == "TLS failed: wrong version number"
    with SmtpServer(lambda stage, _: Misbehave.DROP if stage == "text" else None) as server:
        handover = connect(server.url()).hand_over(mail(), "id")
    assert (
        handover.reply.line
        == f"127.0.0.1:{server.port} lost after the text was out: it closed the connection"
    )


# ---- settings and replies -------------------------------------------------------------------------------------------


def test_urls() -> None:
    settings = SmtpSettings.from_url("smtp+starttls://me%40x:p%2Fw@mx.example.org")
    assert (settings.host, settings.port, settings.user, settings.password) == (
        "mx.example.org",
        587,
        "me@x",
        "p/w",
    )
    assert SmtpSettings.from_url("smtps://h").port == 465
    assert SmtpSettings.from_url("smtp://h:2525").port == 2525
    assert "p/w" not in repr(settings)
    assert "me@x" not in repr(settings)
    for url in ("http://h", "smtp://", "smtp://h:secret", "smtp://user:secret@h:99999"):
        with pytest.raises(UsageError) as caught:
            SmtpSettings.from_url(url)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "reply", "verdict"),
    [
        (Stage.TEXT, "250 2.0.0 queued", Verdict.ACCEPTED),
        (Stage.RCPT, "450 4.2.0 greylisted", Verdict.DEFERRED),
        (Stage.RCPT, "452 too many", Verdict.DEFERRED),
        (Stage.RCPT, "421 4.3.2 bye", Verdict.CLOSING),
        (Stage.RCPT, "550 5.1.1 no", Verdict.DEAD),
        (Stage.RCPT, "550 #5.1.0 Address rejected.", Verdict.REFUSED),
        (Stage.RCPT, "550 (#5.2.1) disabled", Verdict.DEAD),
        (Stage.RCPT, "556 5.1.10 null MX", Verdict.DEAD),
        (Stage.RCPT, "550 no", Verdict.REFUSED),
        (Stage.RCPT, "551 no", Verdict.REFUSED),
        (Stage.RCPT, "553 no", Verdict.REFUSED),
        (Stage.RCPT, "552 full", Verdict.FULL),
        (Stage.RCPT, "552 5.2.2 full", Verdict.FULL),
        (Stage.RCPT, "552 5.7.1 no", Verdict.POLICY),
        (Stage.RCPT, "553 5.7.1 no SMTPUTF8 from you", Verdict.POLICY),
        (Stage.MAIL, "552 5.0.0 too big", Verdict.TOO_BIG),
        (Stage.RCPT, "554 5.7.1 relay access denied", Verdict.POLICY),
        (Stage.RCPT, "550 5.7.1 blocked", Verdict.POLICY),
        (Stage.RCPT, "554 no", Verdict.POLICY),
        (Stage.RCPT, "550 5.1.8 sender's domain", Verdict.POLICY),
        (Stage.RCPT, "553 5.6.7 needs SMTPUTF8", Verdict.UNREACHABLE),
        (Stage.DATA, "554 no", Verdict.POLICY),
        (Stage.TEXT, "554 5.7.1 spam", Verdict.POLICY),
        (Stage.TEXT, "550 5.1.1 no", Verdict.DEAD),
        (Stage.TEXT, "552 5.3.4 too big", Verdict.TOO_BIG),
        (Stage.TEXT, "552 too big", Verdict.TOO_BIG),
        (Stage.MAIL, "552 too big", Verdict.TOO_BIG),
        (Stage.MAIL, "550 5.7.1 no", Verdict.STOP),
        (Stage.MAIL, "530 5.7.0 log in first", Verdict.STOP),
        (Stage.MAIL, "451 4.3.0 later", Verdict.DEFERRED),
        (Stage.RCPT, "0 gibberish", Verdict.LOST),
        (Stage.TEXT, "0 gibberish", Verdict.DOUBT),
    ],
)
def test_what_replies_come_to(stage: Stage, reply: str, verdict: Verdict) -> None:
    code, _, text = reply.partition(" ")
    assert judge(stage, Reply(int(code), text)) is verdict


def test_a_reply_for_ledger_and_log() -> None:
    reply = Reply(550, "5.1.1 <ada@example.com>:\nno\x1b[31m such\x00 user " + "x" * 2000)
    assert reply.line.startswith("550 5.1.1 <ada@example.com>: no [31m such user xxx")
    assert len(reply.line) <= 500
    assert reply.brief == "550 5.1.1"
    assert Reply(550, "5.1.1.2 is my version").enhanced is None
    assert Reply(550, "10.5.1.1 is my address").enhanced is None
