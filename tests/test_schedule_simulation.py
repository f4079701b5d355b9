"""A scheduler's life in small: ticks at any time, outages, changes, pauses and skips, judged by a walk over minutes.

The world below is what a scheduler does with schedule.py: it keeps one stored `next_due_at` and a dict of records. The
judge knows the rules as docs/schedule.md words them, and finds every instant by walking over the minutes of wall clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot.model import WEEKDAYS, Schedule
from digestbot.schedule import Settlement, Verdict, due_instant, next_digest, next_due, reschedule, settle
from tests.test_schedule_calendar import MINUTE, YEARS, ZONES, Walk, clock_changes, times_around

DAY = timedelta(days=1)
Clock = tuple[str, datetime]  # a zone, and an instant at which its clocks change
FIRST_DAY = datetime(YEARS[0], 1, 1, tzinfo=UTC)
LIMIT = timedelta(hours=12)
SKIPPED = "skipped"


class World:
    """One subscriber in the hands of a scheduler."""

    def __init__(self, schedule: Schedule, now: datetime) -> None:
        self.schedule = schedule
        self.records: dict[date, str] = {}
        due = next_due(schedule, now)
        self.next_due_at = due.at if due else None

    def tick(self, now: datetime) -> None:
        if self.next_due_at is None or self.next_due_at > now:
            return
        before = self.next_due_at
        args = self.schedule, before, now
        self._store(settle(*args, max_lateness=LIMIT, recorded=self.records.keys()))
        again = settle(*args, max_lateness=LIMIT)  # a second scheduler, that read before the first one wrote
        assert {due.slot for due, _ in again.decisions} <= self.records.keys()

    def change(self, schedule: Schedule, now: datetime) -> None:
        args = self.schedule, schedule, self.next_due_at, now
        self.schedule = schedule
        settlement = reschedule(*args, recorded=self.records.keys())
        assert all(verdict is not Verdict.COMPOSE for _, verdict in settlement.decisions)
        self._store(settlement)

    def skip(self, now: datetime) -> date | None:
        due = next_digest(self.schedule, self.next_due_at, recorded=self.records.keys())
        if due is None:
            return None
        self.records[due.slot] = SKIPPED
        self.change(self.schedule, now)
        return due.slot

    def take_skips_back(self, now: datetime) -> None:
        for slot in [slot for slot, end in self.records.items() if end == SKIPPED]:
            at = due_instant(self.schedule, slot)
            if at is not None and at > now:
                del self.records[slot]
        self.change(self.schedule, now)

    def _store(self, settlement: Settlement) -> None:
        for due, verdict in settlement.decisions:
            assert due.slot not in self.records, "the same slot twice"
            self.records[due.slot] = verdict
        self.next_due_at = settlement.next_due_at


@lru_cache(maxsize=6)
def walk_of(zone: str, start: datetime) -> Walk:
    return Walk(zone, start)


@dataclass
class Judge:
    """Knows what must have been recorded. Dates are owed from `first` on, and those due after `changed`."""

    schedule: Schedule
    changed: datetime
    start: datetime  # the first minute of all walks, days before anything happens
    first: date = date.max
    records: dict[date, str] = field(default_factory=dict)
    due_in_force: set[date] = field(
        default_factory=set
    )  # dates whose time came while that schedule was in force

    def walk(self, schedule: Schedule) -> Walk:
        return walk_of(schedule.timezone, self.start)

    def due(self, schedule: Schedule, day: date) -> datetime | None:
        sends = WEEKDAYS[day.weekday()] in schedule.days
        return self.walk(schedule).due(day, schedule.send_at) if sends else None

    def owed(self, until: datetime) -> list[tuple[date, datetime]]:
        """The dates owed and due until an instant, and the next one after it: a walk over the days."""
        found, day = [], self.walk(self.schedule).date_at(self.start) + 2 * DAY
        while True:
            at = self.due(self.schedule, day)
            if at is not None and day not in self.records and (day >= self.first or at > self.changed):
                found.append((day, at))
                if at > until:
                    return found
            day += DAY

    def waiting(self, now: datetime) -> list[tuple[date, datetime]]:
        return self.owed(now)[:-1]

    def next(self) -> datetime:
        return self.owed(self.start)[0][1]

    def tick(self, now: datetime) -> None:
        waiting = self.waiting(now)
        for day, at in waiting:
            if self.paused(day):
                self.records[day] = "paused"
            elif day == waiting[-1][0] and at + LIMIT >= now:
                self.records[day] = "compose"
            else:
                self.records[day] = "late"

    def paused(self, day: date) -> bool:
        return bool(self.schedule.paused_until and day < self.schedule.paused_until)

    def see(self, now: datetime) -> None:
        """Notes which dates came due, by the schedule in force, since it came into force."""
        self.due_in_force |= {day for day, at in self.waiting(now) if self.changed < at <= now}

    def change(self, schedule: Schedule, now: datetime) -> None:
        self.forget_ahead(now)
        owed = self.owed(now)
        next_day, next_at = owed[0]
        here, there = (self.walk(s).date_at(next_at) for s in (self.schedule, schedule))
        self.first = next_day if len(owed) > 1 else next_day + (there - here)
        self.schedule, self.changed = schedule, now
        for day, _ in owed[:-1]:
            if self.due(schedule, day) is None:
                self.records[day] = "paused" if self.paused(day) else "late"
        self.forget_ahead(now)

    def forget_ahead(self, now: datetime) -> None:
        """What came due, but was moved to a later time or has its time ahead by a clock set back, is not due now."""
        for day in list(self.due_in_force - self.records.keys()):
            at = self.due(self.schedule, day)
            if at is not None and at > now:
                self.due_in_force.remove(day)

    def skip(self, now: datetime) -> date | None:
        until = self.schedule.paused_until
        if until == date.max:
            return None
        later = max(now, self.changed, datetime.combine(until or date.min, time(), tzinfo=UTC)) + 16 * DAY
        day = next(day for day, _ in self.owed(later) if not self.paused(day))
        self.records[day] = SKIPPED
        self.change(self.schedule, now)
        return day

    def take_skips_back(self, now: datetime) -> None:
        walk, send_at = self.walk(self.schedule), self.schedule.send_at
        for day in [day for day, end in self.records.items() if end == SKIPPED]:
            at = walk.due(day, send_at)
            if at is not None and at > now:
                del self.records[day]
        self.change(self.schedule, now)


def send_times(zone: str, change: datetime) -> st.SearchStrategy[time]:
    """Mostly times that the clocks skip or show twice, and those near them."""
    near = st.sampled_from(sorted(times_around(change, zone)))
    sides = sorted(at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in (change, change - MINUTE))
    first = sides[0].hour * 60 + sides[0].minute
    between = st.integers(first, first + (sides[1] - sides[0]) // MINUTE)
    return (
        between.map(minute_of_day)
        | between.map(minute_of_day)
        | near
        | st.integers(0, 1439).map(minute_of_day)
    )


def minute_of_day(minute: int) -> time:
    return time(minute // 60 % 24, minute % 60)


WEEKDAY_SETS = st.just(WEEKDAYS) | st.integers(1, 127).map(
    lambda bits: tuple(day for i, day in enumerate(WEEKDAYS) if bits >> i & 1)
)
SECONDS = st.sampled_from([0, 0, 0, 1, 30, 59]).map(lambda s: timedelta(seconds=s))
OUTAGES = st.integers(0, 3 * 24 * 60).map(lambda m: timedelta(minutes=m))
MOMENTS = st.integers(0, 90).map(lambda m: timedelta(minutes=m))
ACTIONS = st.sampled_from(
    ["tick", "tick", "tick", "zone", "time", "days", "pause", "skip", "take back", "away", "back"]
)


CLOCK_CHANGES = [(zone, change) for zone in ZONES for change in clock_changes(zone)]
LOST_DATES = [(zone, change) for zone, change in CLOCK_CHANGES if change.date() == date(2011, 12, 30)]
ANY_CLOCK = st.tuples(
    st.sampled_from(ZONES), st.integers(0, 365 * len(YEARS)).map(lambda n: FIRST_DAY + n * DAY)
)
CLOCKS = (
    st.sampled_from(CLOCK_CHANGES) | st.sampled_from(CLOCK_CHANGES) | ANY_CLOCK | st.sampled_from(LOST_DATES)
)


def changed(data: st.DataObject, world: World, action: str, now: datetime, clock: Clock) -> Schedule:
    schedule = world.schedule
    if action == "zone":
        zone = data.draw(
            st.sampled_from([clock[0], "Pacific/Kiritimati", "America/Los_Angeles", "Pacific/Apia"])
        )
        return replace(schedule, timezone=zone)
    if action == "time":
        return replace(schedule, send_at=data.draw(send_times(*clock)))
    if action == "days":
        return replace(schedule, days=data.draw(WEEKDAY_SETS))
    until = st.integers(-1, 2).map(lambda n: (world.next_due_at or now).date() + n * DAY)
    return replace(schedule, paused_until=data.draw(until | until | until | st.none() | st.just(date.max)))


def moment(data: st.DataObject, world: World, now: datetime) -> datetime:
    """When something happens next: soon, after an outage, or to the second when a slot is due or too late."""
    on_the_dot = world.next_due_at
    if on_the_dot and now < on_the_dot < now + 4 * DAY and data.draw(st.booleans()):
        dot = on_the_dot + data.draw(st.sampled_from([timedelta(0), LIMIT]))
        return max(now, dot + data.draw(st.integers(-1, 1)) * timedelta(seconds=1))
    return now + data.draw(MOMENTS | OUTAGES) + data.draw(SECONDS)


def live(data: st.DataObject, steps: int) -> None:
    clock = data.draw(CLOCKS)
    zone, change = clock
    now = latest = change - data.draw(st.integers(0, 24) | st.integers(0, 60)) * timedelta(hours=1)
    schedule = Schedule(zone, data.draw(send_times(*clock)), data.draw(WEEKDAY_SETS))
    if data.draw(st.booleans()):  # confirmed in the very instant a slot is due
        now = latest = World(schedule, now).next_due_at or now
    world, judge = World(schedule, now), Judge(schedule, now, change - 5 * DAY)
    assert world.next_due_at == judge.next()
    for _ in range(steps):
        now, action = moment(data, world, now), data.draw(ACTIONS)
        if action == "back":  # the clock is set back by hours, and ticks go on
            now, action = now - data.draw(st.integers(1, 12)) * timedelta(hours=1), "tick"
        latest = max(latest, now)
        judge.see(now)
        step(data, world, judge, action, now, clock)
        assert world.records == judge.records, (action, now)
        assert world.next_due_at == judge.next(), (action, now)
    judge.see(latest)
    world.tick(latest)
    assert judge.due_in_force <= world.records.keys(), "a date that was due has no record"


def step(data: st.DataObject, world: World, judge: Judge, action: str, now: datetime, clock: Clock) -> None:
    if action == "tick":
        world.tick(now)
        judge.tick(now)
    elif action == "skip":
        assert world.skip(now) == judge.skip(now)
    elif action == "take back":
        world.take_skips_back(now)
        judge.take_skips_back(now)
    elif action == "away":  # a pause, and the first digest after it skipped
        step(data, world, judge, "pause", now, clock)
        step(data, world, judge, "skip", now, clock)
    else:
        schedule = changed(data, world, action, now, clock)
        world.change(schedule, now)
        judge.change(schedule, now)


@settings(max_examples=150)
@given(st.data())
def test_every_due_date_has_one_record_and_the_next_one_is_true(data: st.DataObject) -> None:
    live(data, 10)


@pytest.mark.torture
@settings(max_examples=1500)
@given(st.data())
def test_longer_lives(data: st.DataObject) -> None:
    live(data, 30)
