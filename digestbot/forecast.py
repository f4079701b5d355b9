"""The next 48 hours: what is due, what rate and daily limit allow, and who would be late.

Every slot counts as a mail, so it is an upper bound: some will end empty. Turns are those of the outbox: in order of
the due instant, and where there is a daily limit, first mails people wait for, then whom it cost a digest, then whose
last digest is longest ago.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from digestbot import schedule
from digestbot.model import EntryKind, Status, Subscriber, SubscriberId
from digestbot.schedule import Verdict
from digestbot.settings import Settings
from digestbot.storage import Storage
from digestbot.storage.outbox import OTHER_KINDS_WAIT, RETRIED_FOR
from digestbot.storage.queueing import QueueStore, WaitingMail

BLOCK = 1000  # subscribers at a time
HOURS = 48
HOUR_S, DAY_S = 3600, 24 * 3600


@dataclass(frozen=True, slots=True)
class Mailing:
    """One mail to come. Times are seconds since 1970."""

    email: str
    due_at: int
    ready_at: int  # not before
    until: int  # later than this it is not sent any more
    subscriber_id: SubscriberId | None = None
    is_digest: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    rate: float | None = None  # messages a second
    daily: int | None = None  # messages in any 24 h


@dataclass(frozen=True, slots=True)
class Hour:
    begins_at: datetime
    due: int
    room: int | None  # the most that the limits let go in it; None: there are none
    sent: int
    waiting: int  # at its end
    late: int  # of those due in it, how many will never go


@dataclass(frozen=True, slots=True)
class Forecast:
    hours: tuple[Hour, ...]
    late: tuple[Mailing, ...]  # by due instant


def forecast(settings: Settings, storage: Storage, now: datetime) -> Forecast:
    """Reads only. A few statements per 1,000 subscribers."""
    lateness = timedelta(hours=settings.max_lateness_hours)
    queue = QueueStore(storage.db)
    start = int(now.timestamp())
    mailings = [_of_entry(mail, lateness) for mail in queue.waiting()]
    last_sent: dict[SubscriberId, str] = {}
    everybody = storage.subscribers.everybody(Status.CONFIRMED)
    while block := list(islice(everybody, BLOCK)):
        due = [s for s in block if s.next_due_at and s.next_due_at <= now + timedelta(hours=HOURS)]
        mailings += _of_slots(storage, due, now, lateness)
        if settings.smtp_daily_limit and due:
            last_sent |= queue.last_sent([s.id for s in due])
    limits = Limits(settings.smtp_rate, settings.smtp_daily_limit)
    before = [at for at, count in queue.handovers(now) for _ in range(count)]
    return simulate(mailings, limits, start, before=before, last_sent=last_sent)


# ---- what is to come ----------------------------------------------------------------------------------------------


def _of_entry(mail: WaitingMail, lateness: timedelta) -> Mailing:
    is_digest, ages = mail.kind is EntryKind.DIGEST, mail.kind in (EntryKind.DIGEST, EntryKind.QUIET)
    wait = (RETRIED_FOR if mail.attempts else lateness) if ages else OTHER_KINDS_WAIT
    until = mail.due_at + int(wait.total_seconds())
    return Mailing(
        mail.recipient, mail.due_at, mail.next_attempt_at or 0, until, mail.subscriber_id, is_digest
    )


def _of_slots(
    storage: Storage, subscribers: Sequence[Subscriber], now: datetime, lateness: timedelta
) -> Iterator[Mailing]:
    """The slots of a block of subscribers, those included that wait for the next run."""
    if not subscribers:
        return
    since = schedule.settles_since((s.next_due_at for s in subscribers if s.next_due_at), now)
    recorded = storage.slots.recorded([s.id for s in subscribers], since)
    for subscriber in subscribers:
        for due in _dues(subscriber, now, lateness, recorded.get(subscriber.id, set())):
            at = int(due.at.timestamp())
            yield Mailing(subscriber.email, at, at, at + int(lateness.total_seconds()), subscriber.id)


def _dues(
    subscriber: Subscriber, now: datetime, lateness: timedelta, recorded: set[date]
) -> Iterator[schedule.Due]:
    assert subscriber.next_due_at is not None
    plan, end = subscriber.schedule, now + timedelta(hours=HOURS)
    settled = schedule.settle(plan, subscriber.next_due_at, now, max_lateness=lateness, recorded=recorded)
    yield from (due for due, verdict in settled.decisions if verdict is Verdict.COMPOSE)
    at = settled.next_due_at
    due = schedule.next_due(plan, at - timedelta(seconds=1), recorded=recorded) if at else None
    while due is not None and due.at < end:
        if plan.paused_until is None or due.slot >= plan.paused_until:
            yield due
        due = schedule.next_due(plan, due.at, recorded=recorded)


# ---- what becomes of it -------------------------------------------------------------------------------------------


@dataclass
class _Line:
    """The mails that are ready, in the order of their turns."""

    last_sent: dict[SubscriberId, str]
    in_turns: bool
    late: list[Mailing] = field(default_factory=list)
    _missed: set[SubscriberId] = field(default_factory=set)  # who was late, and has got nothing since
    _turns: list[tuple[tuple[bool, bool, str, int], int]] = field(default_factory=list)  # a heap
    _ends: list[tuple[int, int]] = field(default_factory=list)  # a heap: until when, number
    _mails: dict[int, Mailing] = field(default_factory=dict)  # those that wait, by number
    _count: int = 0

    def push(self, mail: Mailing) -> None:
        self._count += 1
        self._mails[self._count] = mail
        heapq.heappush(self._turns, (self._turn(mail), self._count))
        heapq.heappush(self._ends, (mail.until, self._count))

    def _turn(self, mail: Mailing) -> tuple[bool, bool, str, int]:
        if not self.in_turns or mail.subscriber_id is None:
            return (mail.is_digest and self.in_turns, False, "", mail.due_at)
        last = self.last_sent.get(mail.subscriber_id, "")
        return (mail.is_digest, mail.subscriber_id not in self._missed, last, mail.due_at)

    def expire(self, at: float) -> None:
        """Takes out those for which it is too late."""
        while self._ends and self._ends[0][0] < at:
            mail = self._mails.pop(heapq.heappop(self._ends)[1], None)
            if mail is not None:
                self.late.append(mail)
                if mail.subscriber_id is not None:
                    self._missed.add(mail.subscriber_id)

    def send(self) -> Mailing | None:
        """The next in turn; None: nobody waits."""
        while self._turns:
            mail = self._mails.pop(heapq.heappop(self._turns)[1], None)
            if mail is not None:
                if mail.subscriber_id is not None and mail.is_digest:
                    self._missed.discard(mail.subscriber_id)
                    slot = datetime.fromtimestamp(mail.due_at, UTC).date()
                    self.last_sent[mail.subscriber_id] = slot.isoformat()
                return mail
        return None

    def __len__(self) -> int:
        return len(self._mails)


def simulate(
    mailings: Iterable[Mailing],
    limits: Limits,
    start: int,
    *,
    before: Sequence[int] = (),
    last_sent: dict[SubscriberId, str] | None = None,
) -> Forecast:
    """Lets the mails go one by one from `start` on, as the limits allow. Pure.

    before: when each message of the last 24 h went, oldest first. last_sent: the last slot that each subscriber got.
    """
    end = start + HOURS * HOUR_S
    coming = sorted(mailings, key=lambda mail: max(_ready(mail), start))
    line = _Line(dict(last_sent or {}), in_turns=limits.daily is not None)
    times: list[float] = list(before)  # of all messages, oldest first
    at, pushed = float(start), 0
    while pushed < len(coming) or line:
        if not line:
            at = max(at, _ready(coming[pushed]))
        at = max(at, _free_at(times, limits, start))
        if at >= end:
            break
        line.expire(at)
        while pushed < len(coming) and _ready(coming[pushed]) <= at:
            line.push(coming[pushed])
            pushed += 1
        line.expire(at)
        if line.send() is not None:
            times.append(at)
    for mail in coming[pushed:]:
        line.push(mail)
    line.expire(end)
    return Forecast(
        _hours(start, coming, times[len(before) :], line.late, times, limits),
        tuple(sorted(line.late, key=_due)),
    )


def _ready(mail: Mailing) -> int:
    return max(mail.ready_at, mail.due_at)


def _due(mail: Mailing) -> int:
    return mail.due_at


def _free_at(times: Sequence[float], limits: Limits, start: int) -> float:
    """The earliest moment at which the limits let the next message go."""
    free = float(start)
    if limits.rate and times and times[-1] >= start:
        free = times[-1] + 1 / limits.rate
    if limits.daily and len(times) >= limits.daily:
        free = max(free, times[-limits.daily] + DAY_S)
    return free


def _hours(
    start: int,
    coming: Sequence[Mailing],
    sends: Sequence[float],
    late: Sequence[Mailing],
    times: Sequence[float],
    limits: Limits,
) -> tuple[Hour, ...]:
    dues = sorted(max(mail.due_at, start) for mail in coming)
    lates = sorted(max(mail.due_at, start) for mail in late)
    ends = sorted([*sends, *(max(mail.until, start) for mail in late)])
    hours = []
    for number in range(HOURS):
        begin = start + number * HOUR_S
        end = begin + HOUR_S
        hours.append(
            Hour(
                datetime.fromtimestamp(begin, UTC),
                _within(dues, begin, end),
                _room(times, limits, begin),
                _within(sends, begin, end),
                bisect_left(dues, end) - bisect_left(ends, end),
                _within(lates, begin, end),
            )
        )
    return tuple(hours)


def _within(times: Sequence[float], begin: float, end: float) -> int:
    return bisect_left(times, end) - bisect_left(times, begin)


def _room(times: Sequence[float], limits: Limits, begin: int) -> int | None:
    rooms = []
    if limits.rate:
        rooms.append(int(limits.rate * HOUR_S))
    if limits.daily:
        used = bisect_left(times, begin) - bisect_right(times, begin + HOUR_S - DAY_S)
        rooms.append(max(0, limits.daily - used))
    return min(rooms, default=None)
