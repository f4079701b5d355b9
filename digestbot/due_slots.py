"""The slots that are due: for each somebody's digest, or why there is none, chosen, composed and queued.

A slot ends once, whoever does this at the same time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from digestbot import schedule
from digestbot.choosing import Candidates, choose, gather
from digestbot.compose import Nothing
from digestbot.crew import crew_for, portable, work_together
from digestbot.desk import Desk
from digestbot.model import Digest, EntryKind, Paper, SlotOutcome, SlotRecord, Subscriber
from digestbot.report import DigestCounts
from digestbot.schedule import Verdict
from digestbot.storage.outbox import Notice, QueuedDigest
from digestbot.subscriptions import ended_slot, settle_due

BLOCK = 1000  # subscribers at a time
MOST_BLOCKS = 100_000


def compose_everybody(
    desk: Desk, now: datetime, *, stop: threading.Event | None = None, counts: DigestCounts | None = None
) -> DigestCounts:
    """As compose_due(); where very many are due, the cores share them."""
    counts = DigestCounts() if counts is None else counts
    ranges = desk.storage.subscribers.due_ranges(now, BLOCK, MOST_BLOCKS)
    size = crew_for(len(ranges) * BLOCK)
    if size == 1:
        return compose_due(desk, now, stop=stop, counts=counts)
    candidates = gather(desk, now)
    make_cards(desk, candidates.papers, size)  # before the fork: made once for all

    def compose_some(number: int, tell: object) -> tuple[DigestCounts, BaseException | None]:
        some = DigestCounts()
        try:
            for ids in ranges[number::size]:
                if stop is not None and stop.is_set():
                    break
                compose_block(desk, candidates, desk.storage.subscribers.due_among(now, ids), some)
        except Exception as error:  # what is stored counts all the same
            return some, portable(error)
        return some, None

    shares = work_together(desk.storage.db, size, compose_some, stop=stop)
    for found, _ in shares:
        counts.add(found)
    for _, error in shares:
        if error is not None:
            raise error
    # where one of them was told to stop, and nobody else
    return compose_due(desk, now, stop=stop, counts=counts)


def make_cards(desk: Desk, papers: Sequence[Paper], size: int) -> None:
    """Makes the papers' cards in `size` processes, five milliseconds each, and brings them here."""
    desk.renderer.prepare()
    for cards in work_together(
        desk.storage.db, size, lambda number, _: desk.renderer.cards(papers[number::size])
    ):
        desk.renderer.keep((paper for paper in papers if paper.id in cards), cards)


def compose_due(
    desk: Desk, now: datetime, *, stop: threading.Event | None = None, counts: DigestCounts | None = None
) -> DigestCounts:
    """Ends every slot that is due, in blocks. counts: what to add what ended to; true also where this raises."""
    counts = DigestCounts() if counts is None else counts
    candidates: Candidates | None = None
    while (stop is None or not stop.is_set()) and (due := desk.storage.subscribers.due(now, BLOCK)):
        candidates = candidates or gather(desk, now)
        compose_block(desk, candidates, due, counts)
    return counts


def compose_block(
    desk: Desk, candidates: Candidates, subscribers: Sequence[Subscriber], counts: DigestCounts
) -> None:
    """Ends the due slots of some subscribers, and adds to `counts` what ended."""
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
