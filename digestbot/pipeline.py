"""Read this first: the whole way, in order.

    drops -> ingest -> catalogue -> candidates -> ranked per topic profile -> digest -> outbox -> mail -> outcome

`run_once` is one pass of all of it, `digestbot run` does the same parts on a timetable, and a preview or a dry run does
them in a rehearsal, where nothing of it ever happened.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from digestbot import schedule
from digestbot.alarms import note_drops
from digestbot.compose import Nothing
from digestbot.crew import crew_size, work_together
from digestbot.desk import Desk
from digestbot.drops.folder import DropFolder
from digestbot.ingest import IngestPass, Progress, ingest_waiting
from digestbot.mailroom import MailRoom
from digestbot.model import (
    Digest,
    DropReport,
    EntryKind,
    EntryState,
    Paper,
    SlotOutcome,
    SlotRecord,
    Subscriber,
)
from digestbot.outbox import DeliveryPolicy, DeliveryReport, clear_up, deliver, has_abandoned
from digestbot.relay import SmtpSettings
from digestbot.schedule import Verdict
from digestbot.settings import Settings
from digestbot.storage.outbox import Notice, QueuedDigest
from digestbot.subscriptions import ended_slot, settle_due
from digestbot.timestamps import timestamp
from digestbot.zone_rules import follow_zone_rules

if TYPE_CHECKING:
    from digestbot.choosing import Candidates

BLOCK = 1000  # subscribers at a time
MOST_BLOCKS = 100_000
SHARED_FROM = 5000  # people or mails: a process more pays from here on


@dataclass(frozen=True, slots=True)
class Bars:
    """Who is told how far the long parts are."""

    ingest: Progress | None = None
    deliver: Callable[[int, int], None] | None = None  # (done, due)


@dataclass
class DigestCounts:
    composed: int = 0
    empty: int = 0
    late: int = 0
    paused: int = 0

    def add(self, other: DigestCounts) -> None:
        self.composed += other.composed
        self.empty += other.empty
        self.late += other.late
        self.paused += other.paused


@dataclass
class RunReport:
    """What one pass did, for people and as CONTRACT.md's JSON."""

    now: datetime
    drops: IngestPass = field(default_factory=IngestPass)
    digests: DigestCounts = field(default_factory=DigestCounts)
    delivery: DeliveryReport | None = None  # None: nothing was to be delivered, as in a dry run

    @property
    def rejected_drops(self) -> list[DropReport]:
        return [report for report in self.drops.reports if not report.usable and not report.held]

    @property
    def did_something(self) -> bool:
        digests, delivery = self.digests, self.delivery
        ended = digests.composed + digests.empty + digests.late + digests.paused
        return bool(self.drops.reports or ended or (delivery and (delivery.counts or delivery.stopped)))

    @property
    def is_complete(self) -> bool:
        """False: something was left undone, and the exit status says so."""
        rejected = any(report.rejected for report in self.drops.reports)
        return not rejected and (self.delivery is None or self.delivery.stopped is None)

    def to_json(self) -> dict[str, object]:
        reports, counts = self.drops.reports, self.delivery.counts if self.delivery else {}
        return {
            "now": timestamp(self.now),
            "drops": {"read": len(reports), "rejected": len(self.rejected_drops)},
            "papers": {
                "new": sum(report.new for report in reports),
                "known": sum(report.known for report in reports),
                "updated": sum(report.updated for report in reports),
                "rejected": sum(len(report.rejected) for report in reports),
            },
            "digests": {
                "composed": self.digests.composed,
                "empty": self.digests.empty,
                "late": self.digests.late,
            },
            "delivery": {state.value: counts.get(state, 0) for state in REPORTED_STATES},
        }


REPORTED_STATES = (
    EntryState.SENT,
    EntryState.DEFERRED,
    EntryState.BOUNCED,
    EntryState.FAILED,
    EntryState.IN_DOUBT,
    EntryState.HELD,
    EntryState.CANCELLED,
)


def run_once(
    desk: Desk,
    now: datetime,
    *,
    rehearsal: bool = False,
    stop: threading.Event | None = None,
    bars: Bars | None = None,
) -> RunReport:
    """One pass: ingest what waits, compose what is due, try each due mail once. A rehearsal delivers nothing."""
    bars = bars or Bars()
    report = RunReport(now)
    with nullcontext() if rehearsal else delivering_even_so(desk, lambda: now, stop=stop):
        follow_zone_rules(desk.storage, now)
        report.drops = ingest_drops(desk, now, rehearsal=rehearsal, progress=bars.ingest)
        cleared = clear_outbox(desk, now)
        compose = compose_due if rehearsal else compose_everybody
        report.digests = compose(desk, now, stop=stop)
    if not rehearsal:
        report.delivery = deliver_everything(desk, now, stop=stop, progress=bars.deliver)
        report.delivery.counts.update(cleared)
    return report


