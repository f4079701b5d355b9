"""Subscribers as a state machine: who becomes what by which event, and which mail goes out then.

subscribe -> unconfirmed -> confirm -> confirmed -> unsubscribe -> unsubscribed -> subscribe ...
hard bounce, complaint or the operator -> suppressed, which only taking off the list ends
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from digestbot import ingest
from digestbot.errors import SettingsError, UsageError
from digestbot.links import EXPIRES_AFTER, Links
from digestbot.model import (
    Cause,
    DropReport,
    EntryKind,
    Opinion,
    PaperId,
    SlotOutcome,
    SlotRecord,
    Status,
    Subscriber,
    SubscriberId,
    Vote,
)
from digestbot.schedule import (
    Due,
    Verdict,
    due_instant,
    next_digest,
    next_due,
    reschedule,
    settle,
    settles_since,
    zone_of,
)
from digestbot.storage import Storage
from digestbot.storage.outbox import Notice
from digestbot.storage.subscribers import email_key
from digestbot.subscriber_form import NOBODY, FormError, overlay, to_form

log = logging.getLogger(__name__)

UNTIL_RESUMED = date.max  # a pause without an end
CONSENT = "Send me a digest of new papers on the topics I chose. I can change it or end it at any time."
CONFIRM_ASKED = "was asked to confirm"
CONFIRMS_A_MONTH = 3  # and at most one a day, whoever asks for them
MONTH = timedelta(days=30)
DECISIONS_AT_ONCE = 10_000  # slots settled in one transaction, at a kilobyte each


@dataclass(frozen=True, slots=True)
class Office:
    """Where subscriptions are changed: the storage, the links for mails, the domain of Message-IDs, and the time."""

    storage: Storage
    links: Links | None  # None: no secret key is set; then nothing that needs a mail can be done
    mail_domain: str
    now: datetime

    def subscribe(self, subscriber: Subscriber, *, how: str) -> Subscriber:
        """Adds a new subscriber; a confirmed one is scheduled, any other is asked to confirm.

        how: where the consent comes from, kept as its record. Raises UsageError for a known or suppressed address.
        """
        store = self.storage.subscribers
        with self.storage.transaction():
            if store.find(subscriber.email):
                raise UsageError(f"{subscriber.email} is known already; `subscribers set` changes it")
            if self.storage.suppressions.among([subscriber.email]):
                raise UsageError(
                    f"{subscriber.email} is on the suppression list; `suppressions remove` takes it off"
                )
            [added] = self.enrol([subscriber], how=how)
            if added.status is Status.UNCONFIRMED:
                self.ask_to_confirm(added)
        return added

    def ask_to_confirm(
        self, subscriber: Subscriber, *, wanted: Subscriber | None = None, liked: Sequence[PaperId] = ()
    ) -> bool:
        """Mails a link that confirms; False: enough were sent, one in 24 hours and CONFIRMS_A_MONTH in 30 days.

        wanted, liked: what this link alone confirms, and not before; anybody may ask. None: what is stored then.
        """
        with self.storage.transaction():
            asked = self.storage.accounts.times(subscriber.id, CONFIRM_ASKED, since=self.now - MONTH)
            if len(asked) >= CONFIRMS_A_MONTH or any(at > self.now - timedelta(days=1) for at in asked):
                return False
            self.notify(EntryKind.CONFIRM, subscriber)
            if wanted is not None:
                self.storage.accounts.note_asked(
                    subscriber.id, self.now, [_wishes(wanted), liked], since=self.now - EXPIRES_AFTER
                )
            self.storage.subscribers.record_consents(
                [subscriber.id], at=self.now, how=CONFIRM_ASKED, detail=CONSENT
            )
        return True

    def enrol(self, subscribers: Sequence[Subscriber], *, how: str) -> list[Subscriber]:
        """Adds new subscribers as they are given, without any mail, and records how consent came about."""
        scheduled = [self._scheduled(s, recorded=()) for s in subscribers]
        with self.storage.transaction():
            added = self.storage.subscribers.add(scheduled, now=self.now)
            ids = [s.id for s in added if s.status is Status.CONFIRMED]
            self.storage.subscribers.record_consents(ids, at=self.now, how=how, detail="")
            for s in added:
                if s.status is Status.SUPPRESSED:
                    self.storage.suppressions.add(s.email, reason=how, at=self.now)
        return added

    def asked(self, subscriber: Subscriber, at: datetime) -> tuple[Subscriber, list[PaperId]]:
        """What the confirmation mail of an instant asks: the subscriber to be, and the papers of a library."""
        found = self.storage.accounts.find_asked(subscriber.id, at)
        if not isinstance(found, list):
            return subscriber, []
        wishes, liked = found
        return overlay(subscriber, wishes), liked

    def confirm(self, subscriber_id: SubscriberId, asked_at: datetime, *, how: str, detail: str) -> bool:
        """An unconfirmed or unsubscribed subscriber confirms the mail of an instant and is welcomed; False: nothing to
        confirm."""
        with self.storage.transaction():
            subscriber = self.storage.subscribers.get_many([subscriber_id]).get(subscriber_id)
            if subscriber is None or subscriber.status not in (Status.UNCONFIRMED, Status.UNSUBSCRIBED):
                return False
            recorded = self._recorded([subscriber_id]).get(subscriber_id, set())
            wanted, liked = self.asked(subscriber, asked_at)
            confirmed = self._scheduled(replace(wanted, status=Status.CONFIRMED), recorded=recorded)
            self.storage.subscribers.update([confirmed])
            votes = [Vote(paper_id, Opinion.LIBRARY, self.now) for paper_id in liked]
            self.storage.subscribers.vote(subscriber_id, votes)
            self.storage.accounts.forget_asked(subscriber_id)
            self.storage.subscribers.record_consents([subscriber_id], at=self.now, how=how, detail=detail)
            self.notify(EntryKind.WELCOME, confirmed)
            log.info("subscriber %d confirmed: %s", subscriber_id, how)
        return True

    def unsubscribe(self, subscriber_id: SubscriberId) -> bool:
        """Nothing but a goodbye is sent from now on. Idempotent; False: there was nothing to change."""
        with self.storage.transaction():
            subscriber = self.storage.subscribers.get_many([subscriber_id]).get(subscriber_id)
            if subscriber is None or subscriber.status in (Status.UNSUBSCRIBED, Status.SUPPRESSED):
                return False
            self.storage.subscribers.set_status(subscriber_id, Status.UNSUBSCRIBED)
            self.storage.subscribers.set_next_due({subscriber_id: None})
            log.info("subscriber %d unsubscribed", subscriber_id)
            if subscriber.status is Status.CONFIRMED:
                self.notify(EntryKind.GOODBYE, subscriber)
        return True

    def change(self, subscriber: Subscriber, form: Mapping[str, object]) -> Subscriber:
        """Stores changed fields. Status follows the state machine: `confirmed` only where the form may say so.

        Raises FormError for wrong fields.
        """
        return self.store_changes([(subscriber, overlay(subscriber, form))])[0]

    def store_changes(self, changes: Sequence[tuple[Subscriber, Subscriber]]) -> list[Subscriber]:
        """Stores (before, after) pairs; a change of schedule never sends twice on one local date, nor loses one."""
        with self.storage.transaction():
            moved = [b.id for b, a in changes if (b.schedule, b.status) != (a.schedule, a.status)]
            recorded = self._recorded(moved)
            settled = [
                self._settle(before, after, recorded.get(before.id, set())) for before, after in changes
            ]
            self.storage.outbox.record_slots([record for _, records in settled for record in records])
            self.storage.subscribers.update([after for after, _ in settled])
        return [after for after, _ in settled]

    def pause(self, subscriber: Subscriber, until: date | None) -> Subscriber:
        """No digests before local date `until`; None: until resumed.

        Raises UsageError where no digests come, and for a date on which it would be over already.
        """
        _require_digests(subscriber)
        today = self.now.astimezone(zone_of(subscriber.schedule.timezone)).date()
        if until is not None and until <= today:
            raise UsageError(
                f"{until} is no date to pause until: where the digests go it is {today}; name a later one"
            )
        schedule = replace(subscriber.schedule, paused_until=until or UNTIL_RESUMED)
        return self.store_changes([(subscriber, replace(subscriber, schedule=schedule))])[0]

    def resume(self, subscriber: Subscriber) -> Subscriber:
        """Ends a pause, and takes skips back. Raises UsageError where no digests come."""
        _require_digests(subscriber)
        schedule = replace(subscriber.schedule, paused_until=None)
        with self.storage.transaction():
            for slot in self.skipped_ahead(subscriber):
                self.storage.slots.take_back_skip(subscriber.id, slot)
            subscriber = self._replanned(subscriber)
            return self.store_changes([(subscriber, replace(subscriber, schedule=schedule))])[0]

    def skip(self, subscriber: Subscriber) -> date:
        """Ends the next slot before it is due; returns its local date. Once more before then changes nothing.

        Raises UsageError if nothing is due.
        """
        _require_digests(subscriber)
        plan, upcoming = subscriber.schedule, next_due(subscriber.schedule, self.now)
        with self.storage.transaction():
            ahead = set(self.skipped_ahead(subscriber))
            taken = self._recorded([subscriber.id]).get(subscriber.id, set()) - ahead
            known = [at for at in (subscriber.next_due_at, upcoming.at if upcoming else None) if at]
            due = next_digest(plan, min(known, default=None), recorded=taken)
            if due is None:
                raise UsageError("there is no next digest to skip")
            if due.slot not in ahead:
                record = SlotRecord(subscriber.id, due.slot, SlotOutcome.SKIPPED, self.now)
                self.storage.outbox.record_slots([record])
                self._replanned(subscriber)
        return due.slot

    def skipped_ahead(self, subscriber: Subscriber) -> list[date]:
        """The slots that are skipped and not yet due."""
        skipped = self.storage.slots.skipped(subscriber.id, since=self._lately())
        instants = ((slot, due_instant(subscriber.schedule, slot)) for slot in skipped)
        return [slot for slot, due_at in instants if due_at is not None and due_at > self.now]

    def remove(self, subscriber: Subscriber) -> None:
        """Forgets a person. What is queued for them ends cancelled: it needs a subscriber."""
        self.storage.subscribers.remove(subscriber.id)

    def notify(
        self, kind: EntryKind, subscriber: Subscriber, payload: Mapping[str, str] | None = None
    ) -> None:
        """Queues a mail of another kind than digest to a subscriber. Raises SettingsError without a secret key."""
        if self.links is None:
            raise missing_secret()
        left = self.links.notice_message_id(kind, subscriber.id, self.now)
        message_id = f"<{left}@{self.mail_domain}>"
        self.storage.outbox.queue(Notice(kind, message_id, self.now, dict(payload or {}), subscriber.id))

    # ---- inside -------------------------------------------------------------------------------------------------

    def _lately(self) -> date:
        """No slot from which a change can still matter lies before it."""
        return self.now.astimezone(UTC).date() - timedelta(days=3)

    def _recorded(self, ids: Sequence[SubscriberId]) -> dict[SubscriberId, set[date]]:
        return self.storage.slots.recorded(ids, self._lately())

    def _scheduled(self, subscriber: Subscriber, *, recorded: Collection[date]) -> Subscriber:
        if subscriber.status is not Status.CONFIRMED:
            return replace(subscriber, next_due_at=None)
        due = next_due(subscriber.schedule, self.now, recorded=recorded)
        return replace(subscriber, confirmed_at=self.now, next_due_at=due.at if due else None)

    def _replanned(self, subscriber: Subscriber) -> Subscriber:
        """Stores when the next slot is due, after a skip or the end of one."""
        plan, recorded = subscriber.schedule, self._recorded([subscriber.id]).get(subscriber.id, set())
        after = reschedule(plan, plan, subscriber.next_due_at, self.now, recorded=recorded)
        self.storage.subscribers.set_next_due({subscriber.id: after.next_due_at})
        return replace(subscriber, next_due_at=after.next_due_at)

    def _settle(
        self, before: Subscriber, after: Subscriber, recorded: Collection[date]
    ) -> tuple[Subscriber, list[SlotRecord]]:
        """`after` with its next due instant, and the slots that the change ends."""
        if after.status is not Status.CONFIRMED:
            return replace(after, next_due_at=None), []
        if before.status is not Status.CONFIRMED:
            return self._scheduled(after, recorded=recorded), []
        if before.schedule == after.schedule:
            return after, []
        result = reschedule(before.schedule, after.schedule, before.next_due_at, self.now, recorded=recorded)
        records = [ended_slot(after.id, due.slot, verdict, self.now) for due, verdict in result.decisions]
        return replace(after, next_due_at=result.next_due_at), records


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of the due slots of a block of subscribers: nothing of it is stored yet."""

    decisions: list[tuple[Subscriber, Due, Verdict]]
    next_due: dict[SubscriberId, tuple[datetime | None, datetime | None]]  # (as it was, as it will be)


