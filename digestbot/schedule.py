"""When a digest is due, and what becomes of it: slots, time zones, lateness. Pure: `now` is a parameter.

A slot is a local date. It is due at `send_at` on that date: at the first instant after the gap where the clocks skip that
time, the first time where it happens twice, never where the date never was (Pacific/Apia, 30 December 2011).

Everybody's next due instant is asked for all the time, so equal schedules share their answers. Measured: `next_due`
0.7 us and `settle` 8 us where the same was asked before, 90 us for a week of a schedule that nobody had yet.
"""

from __future__ import annotations

import enum
import re
import zoneinfo
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from digestbot.model import WEEKDAYS, Schedule, SlotOutcome

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_QUIET = timedelta(days=6)  # from the first of seven days to the last
_LONGEST = timedelta(
    days=3653
)  # ten years; a clock that said 1971 once is no reason for 20,000 late slots each
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
    due = _next(_rhythm(schedule), after)
    while due is not None and due.slot in recorded:
        due = _next(_rhythm(schedule), due.at)
    return due


def due_slots(
    schedule: Schedule, since: datetime, until: datetime, *, recorded: Collection[date] = ()
) -> list[Due]:
    """All slots due in (since, until], in order, leaving out those in `recorded`."""
    start = _slot_before(since)
    dues = _dues_until(_rhythm(schedule), start, until)
    return [due for due in dues if due.at > since and due.slot not in recorded]


