"""Delivery: claim what is due, hand it over, record what the server said, back off.

One pass tries each due entry once, over several connections. What it decides from an answer stands in
delivery_rules.py; this module keeps the order that loses nobody: claimed on disk, marked in doubt before MAIL, recorded
right after the reply. What died or came too late is settled before, by `clear_up`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from digestbot.bounce_rules import suppression_reason
from digestbot.delivery_rules import (
    EVIDENCE,
    TROUBLE,
    TROUBLE_STRIKES,
    DomainPauses,
    PolicyBreaker,
    decide,
)
from digestbot.errors import DeliveryStopped
from digestbot.model import EntryState, OutboxEntry, Outcome
from digestbot.owner import Life, is_ours, life_of, owner_name
from digestbot.relay import ServerRefused, SmtpSettings, Timeouts
from digestbot.smtp import Handover, Mail
from digestbot.smtp_line import Line
from digestbot.smtp_replies import Reply, Stage, Verdict
from digestbot.storage import Storage
from digestbot.storage.bounces import BounceRecord
from digestbot.storage.outbox import OutboxStore
from digestbot.turns import Mails, Turn, Turns

log = logging.getLogger(__name__)

RENEW_S = 20.0  # of a lease of 60 s
STOP_GRACE_S = 15.0  # how long a stopping pass waits for replies that are under way
BREAKER_FACT = "policy_breaker"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """The settings of delivery."""

    connections: int = 4
    resend_in_doubt: bool = True  # False: held for the operator
    max_lateness: timedelta = timedelta(hours=12)
    rate: float | None = None  # messages a second
    daily_limit: int | None = None  # messages in any 24 h
    most: int | None = None  # entries in one pass; None: all that are due
    timeouts: Timeouts = field(default_factory=Timeouts)
    cool_down_s: float = 1.0  # pause before the next connection after the relay closed one; doubles


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one pass did: each entry it touched counted once, by its state at the end."""

    counts: Counter[EntryState]
    stopped: DeliveryStopped | None = None  # why it ended before the queue did; its text is for the operator
    put_off: int = 0  # digests that wait for the daily limit


def clear_up(storage: Storage, policy: DeliveryPolicy, now: datetime) -> Counter[EntryState]:
    """Takes over what dead passes held, then ends what waited too long; returns how many entries ended or are held.

    Comes before composing: the papers of what ended are candidates again.
    """
    counts = Counter({EntryState.HELD: _take_over(storage.outbox, resend=policy.resend_in_doubt)})
    return +(counts + storage.outbox.expire(now, policy.max_lateness))


def has_abandoned(store: OutboxStore) -> bool:
    """Whether somebody died who held entries: `clear_up` frees them."""
    return any(life_of(owner).is_over for owner in store.owners())


def _take_over(store: OutboxStore, *, resend: bool) -> int:
    """Frees what dead passes held; returns how many entries in doubt are held now."""
    held = 0
    for owner in store.owners():
        if is_ours(owner):
            continue
        life = life_of(owner)
        leased_until = None if life.is_over else _real_now()
        doubtful = store.take_over(
            owner, resend=resend, all_doubtful=life is Life.LOST_POWER, leased_until=leased_until
        )
        for entry_id in doubtful:
            log.warning(
                "entry %d was in doubt when its sender died: %s", entry_id, "again" if resend else "held"
            )
        held += 0 if resend else len(doubtful)
    return held