def settle_due(
    storage: Storage, subscribers: Sequence[Subscriber], now: datetime, *, max_lateness: timedelta
) -> Settled:
    """Settles the slots that are due, of subscribers as `due()` found them.

    After a long absence not of all of them at once, so that memory stays flat: the others are still due.
    """
    since = settles_since((s.next_due_at for s in subscribers if s.next_due_at), now)
    recorded = storage.slots.recorded([s.id for s in subscribers], since)
    settled = Settled([], {})
    for subscriber in subscribers:
        if len(settled.decisions) >= DECISIONS_AT_ONCE:
            break
        assert subscriber.next_due_at is not None
        result = settle(
            subscriber.schedule,
            subscriber.next_due_at,
            now,
            max_lateness=max_lateness,
            recorded=recorded.get(subscriber.id, ()),
        )
        settled.decisions.extend((subscriber, due, verdict) for due, verdict in result.decisions)
        settled.next_due[subscriber.id] = (subscriber.next_due_at, result.next_due_at)
    return settled


def _wishes(subscriber: Subscriber) -> dict[str, object]:
    """The form of all that somebody who signs up chooses."""
    form = {"quiet_week": True, **to_form(subscriber)}
    return {name: value for name, value in form.items() if name not in ("email", "name", "status")}


def _require_digests(subscriber: Subscriber) -> None:
    if subscriber.status is not Status.CONFIRMED:
        raise UsageError(f"no digests come: this subscription is {subscriber.status}")


