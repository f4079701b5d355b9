"""When a digest is due, and what becomes of it: slots, time zones, lateness. Pure: `now` is a parameter.

A slot is a local date. It is due at `send_at` on that date: at the first instant after the gap where the clocks skip that
time, the first time where it happens twice, never where the date never was (Pacific/Apia, 30 December 2011).

Everybody's next due instant is asked for all the time, so the due instants of a week are computed once for all equal
schedules. Measured: `next_due` 1.5 us and `settle` 4 us where the week is known, 30 us where it is not.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from digestbot.errors import UsageError
from digestbot.model import WEEKDAYS, Schedule

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_FIRST_SLOT, _LAST_SLOT = date(2, 1, 1), date(9998, 12, 31)  # beyond these, zone arithmetic overflows


@dataclass(frozen=True, slots=True)
class Due:
    """One slot and the instant (UTC) it is due. `at` may lie on another local date: after a gap over midnight."""

    slot: date
    at: datetime


class Verdict(enum.StrEnum):
    """What to do with a slot that is due."""

    COMPOSE = "compose"  # may still end empty
    LATE = "late"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to store, in one transaction: a record for each decision, and the subscriber's next due instant."""

    decisions: tuple[tuple[Due, Verdict], ...]  # by slot; at most one COMPOSE
    next_due_at: datetime | None  # None: nothing is due until something changes


# ---- slots ------------------------------------------------------------------------------------------------------


def due_instant(schedule: Schedule, slot: date) -> datetime | None:
    """When a local date's digest is due, whether or not `slot` is one of the days. None: that date never was there."""
    return _instant(schedule.timezone, schedule.send_at, slot)


def next_due(schedule: Schedule, after: datetime, *, recorded: Collection[date] = ()) -> Due | None:
    """The first slot due strictly after an instant, leaving out those in `recorded`. None: no days.

    A pause does not matter: paused slots become due, too, and are recorded as paused. With `after` the instant of
    confirmation it is a subscriber's first slot: one due in that very instant is not sent any more.
    """
    for due in _dues(schedule, _slot_before(after)):
        if due.at > after and due.slot not in recorded:
            return due
    return None


def due_slots(
    schedule: Schedule, since: datetime, until: datetime, *, recorded: Collection[date] = ()
) -> list[Due]:
    """All slots due in (since, until], in order, leaving out those in `recorded`."""
    dues = []
    for due in _dues(schedule, _slot_before(since)):
        if due.at > until:
            break
        if due.at > since and due.slot not in recorded:
            dues.append(due)
    return dues


def next_digest(
    schedule: Schedule, next_due_at: datetime | None, *, recorded: Collection[date] = ()
) -> Due | None:
    """The first slot not yet recorded that no pause covers: what to show as the next digest, and what `skip` skips.

    None: nothing is due, or paused until resumed.
    """
    if next_due_at is None:
        return None
    start = max(_pending_slot(schedule, next_due_at), schedule.paused_until or date.min)
    return next((due for due in _dues(schedule, start) if due.slot not in recorded), None)


# ---- decisions --------------------------------------------------------------------------------------------------


def decide(
    schedule: Schedule, dues: Sequence[Due], now: datetime, max_lateness: timedelta
) -> list[tuple[Due, Verdict]]:
    """What to do with slots that are due, in order: only the latest is composed, and only within the limit.

    A slot before `paused_until` is paused, however late. Lateness of exactly `max_lateness` is within the limit.
    """
    decisions = []
    for due in dues:
        if _is_paused(schedule, due.slot):
            verdict = Verdict.PAUSED
        elif due is dues[-1] and now - due.at <= max_lateness:
            verdict = Verdict.COMPOSE
        else:
            verdict = Verdict.LATE
        decisions.append((due, verdict))
    return decisions


def settle(
    schedule: Schedule,
    next_due_at: datetime,
    now: datetime,
    *,
    max_lateness: timedelta,
    recorded: Collection[date] = (),
) -> Settlement:
    """All that a tick has to store for one subscriber: every slot due from the pending one up to `now`, and the next.

    The stored `next_due_at` stands for a slot, not for an instant: where zone rules changed since it was stored, its slot
    keeps its place and is due by the rules of today. Twice with the same `recorded` gives the same; a `now` before
    the pending slot (a clock set back) decides nothing.
    """
    dues: list[Due] = []
    following: datetime | None = None
    for due in _dues(schedule, _pending_slot(schedule, next_due_at)):
        if due.slot in recorded:
            continue
        if due.at > now:
            following = due.at
            break
        dues.append(due)
    return Settlement(tuple(decide(schedule, dues, now, max_lateness)), following)


