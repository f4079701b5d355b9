"""The ledger: each slot ends once, each entry has one owner, and what is stored comes back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from digestbot.due_slots import compose_due
from digestbot.model import (
    COUNTS_AS_SENT,
    CardLength,
    Cause,
    Digest,
    DigestPaper,
    EntryKind,
    EntryState,
    OutboxEntry,
    Outcome,
    PaperId,
    Reason,
    ReasonKind,
    SlotOutcome,
    SlotRecord,
    Status,
)
from digestbot.outbox import deliver
from digestbot.owner import Life, life_of, owner_name
from digestbot.pipeline import deliver_everything
from digestbot.relay import SmtpSettings
from digestbot.storage import Storage
from digestbot.storage.database import to_epoch
from digestbot.storage.outbox import Notice, QueuedDigest
from tests.backends import open_storage
from tests.benchmarks import town
from tests.deliveries import (
    NOW,
    QUICK,
    SLOT,
    TestMails,
    add_subscribers,
    queue_digests,
    run_pass,
    some_digest,
    state_of,
    states,
)
from tests.smtp_servers import Misbehave, SmtpServer

pytestmark = pytest.mark.usefixtures("backend")

SOON = timedelta(hours=12)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    yield storage
    storage.close()


# ---- composing ------------------------------------------------------------------------------------------------------


def test_a_slot_is_composed_once_for_ever(storage: Storage) -> None:
    [ada] = add_subscribers(storage, ["ada@one.example"])
    first = QueuedDigest(some_digest(ada.id), "<1@example.org>", NOW)
    again = QueuedDigest(some_digest(ada.id, papers=9), "<2@example.org>", NOW)
    assert len(storage.outbox.store_decisions([], [first])) == 1
    assert storage.outbox.store_decisions([], [again]) == []
    assert storage.outbox.find_digest(ada.id, SLOT) == (first.digest, EntryState.QUEUED)
    empty = SlotRecord(ada.id, SLOT, SlotOutcome.EMPTY, NOW, Cause.BELOW_MINIMUM, 0.3)
    assert storage.outbox.record_slots([empty]) == set()
    assert storage.slots.records(ada.id)[0].outcome is SlotOutcome.COMPOSED


def test_a_slot_that_ended_otherwise_gets_no_digest(storage: Storage) -> None:
    ada, bob = add_subscribers(storage, ["ada@one.example", "bob@one.example"])
    late = SlotRecord(ada.id, SLOT, SlotOutcome.LATE, NOW, Cause.LATE)
    assert storage.outbox.record_slots([late, late]) == {(ada.id, SLOT)}
    queued = [QueuedDigest(some_digest(who.id), f"<{who.id}@x>", NOW) for who in (ada, bob)]
    assert len(storage.outbox.store_decisions([], queued)) == 1
    assert storage.outbox.find_digest(ada.id, SLOT) is None
    assert states(storage) == {"queued": 1}


def test_many_at_once(storage: Storage) -> None:
    people = add_subscribers(storage, [f"p{n}@one.example" for n in range(1203)])
    queued = [QueuedDigest(some_digest(who.id), f"<{who.id}@x>", NOW) for who in people]
    assert len(storage.outbox.store_decisions([], queued)) == 1203
    sent = storage.outbox.sent_papers([who.id for who in people], SLOT)
    assert all(papers == {10_000, 10_001, 10_002} for papers in sent.values())
    assert len(sent) == 1203


def test_digests_come_back_as_they_were(storage: Storage) -> None:
    [ada] = add_subscribers(storage, ["ada@one.example"])
    papers = (
        DigestPaper(PaperId(1), 0.123, None, (Reason(ReasonKind.TRENDING, "41 upvotes"),), CardLength.TITLE),
        DigestPaper(
            PaperId(2), 1.0, "tópic: 1", (Reason(ReasonKind.TERM, "a:b"), Reason(ReasonKind.LIKED, "…\"'\n"))
        ),
        DigestPaper(PaperId(3), 0.5, "tópic: 1", (), CardLength.SHORT),
    )
    digest = Digest(ada.id, SLOT, NOW, papers, more=7)
    storage.outbox.store_decisions([], [QueuedDigest(digest, "<1@x>", NOW)])
    assert storage.outbox.find_digest(ada.id, SLOT) == (digest, EntryState.QUEUED)


@pytest.mark.parametrize("state", list(EntryState))
def test_what_counts_as_sent(storage: Storage, state: EntryState) -> None:
    [ada] = queue_digests(storage, ["ada@one.example"])
    storage.db.execute("UPDATE outbox SET state = ?", (state.value,))
    assert bool(storage.outbox.sent_papers([ada.id], SLOT)[ada.id]) == (state in COUNTS_AS_SENT)
    assert storage.outbox.sent_papers([ada.id], SLOT + timedelta(days=1)) == {ada.id: set()}


# ---- who may be mailed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (EntryKind.DIGEST, {Status.CONFIRMED}),
        (EntryKind.WELCOME, {Status.CONFIRMED}),
        (EntryKind.QUIET, {Status.CONFIRMED}),
        (EntryKind.CONFIRM, {Status.CONFIRMED, Status.UNCONFIRMED, Status.UNSUBSCRIBED}),
        (EntryKind.GOODBYE, {Status.CONFIRMED, Status.UNCONFIRMED, Status.UNSUBSCRIBED}),
        (EntryKind.LINK, {Status.CONFIRMED, Status.UNCONFIRMED, Status.UNSUBSCRIBED}),
        (EntryKind.OPERATOR, set(Status)),
    ],
)
@pytest.mark.parametrize("status", list(Status))
def test_who_may_be_mailed(storage: Storage, kind: EntryKind, allowed: set[Status], status: Status) -> None:
    if kind is EntryKind.DIGEST:
        [ada] = queue_digests(storage, ["ada@one.example"])
    else:
        [ada] = add_subscribers(storage, ["ada@one.example"])
        payload = {"to": "operator@example.org"} if kind is EntryKind.OPERATOR else {}
        who = None if kind is EntryKind.OPERATOR else ada.id
        storage.outbox.queue(Notice(kind, "<n@x>", NOW, payload, who))
    storage.subscribers.set_status(ada.id, status)
    with SmtpServer() as server:
        report = run_pass(storage, server.url())
    expected = EntryState.SENT if status in allowed else EntryState.CANCELLED
    assert report.counts == {expected: 1}
    assert len(server.messages) == (status in allowed)


def test_nobody_is_mailed_who_leaves_during_the_pass(storage: Storage) -> None:
    people = queue_digests(storage, [f"p{n}@one.example" for n in range(20)])

    def script(stage: str, argument: str) -> None:
        if stage == "rcpt":
            for who in people:
                if who.email != argument:
                    storage.subscribers.set_status(who.id, Status.UNSUBSCRIBED)

    with SmtpServer(script) as server:
        report = run_pass(storage, server.url(), replace(QUICK, connections=1))
    assert report.counts == {EntryState.SENT: 1, EntryState.CANCELLED: 19}
    assert len(server.messages) == 1


def test_a_suppressed_address_gets_nothing_whatever_the_status(storage: Storage) -> None:
    [ada] = queue_digests(storage, ["ada@one.example"])
    storage.suppressions.add("ADA@one.example", reason="test", at=NOW)
    storage.subscribers.set_status(ada.id, Status.CONFIRMED)
    with SmtpServer() as server:
        assert run_pass(storage, server.url()).counts == {EntryState.CANCELLED: 1}
    assert server.messages == []


def test_what_has_nothing_left_to_send_is_cancelled(storage: Storage) -> None:
    queue_digests(storage, ["ada@one.example"])
    with SmtpServer() as server:
        relay = SmtpSettings.from_url(server.url())
        report = deliver(storage, TestMails(lambda entry: None), relay, QUICK, now=lambda: NOW)
    assert report.counts == {EntryState.CANCELLED: 1}
    assert server.messages == []


# ---- time -----------------------------------------------------------------------------------------------------------


def test_a_digest_never_tried_is_late_after_the_limit(storage: Storage) -> None:
    queue_digests(storage, ["ada@one.example"])
    assert storage.outbox.expire(NOW + SOON, SOON) == {}
    assert storage.outbox.expire(NOW + SOON + timedelta(seconds=1), SOON) == {EntryState.CANCELLED: 1}


def test_once_tried_it_has_a_day(storage: Storage) -> None:
    queue_digests(storage, ["ada@one.example"])
    storage.db.execute("UPDATE outbox SET attempts = 1, state = 'deferred', next_attempt_at = due_at + 90000")
    assert storage.outbox.expire(NOW + timedelta(hours=24), SOON) == {}
    assert storage.outbox.expire(NOW + timedelta(hours=24, seconds=1), SOON) == {EntryState.FAILED: 1}
    assert storage.db.row("SELECT state, next_attempt_at FROM outbox") == ("failed", None)


@pytest.mark.parametrize(("attempts", "end"), [(0, EntryState.CANCELLED), (1, EntryState.FAILED)])
def test_other_kinds_wait_longer(storage: Storage, attempts: int, end: EntryState) -> None:
    [ada] = add_subscribers(storage, ["ada@one.example"])
    storage.outbox.queue(Notice(EntryKind.CONFIRM, "<n@x>", NOW, {}, ada.id))
    storage.db.execute("UPDATE outbox SET attempts = ?", (attempts,))
    assert storage.outbox.expire(NOW + timedelta(days=5), SOON) == {}
    assert storage.outbox.expire(NOW + timedelta(days=5, seconds=1), SOON) == {end: 1}


@pytest.mark.parametrize(("attempts", "wait"), [(0, SOON), (1, timedelta(hours=24))])
def test_the_note_of_a_quiet_week_waits_like_a_digest(
    storage: Storage, attempts: int, wait: timedelta
) -> None:
    [ada] = add_subscribers(storage, ["ada@one.example"])
    storage.outbox.queue(Notice(EntryKind.QUIET, "<n@x>", NOW, {}, ada.id))
    storage.db.execute("UPDATE outbox SET attempts = ?", (attempts,))
    assert storage.outbox.expire(NOW + wait, SOON) == {}
    assert storage.outbox.expire(NOW + wait + timedelta(seconds=1), SOON).total() == 1


def test_when_a_mail_ended_is_noted_once_it_has(storage: Storage) -> None:
    queue_digests(storage, ["ada@one.example", "bob@one.example"])

    def script(stage: str, argument: str) -> str | None:
        return "451 4.7.1 later" if stage == "rcpt" and argument == "bob@one.example" else None

    with SmtpServer(script) as server:
        run_pass(storage, server.url(), minutes=5)
    ended = to_epoch(NOW + timedelta(minutes=5))
    assert storage.db.rows("SELECT state, finished_at FROM outbox ORDER BY id") == [
        ("sent", ended),
        ("deferred", None),
    ]


# ---- owners ---------------------------------------------------------------------------------------------------------


def test_two_claimers_share_nothing(tmp_path: Path) -> None:
    storage, other = open_storage(tmp_path), open_storage(tmp_path)
    queue_digests(storage, [f"p{n}@one.example" for n in range(30)])
    mine = storage.outbox.claim(NOW, "a", 20, real_now=NOW)
    theirs = other.outbox.claim(NOW, "b", 20, real_now=NOW)
    assert (len(mine), len(theirs)) == (20, 10)
    assert {e.id for e in mine}.isdisjoint({e.id for e in theirs})
    assert not storage.outbox.begin_attempt(theirs[0], "a", NOW)
    assert other.outbox.begin_attempt(theirs[0], "b", NOW)
    storage.close()
    other.close()


def test_the_oldest_due_come_first(storage: Storage) -> None:
    for days in (3, 1, 2):
        moment = NOW - timedelta(hours=days)
        queue_digests(storage, [f"p{days}@one.example"], at=moment)
    claimed = storage.outbox.claim(NOW, "a", 2, real_now=NOW)
    assert [entry.recipient for entry in claimed] == ["p3@one.example", "p2@one.example"]


def claim_in_doubt(storage: Storage, owner: str) -> tuple[int, int]:
    """One entry in doubt and one merely claimed by `owner`; their ids."""
    queue_digests(storage, ["ada@one.example", "bob@one.example"])
    tried, claimed = storage.outbox.claim(NOW, owner, 2, real_now=NOW)
    assert storage.outbox.begin_attempt(tried, owner, NOW)
    return tried.id, claimed.id


def dead_owner(after: str = "") -> str:
    """The owner name of a process that has ended, without a word where `after` says so."""
    code = "from digestbot.owner import owner_name\nwith owner_name() as n:\n    print(n, flush=True)\n    "
    code += after or "pass"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    ).stdout.strip()


@pytest.mark.parametrize("resend", [True, False])
def test_what_a_dead_process_held_is_free_at_once(storage: Storage, resend: bool) -> None:
    owner = dead_owner("import os; os.kill(os.getpid(), 9)")
    assert life_of(owner) is Life.DEAD
    claim_in_doubt(storage, owner)
    with SmtpServer() as server:
        report = run_pass(storage, server.url(), replace(QUICK, resend_in_doubt=resend))
    assert report.counts == ({EntryState.SENT: 2} if resend else {EntryState.SENT: 1, EntryState.HELD: 1})
    assert len(server.messages) == (2 if resend else 1)


def test_what_another_run_held_that_died_meanwhile_is_sent_too(tmp_path: Path) -> None:
    with SmtpServer() as server:
        settings = town.town_settings(tmp_path, server.url())
        with town.open_town(settings, readers=3, papers=30) as desk:
            composed = compose_due(desk, town.NOW).composed
            owner = dead_owner("import os; os.kill(os.getpid(), 9)")
            assert len(desk.storage.outbox.claim(town.NOW, owner, 2, real_now=datetime.now(UTC))) == 2
            report = deliver_everything(desk, town.NOW)
    assert report.counts == {EntryState.SENT: composed}
    assert len(server.messages) == composed


def test_what_a_process_held_that_died_long_ago_is_too_late(storage: Storage) -> None:
    claim_in_doubt(storage, dead_owner("import os; os.kill(os.getpid(), 9)"))
    with SmtpServer() as server:
        report = run_pass(storage, server.url(), minutes=25 * 60)
    assert report.counts == {EntryState.FAILED: 1, EntryState.CANCELLED: 1}
    assert server.messages == []


def test_what_a_living_pass_holds_is_left_alone(storage: Storage) -> None:
    with owner_name() as owner:
        assert life_of(owner) is Life.HERE
        claim_in_doubt(storage, owner)
        with SmtpServer() as server:
            assert run_pass(storage, server.url()).counts == {}
    assert life_of(owner) is Life.DEAD, "the pass has ended, though its process lives"
    with SmtpServer() as server:
        assert run_pass(storage, server.url()).counts == {EntryState.SENT: 2}


def test_another_living_process_is_seen() -> None:
    code = "from digestbot.owner import owner_name\nwith owner_name() as n:\n    print(n, flush=True)\n    input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    name = other.stdout.readline().strip()
    assert life_of(name) is Life.HERE
    other.communicate("\n")
    assert life_of(name) is Life.DEAD


def test_an_owner_elsewhere_is_dead_when_its_lease_has_ended(storage: Storage) -> None:
    owner = "another-host-1234:boot:77:1:abcd"
    assert life_of(owner) is Life.ELSEWHERE
    claim_in_doubt(storage, owner)  # leased until NOW + 60 s
    assert storage.outbox.take_over(owner, resend=True, leased_until=NOW + timedelta(seconds=59)) == []
    assert states(storage) == {"in_doubt": 1, "sending": 1}
    storage.outbox.renew(owner, real_now=NOW + timedelta(seconds=30))
    assert storage.outbox.take_over(owner, resend=True, leased_until=NOW + timedelta(seconds=89)) == []
    assert len(storage.outbox.take_over(owner, resend=True, leased_until=NOW + timedelta(seconds=90))) == 1
    assert states(storage) == {"queued": 2}


def test_of_a_pass_that_lost_its_entries_only_what_it_sent_counts(storage: Storage) -> None:
    """It was asleep, say, until its lease had ended: what it sent is not sent again, the rest is the next one's."""
    people = queue_digests(storage, ["ada@one.example", "bob@one.example"])
    entries = storage.outbox.claim(NOW, "slow", 2, real_now=NOW)
    assert all(storage.outbox.begin_attempt(entry, "slow", NOW) for entry in entries)
    storage.outbox.take_over("slow", resend=True)
    for entry, state in zip(entries, (EntryState.SENT, EntryState.BOUNCED), strict=True):
        storage.outbox.record(entry, Outcome(state, "said"), NOW, owner="slow")
    assert [state_of(storage, who) for who in people] == [EntryState.SENT, EntryState.QUEUED]


