"""Builders for tests of delivery: a ledger with digests due, and mails made from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from digestbot.model import (
    Digest,
    DigestPaper,
    EntryState,
    OutboxEntry,
    PaperId,
    Reason,
    ReasonKind,
    Subscriber,
    SubscriberId,
)
from digestbot.outbox import DeliveryPolicy, DeliveryReport, clear_up, deliver
from digestbot.relay import SmtpSettings, Timeouts
from digestbot.storage import Storage
from digestbot.storage.outbox import QueuedDigest

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SLOT = NOW.date()
QUICK = DeliveryPolicy(connections=2, timeouts=Timeouts(5, 5, 5), cool_down_s=0.01)


@dataclass(frozen=True)
class TestMail:
    __test__ = False
    sender: str
    recipient: str
    data: bytes


def make_mail(entry: OutboxEntry) -> TestMail:
    """A small mail, the same whenever it is made from the same entry."""
    text = (
        f"From: digests@example.org\r\nTo: {entry.recipient}\r\nMessage-ID: {entry.message_id}\r\n"
        f"Subject: test\r\n\r\nHello.\r\n"
    )
    return TestMail("bounce+tag@example.org", entry.recipient, text.encode())


@dataclass(frozen=True)
class TestMails:
    """Small mails, as `make` makes them."""

    __test__ = False
    make: Callable[[OutboxEntry], TestMail | None] = make_mail

    def prepare(self, entries: Sequence[OutboxEntry]) -> None:
        """Nothing is fetched for them."""


def add_subscribers(storage: Storage, emails: Sequence[str]) -> list[Subscriber]:
    return storage.subscribers.add([Subscriber(SubscriberId(0), email) for email in emails], now=NOW)


def some_digest(
    subscriber_id: SubscriberId, slot: date = SLOT, at: datetime = NOW, papers: int = 3
) -> Digest:
    reasons = (Reason(ReasonKind.TERM, "continual learning"), Reason(ReasonKind.AUTHOR, "Ada Lovelace"))
    chosen = tuple(
        DigestPaper(PaperId(10_000 + n), 0.5 + n / 1000, "continual learning", reasons[: 1 + n % 2])
        for n in range(papers)
    )
    return Digest(subscriber_id, slot, at, chosen)


def queue_digests(
    storage: Storage, emails: Sequence[str], *, slot: date = SLOT, at: datetime = NOW, papers: int = 3
) -> list[Subscriber]:
    """One digest for each of the addresses, which become subscribers where they are not yet."""
    known = storage.subscribers.find_many(emails)
    added = add_subscribers(storage, [email for email in emails if email.casefold() not in known])
    everybody = {s.email: s for s in [*known.values(), *added]}
    queued = [
        QueuedDigest(
            some_digest(everybody[email].id, slot, at, papers),
            f"<{slot}.{everybody[email].id}@example.org>",
            at,
        )
        for email in emails
    ]
    storage.outbox.store_decisions([], queued)
    return [everybody[email] for email in emails]


def run_pass(
    storage: Storage,
    url: str,
    policy: DeliveryPolicy = QUICK,
    *,
    at: datetime = NOW,
    minutes: float = 0,
) -> DeliveryReport:
    """What a run does with the outbox: clears up, delivers, and reports both."""
    now = at + timedelta(minutes=minutes)
    ended = clear_up(storage, policy, now)
    report = deliver(storage, TestMails(), SmtpSettings.from_url(url), policy, now=lambda: now)
    report.counts.update(ended)
    return report


def states(storage: Storage) -> dict[str, int]:
    """Entries by state, without the states that have none."""
    return {state.value: count for state, count in storage.entries.counts().items() if count}


def state_of(storage: Storage, subscriber: Subscriber, slot: date = SLOT) -> EntryState:
    found = storage.outbox.find_digest(subscriber.id, slot)
    assert found is not None
    return found[1]