def deliver(
    storage: Storage,
    mails: Mails,
    relay: SmtpSettings,
    policy: DeliveryPolicy,
    *,
    now: Callable[[], datetime],
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> DeliveryReport:
    """One pass over the outbox, after `clear_up`: tries each due entry once.

    `progress(done, due)` is called after each entry. When `stop` is set the pass ends at a safe point. A broken
    database or template raises; a relay that refuses is in the report. Opens no connection if nothing is due.
    """
    with owner_name() as owner:
        return _Pass(storage, mails, relay, policy, now, owner).run(stop or threading.Event(), progress)


class _Pass:
    """One pass, shared by its threads. `_lock` guards everything that is not the database's."""

    def __init__(
        self,
        storage: Storage,
        mails: Mails,
        relay: SmtpSettings,
        policy: DeliveryPolicy,
        now: Callable[[], datetime],
        owner: str,
    ) -> None:
        self.storage, self.store = storage, storage.outbox
        self.relay, self.policy = relay, policy
        self.now, self.owner = now, owner
        self.counts: Counter[EntryState] = Counter()
        self.stopped: DeliveryStopped | None = None
        self.error: BaseException | None = None
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._lines: list[Line] = []
        self._trouble = 0
        self._turns = Turns(
            storage,
            mails,
            owner,
            now,
            most=policy.most,
            daily_limit=policy.daily_limit,
            is_ending=lambda: self._ending,
        )
        self._pauses = DomainPauses()
        self._breaker = PolicyBreaker.from_text(storage.operation.find_fact(BREAKER_FACT))
        self._due = 0
        self._progress: Progress | None = None

    # ---- the pass ------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event, progress: Progress | None) -> DeliveryReport:
        self._stop, self._progress = stop, progress
        self._due = self.store.count_due(self._turns.started_at)
        if self.policy.most is not None:
            self._due = min(self._due, self.policy.most)
        if self._due and self._breaker.is_open(self._turns.started_at):
            return DeliveryReport(self.counts, DeliveryStopped(_breaker_text(self._breaker)))
        try:
            self._run_workers(min(self.policy.connections, self._due))
        finally:
            self._turns.release()
        if self.error is not None:
            raise self.error
        return DeliveryReport(self.counts, self.stopped, self._turns.mark_put_off())

    def _run_workers(self, count: int) -> None:
        self._lines = [
            Line(self.relay, self.policy.timeouts, self._stop, cool_down_s=self.policy.cool_down_s)
            for _ in range(count)
        ]
        threads = [  # in copies of the context, so that their log lines belong to this run
            threading.Thread(target=copy_context().run, args=(self._work, line), daemon=True)
            for line in self._lines
        ]
        for thread in threads:
            thread.start()
        try:
            self._wait(threads)
        except BaseException:  # Ctrl-C: as if stopped
            self._end(None)
            self._wait(threads)
            raise

    def _wait(self, threads: list[threading.Thread]) -> None:
        """Waits for the workers, keeping their leases; a stopped one that still waits for a reply is cut off."""
        renewed, stopped_at = time.monotonic(), None
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.05)
            if time.monotonic() - renewed > RENEW_S:
                self.store.renew(self.owner, real_now=_real_now())
                renewed = time.monotonic()
            if self._ending and stopped_at is None:
                stopped_at = time.monotonic()
            if stopped_at is not None and time.monotonic() - stopped_at > STOP_GRACE_S:
                for line in self._lines:
                    line.abort()

    @property
    def _ending(self) -> bool:
        return self._stop.is_set() or self.stopped is not None or self.error is not None

    # ---- one worker ----------------------------------------------------------------------------------------------

    def _work(self, line: Line) -> None:
        try:
            line.open()  # before an entry is taken: a refused connection leaves nothing behind
            while (turn := self._turns.next()) is not None:
                self._treat(turn, line)
        except ServerRefused as refusal:
            self._quit(refusal)
        except BaseException as error:  # of the database or a template: for everybody, so the pass ends
            self._end(error)
        finally:
            line.close()

    def _treat(self, turn: Turn, line: Line) -> None:
        """Tries one entry; its place is given back unless a server took the message, or may have."""
        used = True
        try:
            used = self._try(turn, line)
        except ServerRefused:
            used = False
            raise
        finally:
            self._turns.done(turn, used=used)

    def _try(self, turn: Turn, line: Line) -> bool:
        """Whether a server took the message, or may have."""
        entry = turn.entry
        with self._lock:
            until = self._pauses.until(entry)
        if until is not None:
            self._record(entry, Outcome(EntryState.DEFERRED, "postponed with its domain", until))
            return False
        if turn.mail is None:
            self._record(entry, Outcome(EntryState.CANCELLED, "nothing is left to send"))
            return False
        try:
            line.open()
        except ServerRefused:
            self._turns.put_back(turn)  # for the others
            raise
        if not self._wait_for_rate():
            self._turns.put_back(turn)
        elif not self.store.begin_attempt(entry, self.owner, self.now()):
            self._count(entry, Outcome(EntryState.CANCELLED, "not to be mailed any more"))
        else:
            return self._send(entry, turn.mail, line)
        return False

    def _send(self, entry: OutboxEntry, mail: Mail, line: Line) -> bool:
        """The attempt itself; the entry is marked in doubt already."""
        try:
            handover = line.hand_over(mail, entry.message_id.strip("<>"))
            if handover.verdict is Verdict.STOP:
                raise ServerRefused(self.relay, handover.stage, handover.reply)
        except ServerRefused:
            self.store.hand_back(entry.id, self.owner)
            raise
        self._settle(entry, handover)
        return handover.verdict in (Verdict.ACCEPTED, Verdict.DOUBT)

    def _wait_for_rate(self) -> bool:
        """False: the pass ends meanwhile."""
        if self.policy.rate is not None:
            self._stop.wait(self.storage.limits.reserve_time(self.policy.rate, real_now=time.time()))
        return self.policy.rate is None or not self._ending

    def _settle(self, entry: OutboxEntry, handover: Handover) -> None:
        """Records an attempt's outcome, with what it means for the address and for the pass."""
        now = self.now()
        outcome = decide(entry, handover, resend=self.policy.resend_in_doubt, now=now)
        if handover.verdict in EVIDENCE:
            with self.storage.db.transaction(durable=False):
                self.store.record(entry, outcome, now, owner=self.owner)
                self._record_evidence(entry, handover, now)
        else:
            self.store.record(entry, outcome, now, owner=self.owner)
        self._count(entry, outcome, handover.reply)
        with self._lock:
            self._pauses.note(entry, handover, outcome)
            self._watch_policy(entry, handover, now)
            self._watch_relay(handover)

    def _record_evidence(self, entry: OutboxEntry, handover: Handover, now: datetime) -> None:
        kind = EVIDENCE.get(handover.verdict)
        if kind is None or entry.subscriber_id is None:
            return
        slot = entry.digest.slot if entry.digest else None
        status = handover.reply.enhanced or str(handover.reply.code)
        bounce = BounceRecord(entry.subscriber_id, slot, now, kind, status, handover.reply.line)
        self.storage.bounces.add(bounce)
        reason = suppression_reason(self.storage.bounces, bounce)
        if reason is not None:
            self.storage.suppressions.add(entry.recipient, reason=reason, at=now)
            log.info("subscriber %d suppressed: %s", entry.subscriber_id, reason)

    def _watch_policy(self, entry: OutboxEntry, handover: Handover, now: datetime) -> None:
        if not self._breaker.is_changed_by(handover.verdict):
            return
        if self._breaker.note(entry, handover.verdict, now):
            self.stopped = self.stopped or DeliveryStopped(_breaker_text(self._breaker))
        self.storage.operation.set_fact(BREAKER_FACT, self._breaker.to_text())

    def _watch_relay(self, handover: Handover) -> None:
        """A relay that breaks off one attempt after the other is left alone."""
        at_mail = handover.verdict is Verdict.DEFERRED and handover.stage is Stage.MAIL
        self._trouble = self._trouble + 1 if handover.verdict in TROUBLE or at_mail else 0
        if self._trouble >= TROUBLE_STRIKES and not self._stop.is_set():
            said = (
                f"{TROUBLE_STRIKES} mails in a row did not go through; at the last one: {handover.reply.line}"
            )
            self.stopped = self.stopped or DeliveryStopped(said)

    # ---- ends ----------------------------------------------------------------------------------------------------

    def _quit(self, refusal: ServerRefused) -> None:
        """One connection fewer; where the relay refuses altogether, or this was the last one, the pass ends."""
        with self._lock:
            self._lines = [line for line in self._lines if line.is_working]
            if self._stop.is_set():
                return  # it was given up, not refused
            is_work_left = sum(self.counts.values()) < self._due
            if refusal.stage not in (Stage.CONNECT, Stage.EHLO) or (not self._lines and is_work_left):
                self.stopped = self.stopped or refusal

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            self.error = self.error or error or KeyboardInterrupt()

    def _record(self, entry: OutboxEntry, outcome: Outcome) -> None:
        self.store.record(entry, outcome, self.now(), owner=self.owner)
        self._count(entry, outcome)

    def _count(self, entry: OutboxEntry, outcome: Outcome, reply: Reply | None = None) -> None:
        log.info("entry %d %s: %s", entry.id, outcome.state, outcome.reply if reply is None else reply.brief)
        log.debug("entry %d to %s: %s", entry.id, entry.recipient, outcome.reply)
        with self._lock:
            self.counts[outcome.state] += 1
            if self._progress is not None:
                self._progress(sum(self.counts.values()), self._due)


def _breaker_text(breaker: PolicyBreaker) -> str:
    domains = ", ".join(sorted(set(breaker.domains)))
    until = f"{breaker.until:%Y-%m-%d %H:%M} UTC" if breaker.until else ""
    return (
        f"mail servers of {domains} refused our mail for its sender or content, one after the other; nothing is sent"
        f" before {until}. `digestbot doctor` says what to mend, `digestbot outbox list failed` what they said"
    )


def _real_now() -> datetime:
    return datetime.now(UTC)