def test_a_pass_hands_back_one_entry_and_only_its_own(storage: Storage) -> None:
    people = queue_digests(storage, [f"p{n}@one.example" for n in range(4)])
    storage.db.execute(
        "UPDATE outbox SET attempts = 1, state = 'deferred' WHERE subscriber_id = ?", (people[1].id,)
    )
    mine = storage.outbox.claim(NOW, "a", 3, real_now=NOW)
    [other] = storage.outbox.claim(NOW, "b", 1, real_now=NOW)
    assert all(storage.outbox.begin_attempt(entry, "a", NOW) for entry in mine)
    assert storage.outbox.begin_attempt(other, "b", NOW)
    for entry in (*mine[:2], other):
        storage.outbox.hand_back(entry.id, "a")
    assert storage.db.rows("SELECT state, attempts, owner FROM outbox ORDER BY id") == [
        ("queued", 0, None),
        ("deferred", 1, None),
        ("in_doubt", 1, "a"),
        ("in_doubt", 1, "b"),
    ]


def test_after_a_power_cut_all_that_was_claimed_is_in_doubt(storage: Storage) -> None:
    with owner_name() as own:
        machine, boot, *rest = own.split(":")
    owner = ":".join([machine, "0" * len(boot), *rest])
    assert life_of(owner) is Life.LOST_POWER
    claim_in_doubt(storage, owner)
    with SmtpServer() as server:
        report = run_pass(storage, server.url(), replace(QUICK, resend_in_doubt=False))
    assert report.counts == {EntryState.HELD: 2}