def next_digest(
    schedule: Schedule, next_due_at: datetime | None, *, recorded: Collection[date] = ()
) -> Due | None:
    """The first slot not yet recorded that no pause covers: what to show as the next digest, and what `skip` skips.

    None: nothing is due, or paused until resumed.
    """
    if next_due_at is None:
        return None
    rhythm = _rhythm(schedule)
    start = max(_pending_slot(rhythm, next_due_at), schedule.paused_until or date.min)
    return next((due for due in _dues(rhythm, start) if due.slot not in recorded), None)


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
    the pending slot (a clock set back) decides nothing. Slots of more than ten years ago are passed over without
    a record.
    """
    waiting, following = _waiting(_rhythm(schedule), next_due_at, now)
    dues = [due for due in waiting if due.slot not in recorded]
    while following is not None and following.slot in recorded:
        following = _next(_rhythm(schedule), following.at)
    decisions = decide(schedule, dues, now, max_lateness)
    return Settlement(tuple(decisions), None if following is None else following.at)


def settles_since(next_due: Iterable[datetime], now: datetime) -> date:
    """A date before all slots that settle() may decide for any of these pending instants: records from it on count."""
    return max(min(next_due), now - _LONGEST).date() - 2 * _DAY


def reschedule(
    old: Schedule,
    new: Schedule,
    next_due_at: datetime | None,
    now: datetime,
    *,
    recorded: Collection[date] = (),
) -> Settlement:
    """What a change from `old` to `new` at `now` leaves to store. Never the same date twice, and none lost by accident.

    The new schedule counts for slots due after `now`, and from the date on that was next: so today's digest, not sent
    yet, survives a move of its time to an hour ago (next_due_at is then in the past: due at once). Slots already due
    that still wait for a tick keep their dates; those that are no sending dates any more are the decisions: late, or
    paused, never COMPOSE. A date in `recorded` does not return.

    recorded: the slots recorded, at least those from two days before `now` on. next_due_at None: nothing was due.
    With old == new it only recomputes, as after new zone rules or a skip.
    """
    first, waiting = date.max, list[Due]()
    if next_due_at is not None:
        overdue, _ = _waiting(_rhythm(old), next_due_at, now)
        waiting = [due for due in overdue if due.slot not in recorded]
        first = waiting[0].slot if waiting else _moved(old, new, next_due_at)
    closed = [due for due in waiting if not _is_slot(new, due.slot)]
    for due in _dues(_rhythm(new), min(first, _slot_before(now))):
        if due.slot not in recorded and (due.slot >= first or due.at > now):
            return Settlement(tuple(_close(new, closed)), due.at)
    return Settlement(tuple(_close(new, closed)), None)


def ends_quiet_week(day: date, earlier: Mapping[date, SlotOutcome]) -> bool:
    """Whether the empty slot `day` is the first in a stretch of empty ones that is the seventh day of it, or later.

    earlier: how the slots of the three weeks before ended. Any other end than empty begins a new stretch.
    """
    stretch: list[date] = []
    for slot in sorted((slot for slot in earlier if slot < day), reverse=True):
        if earlier[slot] is not SlotOutcome.EMPTY:
            break
        stretch.append(slot)
    return bool(stretch) and day - stretch[-1] >= _QUIET > stretch[0] - stretch[-1]


def _close(schedule: Schedule, dues: Sequence[Due]) -> Iterator[tuple[Due, Verdict]]:
    for due in dues:
        yield due, Verdict.PAUSED if _is_paused(schedule, due.slot) else Verdict.LATE


def _moved(old: Schedule, new: Schedule, next_due_at: datetime) -> date:
    """The date, where a person now lives, of the digest that would have come next."""
    there, here = (next_due_at.astimezone(zone_of(s.timezone)).date() for s in (old, new))
    return _pending_slot(_rhythm(old), next_due_at) + (here - there)


def _is_paused(schedule: Schedule, slot: date) -> bool:
    return schedule.paused_until is not None and slot < schedule.paused_until


def _is_slot(schedule: Schedule, day: date) -> bool:
    return WEEKDAYS[day.weekday()] in schedule.days and due_instant(schedule, day) is not None


# ---- the calendar -----------------------------------------------------------------------------------------------

_Rhythm = tuple[str, time, tuple[str, ...]]  # time zone, send_at, days: a schedule without its pause


def _rhythm(schedule: Schedule) -> _Rhythm:
    return schedule.timezone, schedule.send_at, schedule.days


@lru_cache(maxsize=1 << 13)
def _next(rhythm: _Rhythm, after: datetime) -> Due | None:
    return next((due for due in _dues(rhythm, _slot_before(after)) if due.at > after), None)


@lru_cache(maxsize=1 << 10)
def _waiting(rhythm: _Rhythm, next_due_at: datetime, now: datetime) -> tuple[tuple[Due, ...], Due | None]:
    """The slots due from the pending one up to now, of ten years at most, and the one that follows; one tick asks this
    of all."""
    first = max(_pending_slot(rhythm, next_due_at), _slot_before(now - _LONGEST))
    dues = tuple(_dues_until(rhythm, first, now))
    return dues, next(_dues(rhythm, dues[-1].slot + _DAY if dues else first), None)


def _pending_slot(rhythm: _Rhythm, next_due_at: datetime) -> date:
    """The slot a stored instant stands for: the one due nearest to it, as zone rules may have changed since."""
    near = next_due_at.astimezone(zone_of(rhythm[0])).date()
    around = _dues_until(rhythm, near - _DAY, next_due_at + 2 * _DAY)
    closest = min(around, key=lambda due: abs(due.at - next_due_at), default=None)
    return near if closest is None else closest.slot


def _slot_before(at: datetime) -> date:
    """A date no later than any slot due after an instant: local dates differ from UTC's by one at most."""
    return max(at.astimezone(UTC).date(), _FIRST_SLOT + _DAY) - _DAY


def _dues_until(rhythm: _Rhythm, first: date, until: datetime) -> Iterator[Due]:
    return takewhile(lambda due: due.at <= until, _dues(rhythm, first))


def _dues(rhythm: _Rhythm, first: date) -> Iterator[Due]:
    """All slots from a local date on, in order; their instants rise strictly."""
    monday = first.toordinal() - first.weekday()
    while rhythm[2] and monday + 6 <= _LAST_SLOT.toordinal():
        for due in _week(rhythm, monday):
            if due.slot >= first:
                yield due
        monday += 7