@contextmanager
def delivering_even_so(
    desk: Desk, now: Callable[[], datetime], *, stop: threading.Event | None = None
) -> Iterator[None]:
    """Where something fails before delivery, what is queued is delivered all the same: a word to the operator, too."""
    try:
        yield
    except Exception:
        deliver_due(desk, now, stop=stop)
        raise


def clear_outbox(desk: Desk, now: datetime) -> Counter[EntryState]:
    """Settles mails of dead processes and late ones, before anything is composed: papers become candidates again."""
    return clear_up(desk.storage, delivery_policy(desk.settings), now)


def ingest_drops(
    desk: Desk, now: datetime, *, rehearsal: bool = False, progress: Progress | None = None
) -> IngestPass:
    """Reads the drops that wait in the drop folder and tells the operator of odd ones; in a rehearsal they stay where
    they are, and nobody is told."""
    folder = DropFolder(desk.settings.drops)
    found = ingest_waiting(desk.storage.papers, folder, now=now, progress=progress, move=not rehearsal)
    if not rehearsal:
        note_drops(desk, found, now)
    return found


def deliver_everything(
    desk: Desk,
    now: datetime,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DeliveryReport:
    """As deliver_due(); where very many mails wait and no limit holds them back, the cores share the connections. Then
    what another run held that died meanwhile."""
    found = _deliver_shared(desk, now, stop=stop, progress=progress)
    if found.stopped or (stop and stop.is_set()) or not has_abandoned(desk.storage.outbox):
        return found
    cleared = clear_outbox(desk, now)
    rest = deliver_due(desk, lambda: now, stop=stop, progress=progress)
    return replace(
        rest, counts=found.counts + cleared + rest.counts, put_off=max(found.put_off, rest.put_off)
    )


def _deliver_shared(
    desk: Desk,
    now: datetime,
    *,
    stop: threading.Event | None,
    progress: Callable[[int, int], None] | None,
) -> DeliveryReport:
    settings = desk.settings
    is_limited = settings.smtp_rate is not None or settings.smtp_daily_limit is not None
    size = 1
    if not is_limited and desk.storage.outbox.count_due(now) > SHARED_FROM:
        size = min(crew_size(), settings.smtp_connections)
    if size == 1:
        return deliver_due(desk, lambda: now, stop=stop, progress=progress)

    desk.renderer.prepare()

    def deliver_some(number: int, tell: Callable[[int, int], None]) -> DeliveryReport:
        connections = len(range(number, settings.smtp_connections, size))
        own = replace(desk, settings=replace(settings, smtp_connections=connections))
        return deliver_due(own, lambda: now, stop=stop, progress=tell)

    found = work_together(desk.storage.db, size, deliver_some, stop=stop, progress=progress)
    counts: Counter[EntryState] = sum((report.counts for report in found), Counter())
    return DeliveryReport(counts, next((r.stopped for r in found if r.stopped), None))


def deliver_due(
    desk: Desk,
    now: Callable[[], datetime],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    most: int | None = None,
) -> DeliveryReport:
    """Tries each due mail once, at most so many (None: all); `now` is what is recorded."""
    settings = desk.settings
    relay = SmtpSettings.from_url(settings.smtp_url)
    room = MailRoom(settings, desk.storage, desk.links, desk.renderer)
    policy = replace(delivery_policy(settings), most=most)
    return deliver(desk.storage, room, relay, policy, now=now, stop=stop, progress=progress)


def delivery_policy(settings: Settings) -> DeliveryPolicy:
    return DeliveryPolicy(
        connections=settings.smtp_connections,
        resend_in_doubt=settings.on_doubt == "resend",
        max_lateness=timedelta(hours=settings.max_lateness_hours),
        rate=settings.smtp_rate,
        daily_limit=settings.smtp_daily_limit,
    )


def compose_everybody(desk: Desk, now: datetime, *, stop: threading.Event | None = None) -> DigestCounts:
    """As compose_due(); where very many are due, the cores share them."""
    ranges = desk.storage.subscribers.due_ranges(now, BLOCK, MOST_BLOCKS)
    if not ranges:
        return DigestCounts()
    size = crew_size() if len(ranges) * BLOCK > SHARED_FROM else 1
    if size == 1:
        return compose_due(desk, now, stop=stop)
    from digestbot.choosing import gather  # with all that ranks: only where somebody is due

    candidates = gather(desk, now)
    make_cards(desk, candidates.papers, size)  # before the fork: made once for all

    def compose_some(number: int, tell: object) -> DigestCounts:
        counts = DigestCounts()
        for ids in ranges[number::size]:
            if stop is not None and stop.is_set():
                break
            compose_block(desk, candidates, desk.storage.subscribers.due_among(now, ids), counts)
        return counts

    counts = DigestCounts()
    for found in work_together(desk.storage.db, size, compose_some, stop=stop):
        counts.add(found)
    counts.add(compose_due(desk, now, stop=stop))  # where one of them was told to stop, and nobody else
    return counts


def make_cards(desk: Desk, papers: Sequence[Paper], size: int) -> None:
    """Makes the papers' cards in `size` processes, five milliseconds each, and brings them here."""
    desk.renderer.prepare()
    for cards in work_together(
        desk.storage.db, size, lambda number, _: desk.renderer.cards(papers[number::size])
    ):
        desk.renderer.keep((paper for paper in papers if paper.id in cards), cards)


def compose_due(desk: Desk, now: datetime, *, stop: threading.Event | None = None) -> DigestCounts:
    """Ends every slot that is due, in blocks; a slot ends once, whoever runs this at the same time."""
    counts = DigestCounts()
    candidates: Candidates | None = None
    while (stop is None or not stop.is_set()) and (due := desk.storage.subscribers.due(now, BLOCK)):
        from digestbot.choosing import gather

        candidates = candidates or gather(desk, now)
        compose_block(desk, candidates, due, counts)
    return counts


def compose_block(
    desk: Desk, candidates: Candidates, subscribers: Sequence[Subscriber], counts: DigestCounts
) -> None:
    """Ends the due slots of some subscribers, and adds to `counts` what ended."""
    from digestbot.choosing import choose

    if not subscribers:
        return  # another run was faster
    now, limit = candidates.now, timedelta(hours=desk.settings.max_lateness_hours)
    settled = settle_due(desk.storage, subscribers, now, max_lateness=limit)
    dues = {s.id: due for s, due, verdict in settled.decisions if verdict is Verdict.COMPOSE}
    records = [
        ended_slot(s.id, due.slot, verdict, now)
        for s, due, verdict in settled.decisions
        if verdict is not Verdict.COMPOSE
    ]
    to_compose = [s for s in subscribers if s.id in dues]
    chosen = choose(desk, candidates, to_compose, {i: due.slot for i, due in dues.items()})
    digests = [d for d in chosen.values() if isinstance(d, Digest)]
    records += [
        SlotRecord(i, dues[i].slot, SlotOutcome.EMPTY, now, nothing.cause, nothing.best_score)
        for i, nothing in chosen.items()
        if isinstance(nothing, Nothing)
    ]
    with desk.storage.transaction():
        queued = [queued_digest(desk, digest, dues[digest.subscriber_id].at) for digest in digests]
        ended = desk.storage.outbox.store_decisions(records, queued)
        desk.storage.subscribers.advance(settled.next_due)
        note_quiet_weeks(desk, subscribers, ended, now)
    _count(counts, ended)


def queued_digest(desk: Desk, digest: Digest, due_at: datetime) -> QueuedDigest:
    left = desk.links.digest_message_id(digest.subscriber_id, digest.slot)
    return QueuedDigest(digest, f"<{left}@{desk.mail_domain}>", due_at)


def _count(counts: DigestCounts, ended: Sequence[SlotRecord]) -> None:
    outcomes = Counter(record.outcome for record in ended)
    counts.composed += outcomes[SlotOutcome.COMPOSED]
    counts.empty += outcomes[SlotOutcome.EMPTY]
    counts.late += outcomes[SlotOutcome.LATE]
    counts.paused += outcomes[SlotOutcome.PAUSED]


def note_quiet_weeks(
    desk: Desk, subscribers: Sequence[Subscriber], ended: Sequence[SlotRecord], now: datetime
) -> None:
    """Queues the note of a quiet week for those whose slot, ended just now, is the seventh empty day of a stretch."""
    empty = {r.subscriber_id: r.slot for r in ended if r.outcome is SlotOutcome.EMPTY}
    wanted = [s for s in subscribers if s.id in empty and s.preferences.quiet_week]
    if not wanted:
        return
    since = min(empty.values()) - timedelta(days=21)
    known = desk.storage.slots.records_since([s.id for s in wanted], since)
    for s in wanted:
        joined = s.confirmed_at or now
        earlier = {r.slot: r.outcome for r in known[s.id] if r.at >= joined}
        if schedule.ends_quiet_week(empty[s.id], earlier):
            left = desk.links.notice_message_id(EntryKind.QUIET, s.id, now)
            payload = {"slot": empty[s.id].isoformat()}
            desk.storage.outbox.queue(
                Notice(EntryKind.QUIET, f"<{left}@{desk.mail_domain}>", now, payload, s.id)
            )