def test_a_name_nobody_can_read_is_elsewhere() -> None:
    for name in ("", "a:b", "a:b:c:d:e", "::::"):
        assert life_of(name) is Life.ELSEWHERE


# ---- the operator ---------------------------------------------------------------------------------------------------


def test_release_and_drop(storage: Storage) -> None:
    _, bob, _ = queue_digests(storage, ["ada@one.example", "bob@one.example", "cyd@one.example"])
    first, second, third = storage.entries.list_entries()
    storage.db.execute("UPDATE outbox SET state = 'held' WHERE id = ?", (first.id,))
    assert storage.entries.release(first.id)
    assert not storage.entries.release(first.id)
    assert not storage.entries.release(second.id)
    assert storage.entries.drop(second.id, NOW)
    assert not storage.entries.drop(second.id, NOW)
    storage.outbox.claim(NOW, "me", 9, real_now=NOW)
    assert not storage.entries.drop(third.id, NOW), "it is being sent"
    assert state_of(storage, bob) is EntryState.CANCELLED
    assert storage.outbox.sent_papers([bob.id], SLOT) == {bob.id: set()}


def test_stop_ends_a_pass_between_two_mails(storage: Storage) -> None:
    stop = threading.Event()
    queue_digests(storage, [f"p{n}@one.example" for n in range(50)])

    def script(stage: str, argument: str) -> None:
        if stage == "text":
            stop.set()

    with SmtpServer(script) as server:
        relay = SmtpSettings.from_url(server.url())
        report = deliver(
            storage, TestMails(), relay, replace(QUICK, connections=1), now=lambda: NOW, stop=stop
        )
    assert report.counts == {EntryState.SENT: 1}
    assert states(storage) == {"sent": 1, "queued": 49}
    assert storage.outbox.owners() == []