@lru_cache(maxsize=1 << 15)
def _week(rhythm: _Rhythm, monday: int) -> tuple[Due, ...]:
    """The slots of the week that begins at an ordinal; shared by all equal schedules."""
    timezone, send_at, days = rhythm
    dates = (date.fromordinal(monday + i) for i, name in enumerate(WEEKDAYS) if name in days)
    instants = ((slot, _instant(timezone, send_at, slot)) for slot in dates)
    return tuple(Due(slot, at) for slot, at in instants if at is not None)


def _instant(timezone: str, send_at: time, slot: date) -> datetime | None:
    zone = zone_of(timezone)
    local = datetime.combine(slot, send_at.replace(fold=0), tzinfo=zone)
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


def _end_of_gap(zone: tzinfo, local: datetime, *, early: timedelta, late: timedelta) -> datetime:
    """The first instant whose wall clock is past a time that was skipped; zones change at whole seconds."""
    start = (local - late).replace(tzinfo=UTC)
    seconds = range(int((late - early).total_seconds()) + 1)
    return start + bisect_left(seconds, local, key=lambda s: _wall(start + s * _SECOND, zone)) * _SECOND


def _wall(at: datetime, zone: tzinfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def zone_of(name: str) -> tzinfo:
    """The rules of a time zone; those of UTC where its own cannot be read here: a damaged file, or one that is gone,
    makes digests of that zone come at another hour, and keeps them from nobody."""
    return _find_zone(name) or UTC


def is_known_zone(name: str) -> bool:
    return _find_zone(name) is not None


@lru_cache(maxsize=1024)
def _find_zone(name: str) -> ZoneInfo | None:
    try:
        found = ZoneInfo.from_file(_Ending(zone_file(name)), key=name)
        for year in range(2000, 2100):  # an offset of days is only met when it is asked for
            for month in (1, 7):
                datetime(year, month, 1, tzinfo=found).utcoffset()
    except Exception:  # whatever zoneinfo meets in a damaged file
        return None
    return found


class _Ending(BytesIO):
    """A file that says where it ends: zoneinfo looks for a last line's end for ever, where that is cut off."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if size and not found:
            raise EOFError
        return found


def zone_file(name: str) -> bytes:
    """As zoneinfo finds it: in the folders of its path, else in the package. Raises OSError."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(name).read_bytes()


def forget_zone_rules() -> None:
    """The zone files are read anew from now on, and nothing that was worked out from them is kept."""
    for cache in (_next, _waiting, _week, _find_zone, _zone_names):
        cache.cache_clear()


# ---- at the door ------------------------------------------------------------------------------------------------


def check_schedule(timezone: str, send_at: str, days: Sequence[str]) -> list[str]:
    """What is wrong with a schedule as people write it, one line each that begins with the field; [] where it is fine."""
    problems = []
    if timezone not in _zone_names():
        problems.append(f'timezone: "{timezone}" is no time zone{_similar(timezone)}')
    elif not is_known_zone(timezone):
        problems.append(f'timezone: the rules of "{timezone}" cannot be read here: install tzdata anew')
    if not re.fullmatch("([01]?[0-9]|2[0-3]):[0-5][0-9]", send_at):
        problems.append(f'send_at: "{send_at}" is no time of day from 00:00 to 23:59')
    unknown = [day for day in days if day not in WEEKDAYS]
    if unknown or not days:
        named = ", ".join(f'"{day}"' for day in unknown) + " is no weekday" if unknown else "is empty"
        problems.append(f"days: {named}; name some of {', '.join(WEEKDAYS)}")
    return problems


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    """Not `localtime`, which another machine reads differently."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def _similar(timezone: str) -> str:
    """A hint: the same name in other case, a city's zone, or a similar one."""
    wanted = timezone.strip().replace(" ", "_").casefold()
    names = {name.casefold(): name for name in sorted(_zone_names())}
    city = next((name for key, name in names.items() if key.rsplit("/", 1)[-1] == wanted), None)
    close = get_close_matches(wanted, names, n=1)
    found = names.get(wanted) or city or (names[close[0]] if close else None)
    return f'; is "{found}" meant?' if found else ', such as "Europe/Berlin"'