def ended_slot(subscriber_id: SubscriberId, slot: date, verdict: Verdict, now: datetime) -> SlotRecord:
    """The record of a slot for which nothing is composed."""
    if verdict is Verdict.PAUSED:
        return SlotRecord(subscriber_id, slot, SlotOutcome.PAUSED, now, Cause.PAUSED)
    return SlotRecord(subscriber_id, slot, SlotOutcome.LATE, now, Cause.LATE)


def learn_library(storage: Storage, subscriber: Subscriber, path: Path, *, now: datetime) -> DropReport:
    """Takes the papers of a BibTeX or RIS file as liked: they are never sent to this subscriber, nor shown to others."""
    with storage.transaction():
        ids, report = ingest.learn_library(storage.papers, path, now=now)
        storage.subscribers.vote(subscriber.id, [Vote(paper_id, Opinion.LIBRARY, now) for paper_id in ids])
    return report


def missing_secret() -> SettingsError:
    return SettingsError(["DIGESTBOT_SECRET_KEY: is not set; `digestbot init` writes one into .env"])


def new_subscriber(form: Mapping[str, object], *, confirmed: bool) -> Subscriber:
    """A checked subscriber from its form, for Office.subscribe(). Raises FormError."""
    if "email" not in form:
        raise FormError(["email: is missing"])
    status = Status.CONFIRMED if confirmed else Status.UNCONFIRMED
    return replace(overlay(NOBODY, {k: v for k, v in form.items() if k != "status"}), status=status)


def get_subscriber(storage: Storage, email: str) -> Subscriber:
    """Raises UsageError for an address nobody has."""
    found = storage.subscribers.find_many([email]).get(email_key(email))
    if found is None:
        raise UsageError(f"{email} is not a subscriber; `subscribers list` shows who is")
    return found