@pytest.mark.parametrize("stage", ["connect", "ehlo"])
def test_a_pass_that_ends_while_it_waits_for_the_relay_was_not_refused(storage: Storage, stage: str) -> None:
    queue_digests(storage, ["ada@one.example", "bob@one.example"])
    stop = threading.Event()
    with SmtpServer(lambda now_at, _: Misbehave.HANG if now_at == stage else None) as server:
        threading.Timer(0.3, stop.set).start()
        relay = SmtpSettings.from_url(server.url())
        report = deliver(storage, TestMails(), relay, QUICK, now=lambda: NOW, stop=stop)
    assert report.stopped is None
    assert states(storage) == {"queued": 2}


def test_a_broken_template_ends_the_pass_and_keeps_the_queue(storage: Storage) -> None:
    from digestbot.errors import TemplateError

    queue_digests(storage, [f"p{n}@one.example" for n in range(5)])

    def broken(entry: OutboxEntry) -> None:
        raise TemplateError("body.html, line 3: no such thing")

    with SmtpServer() as server, pytest.raises(TemplateError, match="line 3"):
        deliver(storage, TestMails(broken), SmtpSettings.from_url(server.url()), QUICK, now=lambda: NOW)
    assert states(storage) == {"queued": 5}


def test_nothing_due_opens_no_connection(storage: Storage) -> None:
    queue_digests(storage, ["ada@one.example", "bob@one.example"])

    def script(stage: str, argument: str) -> str | None:
        return "451 4.7.1 later" if stage == "rcpt" and argument == "bob@one.example" else None

    with SmtpServer(script) as server:
        assert run_pass(storage, server.url()).counts == {EntryState.SENT: 1, EntryState.DEFERRED: 1}
    with SmtpServer() as server:
        assert run_pass(storage, server.url(), minutes=1).counts == {}
    assert server.connections == 0
