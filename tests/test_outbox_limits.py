"""The rate and the daily limit, over restarts, and whose turn it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from digestbot.model import EntryKind, EntryState, OutboxEntry, Status, Subscriber
from digestbot.outbox import deliver
from digestbot.relay import SmtpSettings
from digestbot.storage import Storage
from digestbot.storage.database import to_epoch
from digestbot.storage.limits import PUT_OFF, LimitStore
from digestbot.storage.outbox import Notice
from tests.backends import open_storage
from tests.deliveries import (
    NOW,
    QUICK,
    TestMail,
    TestMails,
    make_mail,
    queue_digests,
    run_pass,
    states,
)
from tests.smtp_servers import SmtpServer

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    yield storage
    storage.close()


def test_the_rate_holds_over_connections_and_restarts(storage: Storage) -> None:
    queue_digests(storage, [f"p{n}@one.example" for n in range(6)])
    policy = replace(QUICK, connections=3, rate=20.0)
    began = time.monotonic()
    with SmtpServer() as server:
        run_pass(storage, server.url(), policy)
        queue_digests(storage, [f"q{n}@one.example" for n in range(5)])
        run_pass(storage, server.url(), policy)
    assert len(server.messages) == 11
    assert time.monotonic() - began >= 10 / 20


def test_a_clock_set_back_does_not_stop_the_rate(storage: Storage) -> None:
    limits = LimitStore(storage.db)
    assert limits.reserve_time(10, real_now=1_000_000.0) == 0
    assert limits.reserve_time(10, real_now=1_000_000.0) == pytest.approx(0.1)
    assert limits.reserve_time(10, real_now=900_000.0) == 0


def test_never_more_than_the_limit_in_any_24_hours(tmp_path: Path) -> None:
    sent: list[datetime] = []
    with SmtpServer() as server:
        for hours in range(0, 24 * 4, 6):
            storage = open_storage(tmp_path)  # a restart each time
            moment = NOW + timedelta(hours=hours)
            storage.limits.forget_handovers(moment)
            people = [f"p{hours}-{n}@one.example" for n in range(4)]
            queue_digests(storage, people, slot=moment.date(), at=moment)
            report = run_pass(storage, server.url(), replace(QUICK, daily_limit=5), at=moment)
            sent += [moment] * report.counts[EntryState.SENT]
            storage.close()
    for first in sent:
        assert sum(first <= other < first + timedelta(hours=24) for other in sent) <= 5
    assert len(sent) == len(server.messages) == 5 * 4, "and all of it is used"
    with closing(open_storage(tmp_path)) as storage:
        assert storage.db.row("SELECT MIN(at) > ? FROM handovers", (to_epoch(NOW),)) == (1,), "days ago"


def test_refused_mails_do_not_count(storage: Storage) -> None:
    queue_digests(storage, [f"p{n}@one.example" for n in range(8)])
    refuse = [5]

    def script(stage: str, argument: str) -> str | None:
        refuse[0] -= stage == "rcpt"
        return "550 5.1.1 no" if stage == "rcpt" and refuse[0] >= 0 else None

    with SmtpServer(script) as server:
        report = run_pass(storage, server.url(), replace(QUICK, daily_limit=3))
    assert report.counts == {EntryState.BOUNCED: 5, EntryState.SENT: 3}


def test_a_message_given_back_is_that_of_its_second(storage: Storage) -> None:
    then, at = NOW - timedelta(seconds=1), NOW
    assert storage.limits.reserve_message(2, then)
    assert storage.limits.reserve_message(2, at)
    storage.limits.return_message(at)
    storage.limits.return_message(at)
    assert storage.limits.used(NOW) == 1


def test_room_that_a_refusal_gives_back_is_used_in_the_same_pass(storage: Storage) -> None:
    """Also by those who were in turn while the refused mail was still under way."""
    queue_digests(storage, [f"p{n}@one.example" for n in range(6)])

    def script(stage: str, argument: str) -> str | None:
        if stage == "rcpt" and argument in ("p0@one.example", "p1@one.example"):
            time.sleep(0.3)
            return "550 5.1.1 no"
        return None

    with SmtpServer(script) as server:
        report = run_pass(storage, server.url(), replace(QUICK, daily_limit=2, connections=4))
    assert report.counts == {EntryState.BOUNCED: 2, EntryState.SENT: 2}
    assert server.recipients == ["p2@one.example", "p3@one.example"]


def test_what_is_not_sent_takes_no_place(storage: Storage) -> None:
    """Be there nothing left to send, or the recipient gone."""
    [_, gone, _] = queue_digests(storage, ["empty@one.example", "gone@one.example", "ada@one.example"])
    storage.subscribers.set_status(gone.id, Status.UNSUBSCRIBED)
    mails = TestMails(lambda entry: None if entry.recipient.startswith("empty") else make_mail(entry))
    with SmtpServer() as server:
        relay, policy = SmtpSettings.from_url(server.url()), replace(QUICK, daily_limit=1, connections=1)
        report = deliver(storage, mails, relay, policy, now=lambda: NOW)
    assert report.counts == {EntryState.CANCELLED: 2, EntryState.SENT: 1}


def test_the_last_place_goes_to_the_oldest_due(storage: Storage) -> None:
    """However long its mail takes to make."""
    for minute in range(6):
        queue_digests(storage, [f"p{minute}@one.example"], at=NOW - timedelta(minutes=10 - minute))

    def slowly(entry: OutboxEntry) -> TestMail:
        time.sleep(0.2 if entry.recipient < "p3" else 0)
        return make_mail(entry)

    with SmtpServer() as server:
        relay = SmtpSettings.from_url(server.url())
        policy = replace(QUICK, daily_limit=3, connections=6)
        assert deliver(storage, TestMails(slowly), relay, policy, now=lambda: NOW).put_off == 3
    assert server.recipients == ["p0@one.example", "p1@one.example", "p2@one.example"]


def test_mails_people_wait_for_come_first(storage: Storage) -> None:
    [ada, *_] = queue_digests(storage, [f"p{n}@one.example" for n in range(5)])
    storage.outbox.queue(Notice(EntryKind.LINK, "<n1@example.org>", NOW, {}, ada.id))
    with SmtpServer() as server:
        report = run_pass(storage, server.url(), replace(QUICK, daily_limit=1, connections=1))
    assert report.put_off == 5
    assert b"<n1@example.org>" in server.messages[0].data


def days(
    storage: Storage, people: dict[str, int], *, limit: int, count: int
) -> list[tuple[date, Counter[str]]]:
    """Lets days pass, a pass an hour; `people`: address to hour of the digest. Returns who got mail on which day."""
    got: list[tuple[date, Counter[str]]] = []
    with SmtpServer() as server:
        for hour in range(24 * count):
            moment = NOW.replace(hour=0) + timedelta(hours=hour)
            due = [who for who, at in people.items() if at == moment.hour]
            found = queue_digests(storage, due, slot=moment.date(), at=moment) if due else []
            storage.subscribers.set_next_due({who.id: moment + timedelta(days=1) for who in found})
            before = len(server.messages)
            run_pass(storage, server.url(), replace(QUICK, daily_limit=limit), at=moment)
            if moment.hour == 0:
                got.append((moment.date(), Counter()))
            got[-1][1].update(message.recipient for message in server.messages[before:])
    return got


def test_those_put_off_come_first_the_next_day(storage: Storage) -> None:
    people = {f"p{n}@one.example": 8 for n in range(6)}
    first, second, third, fourth = (set(got) for _, got in days(storage, people, limit=3, count=4))
    assert len(first) == len(second) == 3
    assert first | second == set(people)
    assert third == first
    assert fourth == second


def test_turns_decide_who_is_claimed_at_all(storage: Storage) -> None:
    """Also where more wait than one claim takes."""
    queue_digests(storage, ["a@one.example", "b@one.example"])
    with SmtpServer() as server:
        run_pass(storage, server.url(), replace(QUICK, daily_limit=1))
        run_pass(storage, server.url(), replace(QUICK, daily_limit=1), minutes=13 * 60)
    day = NOW + timedelta(days=1)
    queue_digests(storage, ["a@one.example", "b@one.example"], slot=day.date(), at=day)
    [first] = storage.outbox.claim(day, "me", 1, real_now=day, in_turns=True)
    assert [first.recipient] != server.recipients


def test_they_come_first_though_others_are_due_earlier(storage: Storage) -> None:
    people = {"early@one.example": 6, "late@one.example": 9}
    got = [set(who) for _, who in days(storage, people, limit=1, count=5)]
    assert got[0] == {"early@one.example"}
    total = Counter(address for day in got for address in day)
    assert total["late@one.example"] >= 2
    assert total["early@one.example"] >= 2


def test_whom_the_limit_cost_a_digest_comes_before_whose_last_one_is_longer_ago(storage: Storage) -> None:
    """As a daily reader's may be, beside a weekly one's."""
    week_ago, before, yesterday = (NOW - timedelta(days=days) for days in (7, 2, 1))
    queue_digests(storage, ["weekly@one.example"], slot=week_ago.date(), at=week_ago)
    queue_digests(storage, ["daily@one.example"], slot=before.date(), at=before)
    storage.db.execute("UPDATE outbox SET state = 'sent'")
    queue_digests(storage, ["daily@one.example"], slot=yesterday.date(), at=yesterday)
    assert storage.limits.mark_put_off(yesterday) == 1
    assert storage.outbox.expire(NOW, timedelta(hours=12)) == {EntryState.CANCELLED: 1}
    queue_digests(storage, ["weekly@one.example", "daily@one.example"])
    [first] = storage.outbox.claim(NOW, "me", 1, real_now=NOW, in_turns=True)
    assert first.recipient == "daily@one.example"


def owe(storage: Storage, email: str) -> Subscriber:
    """Somebody whom the daily limit cost the digest of yesterday, and who is due again today."""
    yesterday = NOW - timedelta(days=1)
    [who] = queue_digests(storage, [email], slot=yesterday.date(), at=yesterday)
    storage.limits.mark_put_off(yesterday)
    storage.outbox.expire(yesterday + timedelta(hours=13), timedelta(hours=12))
    storage.subscribers.set_next_due({who.id: NOW})
    return who


def test_who_is_owed_a_digest(storage: Storage) -> None:
    ada = owe(storage, "ada@one.example")
    bob = owe(storage, "bob@one.example")
    yesterday = NOW - timedelta(days=1)
    [late] = queue_digests(storage, ["late@one.example"], slot=yesterday.date(), at=yesterday)
    storage.outbox.expire(NOW, timedelta(hours=12))
    storage.subscribers.set_next_due({late.id: NOW})
    queue_digests(storage, ["other@one.example"])
    storage.db.execute("UPDATE outbox SET state = 'sent' WHERE state = 'queued'")
    assert storage.limits.owed(NOW) == {ada.id, bob.id}, "but not who was late for another reason"
    storage.subscribers.set_status(bob.id, Status.UNSUBSCRIBED)
    assert storage.limits.owed(NOW) == {ada.id}
    storage.subscribers.set_next_due({ada.id: NOW + timedelta(days=1)})
    assert storage.limits.owed(NOW) == set(), "not due before tomorrow"
    queue_digests(storage, [ada.email])
    assert storage.limits.owed(NOW) == {ada.id}, "today's waits"
    assert storage.limits.owed(NOW + timedelta(hours=37)) == set(), "48 h after it was too late"
    storage.db.execute("UPDATE outbox SET state = 'sent' WHERE state = 'queued'")
    storage.subscribers.set_next_due({ada.id: NOW})
    assert storage.limits.owed(NOW) == set(), "today's was sent"


def test_put_off_is_what_waits_for_the_limit_alone(storage: Storage) -> None:
    """Neither what the server deferred, nor what is not due, nor other mails, nor what ended or is being sent."""
    [ada, *_] = queue_digests(storage, [f"p{n}@one.example" for n in range(5)])
    queue_digests(storage, ["later@one.example"], at=NOW + timedelta(seconds=1))
    storage.outbox.queue(Notice(EntryKind.LINK, "<n1@example.org>", NOW, {}, ada.id))
    for n, change in enumerate(("attempts = 1, state = 'deferred'", "state = 'sent'", "owner = 'somebody'")):
        storage.db.execute(f"UPDATE outbox SET {change} WHERE id = (SELECT MIN(id) FROM outbox) + {n}")
    assert storage.limits.mark_put_off(NOW) == 2
    marked = storage.db.rows(
        "SELECT s.email FROM outbox o JOIN subscribers s ON s.id = o.subscriber_id WHERE reply = ?",
        (PUT_OFF,),
    )
    assert sorted(marked) == [("p3@one.example",), ("p4@one.example",)]


def test_what_is_put_off_too_long_is_cancelled(storage: Storage) -> None:
    queue_digests(storage, ["a@one.example", "b@one.example"])
    with SmtpServer() as server:
        run_pass(storage, server.url(), replace(QUICK, daily_limit=1))
        assert states(storage) == {"sent": 1, "queued": 1}
        run_pass(storage, server.url(), replace(QUICK, daily_limit=1), minutes=13 * 60)
    assert states(storage) == {"sent": 1, "cancelled": 1}
    [entry] = storage.entries.list_entries([EntryState.CANCELLED])
    assert entry.last_reply == "put off by the daily limit"