def reschedule(
    old: Schedule,
    new: Schedule,
    next_due_at: datetime | None,
    now: datetime,
    *,
    recorded: Collection[date] = (),
) -> Settlement:
    """What a change from `old` to `new` at `now` leaves to store. Never the same date twice, and none lost by accident.

    The new schedule counts for slots due after `now` and for all from the pending slot on, also where their new time
    has passed already: so today's digest, not sent yet, survives a move of the time to an hour ago. A date already in
    `recorded` never returns. Slots that were due before the change (waiting for a tick) and are no sending dates
    any more are the decisions: late, or paused; none is COMPOSE. The result's next_due_at may be in the past: due now.

    `recorded`: the slots recorded, at least from two days before `now` on. With old == new it recomputes after new zone
    rules. `next_due_at` None: nothing was due, the new schedule counts after `now`.
    """
    first = date.max if next_due_at is None else _pending_slot(old, next_due_at)
    waiting = [due for due in _dues_until(old, first, now) if due.slot not in recorded]
    closed = [due for due in waiting if not _is_slot(new, due.slot)]
    verdicts = (Verdict.PAUSED if _is_paused(new, due.slot) else Verdict.LATE for due in closed)
    for due in _dues(new, min(first, _slot_before(now))):
        if due.slot not in recorded and (due.slot >= first or due.at > now):
            return Settlement(tuple(zip(closed, verdicts, strict=True)), due.at)
    return Settlement(tuple(zip(closed, verdicts, strict=True)), None)


def _is_paused(schedule: Schedule, slot: date) -> bool:
    return schedule.paused_until is not None and slot < schedule.paused_until


def _is_slot(schedule: Schedule, day: date) -> bool:
    return WEEKDAYS[day.weekday()] in schedule.days and due_instant(schedule, day) is not None


def _pending_slot(schedule: Schedule, next_due_at: datetime) -> date:
    """The slot a stored instant stands for: the one due nearest to it, as zone rules may have changed since."""
    near = next_due_at.astimezone(_zone(schedule.timezone)).date()
    best, distance = near, 3 * _DAY
    for due in _dues(schedule, near - _DAY):
        if due.at == next_due_at:
            return due.slot
        if due.slot > near + _DAY:
            break
        if abs(due.at - next_due_at) < distance:
            best, distance = due.slot, abs(due.at - next_due_at)
    return best


# ---- the calendar -----------------------------------------------------------------------------------------------


def _slot_before(at: datetime) -> date:
    """A date no later than any slot due after an instant: local dates differ from UTC's by one at most."""
    return max(at.astimezone(UTC).date(), _FIRST_SLOT + _DAY) - _DAY


def _dues_until(schedule: Schedule, first: date, until: datetime) -> Iterator[Due]:
    for due in _dues(schedule, first):
        if due.at > until:
            return
        yield due


def _dues(schedule: Schedule, first: date) -> Iterator[Due]:
    """All slots from a local date on, in order; their instants rise strictly."""
    monday = first.toordinal() - first.weekday()
    while schedule.days and monday + 6 <= _LAST_SLOT.toordinal():
        for due in _week(schedule.timezone, schedule.send_at, schedule.days, monday):
            if due.slot >= first:
                yield due
        monday += 7


@lru_cache(maxsize=1 << 15)
def _week(timezone: str, send_at: time, days: tuple[str, ...], monday: int) -> tuple[Due, ...]:
    """The slots of the week that begins at an ordinal; shared by all equal schedules."""
    dates = (date.fromordinal(monday + i) for i, name in enumerate(WEEKDAYS) if name in days)
    instants = ((slot, _instant(timezone, send_at, slot)) for slot in dates)
    return tuple(Due(slot, at) for slot, at in instants if at is not None)


def _instant(timezone: str, send_at: time, slot: date) -> datetime | None:
    zone = _zone(timezone)
    local = datetime.combine(slot, send_at, tzinfo=zone)
    before, after = (
        local.utcoffset(),
        local.replace(fold=1).utcoffset(),
    )  # PEP 495: differ in a gap or a fold only
    assert before is not None
    assert after is not None
    if before >= after:
        return local.astimezone(UTC)
    at = _end_of_gap(zone, local.replace(tzinfo=None), early=before, late=after)
    beside = (_wall(at, zone).date(), _wall(at - _SECOND, zone).date())
    return at if slot in beside else None


def _end_of_gap(zone: ZoneInfo, local: datetime, *, early: timedelta, late: timedelta) -> datetime:
    """The first instant whose wall clock is past a time that was skipped; zones change at whole seconds."""
    start = (local - late).replace(tzinfo=UTC)
    seconds = range(int((late - early).total_seconds()) + 1)
    return start + bisect_left(seconds, local, key=lambda s: _wall(start + s * _SECOND, zone)) * _SECOND


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = f'timezone "{name}" is not known here: choose another, or install newer zone data (tzdata)'
        raise UsageError(message) from None
