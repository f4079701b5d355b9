"""Every fault a mail server can show, against a server that shows it: ledger and mailboxes afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from digestbot.errors import DeliveryStopped
from digestbot.model import EntryState, Status
from digestbot.relay import Timeouts
from digestbot.storage import Storage
from tests.backends import open_storage
from tests.deliveries import NOW, QUICK, SLOT, queue_digests, run_pass, state_of, states
from tests.smtp_servers import Answer, Misbehave, Script, SmtpServer, make_certificate

pytestmark = pytest.mark.usefixtures("backend")

ADA, BOB, CYD = "ada@one.example", "bob@two.example", "cyd@three.example"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    yield storage
    storage.close()


def at(stage: str, answer: Answer, who: str = "", times: int = 10**9) -> Script:
    """Answers so at a stage, to arguments that contain `who`, so many times."""
    left = [times]

    def script(now_at: str, argument: str) -> Answer:
        if now_at == stage and who in argument and left[0] > 0:
            left[0] -= 1
            return answer
        return None

    return script


def test_all_good(storage: Storage) -> None:
    queue_digests(storage, [ADA, BOB, CYD])
    with SmtpServer() as server:
        report = run_pass(storage, server.url())
        assert run_pass(storage, server.url()).counts == {}
    assert report.counts == {EntryState.SENT: 3}
    assert report.stopped is None
    assert server.recipients == [ADA, BOB, CYD]
    assert states(storage) == {"sent": 3}


@pytest.mark.parametrize("reply", ["451 4.7.1 greylisted, try later", "450 4.2.0 busy", "452 4.2.2 full"])
def test_a_deferred_recipient_is_tried_again_later(storage: Storage, reply: str) -> None:
    queue_digests(storage, [ADA, BOB])
    with SmtpServer(at("rcpt", reply, who=ADA, times=1)) as server:
        assert run_pass(storage, server.url()).counts == {EntryState.DEFERRED: 1, EntryState.SENT: 1}
        entry = storage.entries.list_entries()[0]
        assert entry.last_reply == reply
        assert entry.next_attempt_at is not None
        assert timedelta(minutes=5) <= entry.next_attempt_at - NOW <= timedelta(minutes=6)
        assert run_pass(storage, server.url(), minutes=4).counts == {}
        assert run_pass(storage, server.url(), minutes=6).counts == {EntryState.SENT: 1}
    assert server.recipients == [ADA, BOB]


def test_back_off_grows_to_67_minutes_and_ends_after_a_day(storage: Storage) -> None:
    ada, _ = queue_digests(storage, [ADA, BOB])
    waits, minutes = [], 0.0
    with SmtpServer(at("rcpt", "451 4.7.1 later", who=ADA)) as server:
        while state_of(storage, ada) is not EntryState.FAILED:
            run_pass(storage, server.url(), minutes=minutes)
            found = storage.entries.list_entries()
            if found and found[0].next_attempt_at:
                wait = (found[0].next_attempt_at - NOW).total_seconds() / 60 - minutes
                waits.append(wait)
                minutes += wait
    assert 5 <= min(waits) == waits[0] <= 6
    assert 56 <= max(waits) <= 67
    assert 24 * 60 < minutes < 26 * 60
    assert server.recipients == [BOB]


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "text"])
def test_421_closes_and_the_rest_goes_on_over_a_new_connection(storage: Storage, stage: str) -> None:
    queue_digests(storage, [ADA, BOB, CYD])
    connected: list[float] = []
    refuse = at(stage, "421 4.3.2 shutting down", times=1)

    def script(now_at: str, argument: str) -> Answer:
        connected.extend([time.monotonic()] * (now_at == "connect"))
        return refuse(now_at, argument)

    with SmtpServer(script) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1, cool_down_s=0.5))
        assert report.counts == {EntryState.DEFERRED: 1, EntryState.SENT: 2}
        assert report.stopped is None
        assert server.connections == 2
        assert connected[1] - connected[0] >= 0.5, "the host is left to cool down"
        assert run_pass(storage, server.url(), minutes=7).counts == {EntryState.SENT: 1}
    assert server.recipients == sorted([ADA, BOB, CYD])


def test_a_server_that_takes_two_messages_a_connection(storage: Storage) -> None:
    emails = [f"p{n}@one.example" for n in range(7)]
    queue_digests(storage, emails)
    count = [0]

    def script(stage: str, argument: str) -> Answer:
        if stage == "connect":
            count[0] = 0
        if stage == "mail":
            count[0] += 1
            return "421 4.7.0 too many messages" if count[0] > 2 else None
        return None

    with SmtpServer(script) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.SENT: 7}
    assert server.recipients == emails


@pytest.mark.parametrize("status", ["5.1.1", "5.1.2", "5.1.6", "5.1.10", "5.2.1"])
def test_a_dead_address_is_suppressed_at_once(storage: Storage, status: str) -> None:
    ada, _ = queue_digests(storage, [ADA, BOB])
    with SmtpServer(at("rcpt", f"550 {status} <{ADA}>: no such user", who=ADA)) as server:
        assert run_pass(storage, server.url()).counts == {EntryState.BOUNCED: 1, EntryState.SENT: 1}
    assert storage.subscribers.get_many([ada.id])[ada.id].status is Status.SUPPRESSED
    assert storage.suppressions.among([ADA, BOB]) == {ADA}
    assert storage.outbox.sent_papers([ada.id], SLOT) == {ada.id: set()}, "its papers are candidates again"


def test_five_full_mailboxes_in_30_days_suppress(storage: Storage) -> None:
    with SmtpServer(at("rcpt", "552 5.2.2 mailbox full", who=ADA)) as server:
        for day in range(5):
            moment = NOW + timedelta(days=day)
            queue_digests(storage, [ADA], slot=moment.date(), at=moment)
            assert storage.suppressions.among([ADA]) == set()
            assert run_pass(storage, server.url(), at=moment).counts == {EntryState.BOUNCED: 1}
    assert storage.suppressions.among([ADA]) == {ADA}


def test_full_mailboxes_and_plain_refusals_do_not_add_up(storage: Storage) -> None:
    full, plain = "552 5.2.2 mailbox full", "550 no"
    answers = [full, plain, None, plain, full, plain, None, plain, None, plain, full, plain, full, None]
    today = [answers[0]]
    with SmtpServer(lambda stage, _: today[0] if stage == "rcpt" else None) as server:
        for day, today[0] in enumerate(answers):
            moment = NOW + timedelta(days=day)
            queue_digests(storage, [ADA], slot=moment.date(), at=moment)
            assert sum(run_pass(storage, server.url(), at=moment).counts.values()) == 1
    assert storage.suppressions.among([ADA]) == set()


@pytest.mark.parametrize("reply", ["550 no", "551 not here", "553 no such name"])
def test_the_second_plain_refusal_in_a_row_suppresses(storage: Storage, reply: str) -> None:
    refusing = [True]
    with SmtpServer(lambda stage, _: reply if stage == "rcpt" and refusing[0] else None) as server:
        for day, refuses in enumerate([True, False, True, True]):
            refusing[0] = refuses
            moment = NOW + timedelta(days=day)
            (ada,) = queue_digests(storage, [ADA], slot=moment.date(), at=moment)
            assert storage.suppressions.among([ADA]) == set()
            run_pass(storage, server.url(), at=moment)
    assert state_of(storage, ada, moment.date()) is EntryState.BOUNCED
    assert storage.suppressions.among([ADA]) == {ADA}


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("connect", "554 5.7.1 your network is blocked"),
        ("ehlo", "550 5.7.1 go away"),
        ("mail", "550 5.7.1 sender refused"),
        ("mail", "553 5.1.8 sender's domain does not exist"),
    ],
)
def test_a_relay_that_refuses_us_stops_and_keeps_the_queue(storage: Storage, stage: str, reply: str) -> None:
    queue_digests(storage, [ADA, BOB, CYD])
    with SmtpServer(lambda now_at, _: reply if now_at in (stage, f"h{stage}") else None) as server:
        report = run_pass(storage, server.url())
    assert isinstance(report.stopped, DeliveryStopped)
    assert reply[4:] in str(report.stopped)
    assert report.counts == {}
    assert states(storage) == {"queued": 3}
    assert all(entry.attempts == 0 for entry in storage.entries.list_entries())
    with SmtpServer() as server:
        assert run_pass(storage, server.url()).counts == {EntryState.SENT: 3}


def test_nobody_listens(storage: Storage) -> None:
    queue_digests(storage, [ADA])
    with SmtpServer() as server:
        url = server.url()
    report = run_pass(storage, url)
    assert "refused" in str(report.stopped)
    assert states(storage) == {"queued": 1}


def test_a_relay_with_one_connection_only(storage: Storage) -> None:
    emails = [f"p{n}@one.example" for n in range(20)]
    queue_digests(storage, emails)
    seen = [0]

    def script(stage: str, argument: str) -> Answer:
        seen[0] += stage == "connect"
        return "421 4.7.0 too many connections" if stage == "connect" and seen[0] > 1 else None

    with SmtpServer(script) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=4))
    assert report.stopped is None
    assert server.recipients == sorted(emails)


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("rcpt", "550 5.7.1 blocked"),
        ("rcpt", "554 relay access denied"),
        ("data", "554 5.7.1 no"),
        ("text", "554 5.7.1 spam"),
        ("text", "550 5.7.26 not aligned"),
        ("text", "550 looks like spam"),
    ],
)
def test_a_policy_refusal_never_suppresses(storage: Storage, stage: str, reply: str) -> None:
    queue_digests(storage, [ADA, BOB])
    with SmtpServer(at(stage, reply, who=ADA)) as server:
        report = run_pass(storage, server.url())
    assert report.counts == {EntryState.FAILED: 1, EntryState.SENT: 1}
    assert report.stopped is None
    assert storage.suppressions.among([ADA]) == set()
    assert server.recipients == [BOB]


def test_five_policy_refusals_of_three_domains_stop_everything_for_an_hour(storage: Storage) -> None:
    queue_digests(storage, [f"p{n}@d{n % 3}.example" for n in range(20)])
    refusing = [True]
    with SmtpServer(lambda s, _: "554 5.7.1 spam" if s == "text" and refusing[0] else None) as server:
        policy = replace(QUICK, connections=1)
        report = run_pass(storage, server.url(), policy)
        assert report.counts == {EntryState.FAILED: 5}
        assert "d0.example, d1.example, d2.example" in str(report.stopped)
        again = run_pass(storage, server.url(), policy, minutes=59)
        assert again.counts == {}
        assert again.stopped is not None
        probe = run_pass(storage, server.url(), policy, minutes=61)
        assert probe.counts == {EntryState.FAILED: 1}, "one more refusal stops again"
        refusing[0] = False
        assert run_pass(storage, server.url(), policy, minutes=125).counts == {EntryState.SENT: 14}


def test_refusals_between_mails_that_are_taken_stop_nothing(storage: Storage) -> None:
    queue_digests(storage, [f"p{n}@d{n % 4}.example" for n in range(20)])
    turn = [0]

    def two_of_three(stage: str, _: str) -> Answer:
        turn[0] += stage == "text"
        return "554 5.7.1 spam" if stage == "text" and turn[0] % 3 else None

    with SmtpServer(two_of_three) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.stopped is None
    assert report.counts == {EntryState.FAILED: 14, EntryState.SENT: 6}


def test_refusals_of_the_last_pass_count_until_a_mail_is_taken(storage: Storage) -> None:
    policy, people = replace(QUICK, connections=1), [f"p@d{n}.example" for n in range(5)]
    with SmtpServer(at("rcpt", "550 5.7.1 blocked", who="p@")) as server:
        queue_digests(storage, people[:4])
        assert run_pass(storage, server.url(), policy).stopped is None
        queue_digests(storage, [BOB])
        assert run_pass(storage, server.url(), policy).counts == {EntryState.SENT: 1}
        queue_digests(storage, people[4:])
        assert run_pass(storage, server.url(), policy).stopped is None
        queue_digests(storage, [f"p@e{n}.example" for n in range(9)])
        assert run_pass(storage, server.url(), policy).counts == {EntryState.FAILED: 4}, "five in a row"


def test_one_domain_cannot_stop_everybody(storage: Storage) -> None:
    queue_digests(storage, [f"p{n}@bad.example" for n in range(9)] + [f"p{n}@good.example" for n in range(9)])
    with SmtpServer(at("rcpt", "550 5.7.1 blocked", who="bad.example")) as server:
        report = run_pass(storage, server.url())
    assert report.counts == {EntryState.FAILED: 9, EntryState.SENT: 9}
    assert report.stopped is None


def test_a_domain_that_defers_three_times_is_postponed_alone(storage: Storage) -> None:
    queue_digests(
        storage, [f"p{n}@slow.example" for n in range(9)] + [f"p{n}@good.example" for n in range(9)]
    )
    with SmtpServer(at("rcpt", "450 4.7.1 later", who="slow.example")) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.DEFERRED: 9, EntryState.SENT: 9}
    assert sum("slow.example" in line for line in server.commands) == 3
    waiting = storage.entries.list_entries()
    assert sorted(entry.attempts for entry in waiting) == [0] * 6 + [1] * 3
    assert len({entry.next_attempt_at for entry in waiting if entry.attempts == 0}) == 1


def test_a_domain_that_defers_now_and_then_is_not_postponed(storage: Storage) -> None:
    queue_digests(storage, [f"{'late' if n % 3 else 'soon'}{n}@slow.example" for n in range(9)])
    with SmtpServer(at("rcpt", "450 4.7.1 later", who="late")) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.DEFERRED: 6, EntryState.SENT: 3}
    assert [entry.attempts for entry in storage.entries.list_entries()] == [1] * 6


def test_lost_after_the_final_dot_is_in_doubt_and_sent_again_the_same(storage: Storage) -> None:
    (ada,) = queue_digests(storage, [ADA])
    with SmtpServer(at("text", Misbehave.DROP, times=1)) as server:
        assert run_pass(storage, server.url()).counts == {EntryState.IN_DOUBT: 1}
        assert state_of(storage, ada) is EntryState.IN_DOUBT
        assert run_pass(storage, server.url(), minutes=1).counts == {}
        assert run_pass(storage, server.url(), minutes=7).counts == {EntryState.SENT: 1}
    first, second = server.messages
    assert first.data == second.data
    assert first.recipient == second.recipient == ADA


def test_in_doubt_is_held_where_the_operator_wants_so(storage: Storage) -> None:
    queue_digests(storage, [ADA])
    hold = replace(QUICK, resend_in_doubt=False)
    with SmtpServer(at("text", Misbehave.DROP, times=1)) as server:
        assert run_pass(storage, server.url(), hold).counts == {EntryState.HELD: 1}
        assert run_pass(storage, server.url(), hold, minutes=700).counts == {}
        (entry,) = storage.entries.list_entries([EntryState.HELD])
        assert storage.entries.release(entry.id)
        assert run_pass(storage, server.url(), hold, minutes=700).counts == {EntryState.SENT: 1}
    assert len(server.messages) == 2


def test_a_reply_that_does_not_come_in_time_is_in_doubt(storage: Storage) -> None:
    assert Timeouts().text_s == 600
    queue_digests(storage, [ADA])
    with SmtpServer(at("text", Misbehave.HANG, times=1)) as server:
        policy = replace(QUICK, timeouts=Timeouts(5, 5, text_s=0.2))
        assert run_pass(storage, server.url(), policy).counts == {EntryState.IN_DOUBT: 1}
        assert run_pass(storage, server.url(), policy, minutes=7).counts == {EntryState.SENT: 1}
    assert len({message.data for message in server.messages}) == 1


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
def test_lost_before_the_text_is_never_in_doubt(storage: Storage, stage: str) -> None:
    queue_digests(storage, [ADA, BOB])
    with SmtpServer(at(stage, Misbehave.DROP, times=1)) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
        assert report.counts == {EntryState.DEFERRED: 1, EntryState.SENT: 1}
        run_pass(storage, server.url(), minutes=7)
    assert server.recipients == [ADA, BOB]


def test_a_server_that_breaks_off_every_time_is_left_alone(storage: Storage) -> None:
    queue_digests(storage, [f"p{n}@d{n}.example" for n in range(10)])
    with SmtpServer(at("text", Misbehave.DROP)) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.IN_DOUBT: 3}
    assert report.stopped is not None
    assert states(storage) == {"in_doubt": 3, "queued": 7}


@pytest.mark.parametrize(("stage", "tried"), [("mail", 3), ("rcpt", 10)])
def test_a_relay_that_defers_all_it_is_asked_is_left_alone_and_servers_that_defer_their_own_are_not(
    storage: Storage, stage: str, tried: int
) -> None:
    queue_digests(storage, [f"p{n}@d{n}.example" for n in range(10)])
    with SmtpServer(at(stage, "451 4.7.1 later")) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.DEFERRED: tried}
    assert (report.stopped is not None) is (tried < 10)


@pytest.mark.parametrize("reply", ["552 5.3.4 message too big", "552 too big"])
def test_too_big_at_mail_fails_this_entry_alone(storage: Storage, reply: str) -> None:
    queue_digests(storage, [ADA, BOB])
    with SmtpServer(at("mail", reply, times=1)) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.FAILED: 1, EntryState.SENT: 1}
    assert report.stopped is None


def test_bigger_than_the_server_says_it_takes(storage: Storage) -> None:
    queue_digests(storage, [ADA])
    with SmtpServer(features=("SIZE 50",)) as server:
        assert run_pass(storage, server.url()).counts == {EntryState.FAILED: 1}
    assert not any(line.startswith("MAIL") for line in server.commands)


def test_a_non_ascii_local_part_is_held_where_the_server_cannot_take_it(storage: Storage) -> None:
    zoe = "zoë@one.example"
    queue_digests(storage, [zoe, BOB])
    with SmtpServer(features=("PIPELINING",)) as server:
        assert run_pass(storage, server.url()).counts == {EntryState.HELD: 1, EntryState.SENT: 1}
    (entry,) = storage.entries.list_entries([EntryState.HELD])
    storage.entries.release(entry.id)
    with SmtpServer() as server:
        assert run_pass(storage, server.url()).counts == {EntryState.SENT: 1}
    assert server.recipients == [zoe]
    assert "SMTPUTF8" in server.messages[0].mail_parameters


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
@pytest.mark.parametrize("fault", ["certificate", "password"])
def test_tls_or_auth_that_fails_stops_and_keeps_the_queue(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, fault: str
) -> None:
    certificate = make_certificate(tmp_path)
    if fault == "password":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    queue_digests(storage, [ADA, BOB, CYD])
    users, implicit = {"me": "right"}, scheme == "smtps"
    with SmtpServer(certificate=certificate, tls_from_start=implicit, users=users) as server:
        report = run_pass(storage, server.url(scheme, "me:wrong@"))
    assert report.counts == {}
    assert ("certificate" if fault == "certificate" else "AUTH") in str(report.stopped)
    assert states(storage) == {"queued": 3}
    assert server.messages == []
    assert b"MAIL" not in server.clear_text


def test_one_reply_names_an_address_but_no_log_line_does(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    queue_digests(storage, [ADA, BOB, CYD])
    script = at("rcpt", f"550 5.1.1 <{ADA}>: unknown", who=ADA)
    with caplog.at_level("INFO"), SmtpServer(script) as server:
        run_pass(storage, server.url())
    assert len([line for line in caplog.messages if "entry" in line]) == 3
    assert any("550 5.1.1" in line for line in caplog.messages)
    assert not any("@" in line for line in caplog.messages)
