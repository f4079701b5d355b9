"""Mails that come back: what they say, and that nothing but our own tags makes them count."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot.bounce_desk import handle_mail, mails_in, read_beginning
from digestbot.bounces import MailClass, read_mail
from digestbot.links import Links, derive_key
from digestbot.model import EntryId, EntryKind, Status, Subscriber
from digestbot.storage.bounces import BounceRecord
from digestbot.subscriptions import Office
from tests.backends import open_storage
from tests.benchmarks.bench_bounces import read_labels, score_folders
from tests.deliveries import NOW, SLOT, add_subscribers, queue_digests, run_pass
from tests.shared import shared
from tests.smtp_servers import SmtpServer

pytestmark = pytest.mark.usefixtures("backend")

LINKS = Links("https://papers.example.org", [derive_key("a key for these tests")])


def report(
    status: str = "5.1.1",
    *,
    action: str = "failed",
    to: str = "bounce@example.org",
    said: str = "",
    extra: str = "",
) -> bytes:
    """A delivery status notification in the standard form."""
    return (
        f"Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@mx.example>\r\nTo: {to}\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; ada@example.com\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {said}\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nTo: ada@example.com\r\n{extra}\r\n--b--\r\n"
    ).encode()


def mail(subject: str, body: str = "Hello", **headers: str) -> bytes:
    fields = {"From": "Ada <ada@example.com>", "To": "bounce@example.org", "Subject": subject, **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n{body}\r\n".encode()


# ---- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        ("5.1.1", "550 5.1.1 no such user", MailClass.HARD),
        ("5.1.2", "", MailClass.HARD),
        ("5.1.10", "", MailClass.HARD),
        ("5.2.1", "", MailClass.HARD),
        ("5.0.0", "550 user unknown", MailClass.HARD),
        ("5.0.0", "550-5.7.1 likely unsolicited mail", MailClass.SOFT),
        ("5.2.2", "552 mailbox full", MailClass.SOFT),
        ("5.7.1", "554 blocked", MailClass.SOFT),
        ("4.4.7", "", MailClass.SOFT),
        ("4.2.2", "550 5.1.1 user unknown", MailClass.SOFT),
        ("", "452 4.2.2 over quota", MailClass.SOFT),
    ],
)
def test_status_codes_decide(status: str, said: str, kind: MailClass) -> None:
    reading = read_mail(report(status, said=said))
    assert (reading.kind, reading.recipients) == (kind, ("ada@example.com",))


def test_delivered_is_no_bounce() -> None:
    for action in ("delivered", "relayed", "expanded"):
        assert read_mail(report("2.0.0", action=action)).kind is MailClass.UNKNOWN


@pytest.mark.parametrize(
    "data",
    [
        mail("Out of office", "I am away; my mailbox is full and the user unknown."),
        mail("Re: your papers", Auto_Submitted="auto-replied"),
        mail("Re: your papers", Precedence="auto_reply"),
        mail("=?utf-8?q?Abwesenheitsnotiz=3A_Ferien?="),
        mail("Automatic reply: papers", From="postmaster@example.com"),
        mail(
            "Automatic reply",
            "delivery failed, user unknown",
            From="MAILER-DAEMON@x",
            Auto_Submitted="auto-replied",
        ),
        mail("Holidays", "try again in a week", From="Delivery <d@x.example>", Auto_Submitted="auto-replied"),
    ],
)
def test_automatic_replies_are_no_bounces(data: bytes) -> None:
    assert read_mail(data).kind is MailClass.AUTO_REPLY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"\x00\xff" * 500,
        mail("Thanks", "Your digest is great. quota, blocked, user unknown?"),
        b":" * 9999,
    ],
)
def test_what_is_nothing_is_unknown(data: bytes) -> None:
    assert read_mail(data).kind is MailClass.UNKNOWN


@settings(max_examples=150)
@given(st.binary(max_size=300), st.integers(0, 800), st.integers(0, 60))
def test_no_bytes_make_it_fall(noise: bytes, at: int, cut: int) -> None:
    good = report()
    assert read_mail(good[:at] + noise + good[at + cut :]).kind in MailClass


def in_report(fields: bytes) -> bytes:
    """A status report of these fields, signed by nobody."""
    return (
        b"From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: x\r\n\r\n" + fields + b"\r\n--b--\r\n"
    )


DAEMON = b"From: MAILER-DAEMON@x\r\n"


@pytest.mark.parametrize(
    "bomb",
    [
        DAEMON + b"Subject: Undelivered\r\n\r\n" + b"x" * 100_000_000,
        DAEMON + b"Subject: Undelivered\r\n\r\n" + b"user unknown a@b.example\r\n" * 1_000_000,
        DAEMON + b"\r\n" + b"\n" * 10_000_000,
        DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<" * 10_000_000,
        DAEMON + b"Subject: " + b"=?a?q?x" * 1_000_000 + b"\r\n\r\n",
        DAEMON + b"Subject: " + (b"=?a?q?x" * 100 + b"\r\n ") * 10_000 + b"\r\n\r\n",
        DAEMON + b"X-Failed-Recipients: " + b'"<a@b.c,(' * 1_000_000 + b"\r\n\r\n",
        b"Subject: unsubscribe\r\nFrom: " + b"a@" * 5_000_000 + b"\r\n\r\n",
        b"Content-Type: multipart/mixed; " + b"a*0*=x;" * 1_000_000 + b"\r\n\r\n",
        in_report(b"Final-Recipient: rfc822; " + b"a" * 10_000_000 + b"\r\nStatus: 5.1.1\r\n"),
        in_report(b"Final-Recipient: rfc822; a@b.example\r\nStatus: 5.1.1\r\n\r\n" * 300_000),
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(10_000)),
        b"Content-Type: message/rfc822\n\n" * 10_000,
        b"".join(b"X-%d: a\r\n" % n for n in range(1_000_000)) + b"\r\n",
    ],
    ids=range(14),
)
def test_a_mail_bomb_takes_seconds_at_most(bomb: bytes) -> None:
    """Hours where work grows with the square of the size."""
    began = time.process_time()
    assert read_mail(bomb).kind in MailClass
    assert time.process_time() - began < 30


@pytest.mark.parametrize("charset", ["nonsense", "idna", "utf-7", "\xff", "base64", "x" * 10_000])
def test_a_broken_charset_does_not_make_it_fall(charset: str) -> None:
    data = (
        f'{DAEMON.decode()}Subject: =?{charset}?b?////?=\r\nContent-Type: text/plain; charset="{charset}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n////\xff=\r\n"
    )
    assert read_mail(data.encode("latin-1")).kind is MailClass.UNKNOWN


def test_the_end_of_a_long_mail_is_read_and_not_kept() -> None:
    stream = io.BytesIO(b"x" * 20_000_000)
    assert len(read_beginning(stream)) < 1_000_000
    assert stream.tell() == 20_000_000, "who writes into the pipe is not cut off"


def test_agrees_with_a_person_who_read_them() -> None:
    scores = score_folders(shared("corpora/bounces"))
    others = [score for folder, score in scores.items() if folder != "flufl.bounce"]
    assert sum(score.right for score in others) >= 0.95 * sum(score.count for score in others)
    assert sum(score.recipients for score in others) >= 0.95 * sum(score.count for score in others)
    own = scores["flufl.bounce"]
    assert own.right >= 0.95 * own.count
    for score in scores.values():
        assert not any(score.table["auto-reply", found] for found in ("hard", "soft", "complaint"))


def test_every_sample_has_a_label() -> None:
    corpus = shared("corpora/bounces")
    files = {str(path.relative_to(corpus)) for path in corpus.rglob("*") if path.is_file()}
    assert {name for name, _, _ in read_labels()} == files


# ---- acting -------------------------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    storage = open_storage(tmp_path)
    yield Office(storage, LINKS, "example.org", NOW)
    storage.close()


@pytest.fixture
def ada(office: Office) -> Subscriber:
    return add_subscribers(office.storage, ["ada@example.com", "bob@example.com"])[0]


def verp(who: Subscriber, slot: date = SLOT) -> str:
    return f"bounce+{LINKS.bounce_tag(EntryKind.DIGEST, subscriber_id=who.id, slot=slot)}@example.org"


def leaving(who: Subscriber) -> str:
    return f"bounce+{LINKS.unsubscribe_tag(who.id)}@example.org"


def status_of(office: Office, who: Subscriber) -> Status:
    return office.storage.subscribers.get_many([who.id])[who.id].status


def test_a_dead_address_is_suppressed(office: Office, ada: Subscriber) -> None:
    handled = handle_mail(office, report(to=verp(ada)))
    assert handled.acted
    assert status_of(office, ada) is Status.SUPPRESSED
    assert office.storage.suppressions.among(["ada@example.com", "bob@example.com"]) == {"ada@example.com"}
    [evidence] = office.storage.bounces.of_subscriber(ada.id)
    assert (evidence.kind, evidence.slot, evidence.status) == ("hard", SLOT, "5.1.1")


def test_a_forged_tag_changes_nothing(office: Office, ada: Subscriber) -> None:
    good = verp(ada)
    tag = good.removeprefix("bounce+").removesuffix("@example.org")
    stranger = Links("https://papers.example.org", [derive_key("another key")])
    forged = [
        "bounce@example.org",
        f"bounce+{'a' * len(tag)}@example.org",
        f"bounce+{tag[:-1]}{'b' if tag[-1] == 'a' else 'a'}@example.org",
        f"bounce+{stranger.bounce_tag(EntryKind.DIGEST, subscriber_id=ada.id, slot=SLOT)}@example.org",
    ]
    for to in forged:
        assert not handle_mail(office, report(to=to)).acted, to
        assert not handle_mail(office, mail("unsubscribe", To=to)).acted, to
    assert status_of(office, ada) is Status.CONFIRMED
    assert office.storage.bounces.of_subscriber(ada.id) == []
    assert handle_mail(office, report(to=good.upper())).acted, "case does not count, mail systems change it"


def test_what_a_bounce_says_is_kept_without_control_characters(office: Office, ada: Subscriber) -> None:
    assert handle_mail(office, report(to=verp(ada), said="550 no\x00such\x1b[31m user")).acted
    [evidence] = office.storage.bounces.of_subscriber(ada.id)
    assert evidence.detail == "5.1.1 smtp; 550 no such [31m user"


def test_an_old_mail_does_not_end_what_was_subscribed_since(office: Office, ada: Subscriber) -> None:
    """As where a Maildir is read every ten minutes."""
    leave = mail("unsubscribe", To=leaving(ada), Message_ID="<1@example.com>")
    assert handle_mail(office, leave).acted
    assert status_of(office, ada) is Status.UNSUBSCRIBED
    office.storage.subscribers.set_status(ada.id, Status.CONFIRMED)
    later = replace(office, now=NOW + timedelta(days=400))
    assert not handle_mail(later, leave).acted
    assert status_of(office, ada) is Status.CONFIRMED
    assert handle_mail(later, leave.replace(b"<1@", b"<2@")).acted, "another mail"
    assert status_of(office, ada) is Status.UNSUBSCRIBED


def test_a_bounce_of_no_digest_counts_once(office: Office, ada: Subscriber) -> None:
    tag = LINKS.bounce_tag(EntryKind.WELCOME, subscriber_id=ada.id, entry_id=EntryId(7))
    data = report("4.4.7", to=f"bounce+{tag}@example.org")
    for day, acted in ((0, True), (1, False)):
        assert handle_mail(replace(office, now=NOW + timedelta(days=day)), data).acted is acted
    assert len(office.storage.bounces.of_subscriber(ada.id)) == 1


def test_what_came_back_of_two_people_in_one_second_is_known_of_both(office: Office, ada: Subscriber) -> None:
    """As where the mails of an hour are read at once."""
    [bob] = office.storage.subscribers.find_many(["bob@example.com"]).values()
    for who in (ada, bob):
        tag = LINKS.bounce_tag(EntryKind.WELCOME, subscriber_id=who.id, entry_id=EntryId(who.id))
        assert handle_mail(office, report(to=f"bounce+{tag}@example.org")).acted
        assert status_of(office, who) is Status.SUPPRESSED


@pytest.mark.parametrize("slot", [SLOT, None])
def test_evidence_of_one_mail_is_kept_once(office: Office, ada: Subscriber, slot: date | None) -> None:
    """Though the server said it, and a report came as well."""
    bounces = office.storage.bounces
    said = BounceRecord(ada.id, slot, NOW, "soft", "4.2.2", "452 full")
    assert [bounces.add(said), bounces.add(replace(said, detail="reported"))] == [True, False]
    assert bounces.add(replace(said, kind="hard"))
    assert [record.detail for record in bounces.of_subscriber(ada.id)] == ["452 full", "452 full"]


def test_five_soft_bounces_of_different_slots_in_30_days_suppress(office: Office, ada: Subscriber) -> None:
    def bounce(day: int) -> None:
        moment = NOW + timedelta(days=day)
        data = report("5.2.2", to=verp(ada, moment.date()))
        assert handle_mail(replace(office, now=moment), data).acted
        assert not handle_mail(replace(office, now=moment), data).acted, "twice the same"

    for day in (0, 28, 29, 30, 31):
        bounce(day)
    assert status_of(office, ada) is Status.CONFIRMED, "the first is older than 30 days"
    bounce(32)
    assert status_of(office, ada) is Status.SUPPRESSED


def test_a_refusal_without_cause_suppresses_the_second_time_in_a_row(office: Office, ada: Subscriber) -> None:
    with SmtpServer() as server:
        for day in range(3):
            moment = NOW + timedelta(days=day)
            queue_digests(office.storage, ["ada@example.com"], slot=moment.date(), at=moment)
            run_pass(office.storage, server.url(), at=moment)
    for day, expected in ((0, Status.CONFIRMED), (2, Status.CONFIRMED), (1, Status.SUPPRESSED)):
        slot = (NOW + timedelta(days=day)).date()
        handle_mail(office, report("5.0.0", to=verp(ada, slot), said="550 no"))
        assert status_of(office, ada) is expected, day


def test_policy_never_suppresses_at_once(office: Office, ada: Subscriber) -> None:
    assert handle_mail(office, report("5.7.1", to=verp(ada))).acted
    assert status_of(office, ada) is Status.CONFIRMED


def test_a_complaint_suppresses(office: Office, ada: Subscriber) -> None:
    data = (
        b"From: fbl@provider.example\r\nTo: fbl@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report;"
        b" report-type=feedback-report; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nabuse\r\n--b\r\n"
        b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\n\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: digests@example.org\r\nTo: ada@example.com\r\n"
        b"List-Unsubscribe: <" + LINKS.unsubscribe(ada.id).encode() + b">\r\n\r\nHi\r\n--b--\r\n"
    )
    handled = handle_mail(office, data)
    assert (handled.reading.kind, handled.acted) == (MailClass.COMPLAINT, True)
    assert status_of(office, ada) is Status.SUPPRESSED


@pytest.mark.parametrize("subject", ["unsubscribe", "Unsubscribe", "", "Re: your digest"])
def test_a_mail_to_the_unsubscribe_address_unsubscribes(
    office: Office, ada: Subscriber, subject: str
) -> None:
    handled = handle_mail(office, mail(subject, To=leaving(ada)))
    assert (handled.reading.kind, handled.acted) == (MailClass.UNSUBSCRIBE, True)
    everybody = office.storage.subscribers.everybody()
    assert [who.status for who in everybody] == [Status.UNSUBSCRIBED, Status.CONFIRMED], "but not Bob"
    assert not handle_mail(office, mail(subject, To=leaving(ada))).acted, "idempotent"


def test_a_reply_that_quotes_a_digest_does_not_unsubscribe(office: Office, ada: Subscriber) -> None:
    quoted = f"Great!\r\n> To leave: {LINKS.unsubscribe(ada.id)} or {leaving(ada)}"
    assert not handle_mail(office, mail("Re: Papers", quoted)).acted
    assert status_of(office, ada) is Status.CONFIRMED


def test_an_automatic_reply_to_the_bounce_address_does_nothing(office: Office, ada: Subscriber) -> None:
    data = mail("Out of office", "back on Monday", To=verp(ada), Auto_Submitted="auto-replied")
    assert not handle_mail(office, data).acted
    assert office.storage.bounces.of_subscriber(ada.id) == []


def test_files_and_maildirs(tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "box" / name).mkdir(parents=True)
        (tmp_path / "box" / name / f"1.{name}").write_bytes(name.encode())
    assert [data for _, data in mails_in(tmp_path / "box")] == [b"new", b"cur"]
    assert [data for _, data in mails_in(tmp_path / "box" / "tmp")] == [b"tmp"]
    assert [data for _, data in mails_in(tmp_path / "box" / "new" / "1.new")] == [b"new"]


def test_time_is_kept(office: Office, ada: Subscriber) -> None:
    handle_mail(replace(office, now=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)), report("5.2.2", to=verp(ada)))
    assert office.storage.bounces.of_subscriber(ada.id)[0].at == datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
