"""Due instants against a calendar that knows nothing of gaps and folds: a walk over the minutes of a wall clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest

from digestbot.model import WEEKDAYS, Schedule
from digestbot.schedule import due_instant, due_slots, next_due

MINUTE = timedelta(minutes=1)
DAY_MINUTES = 24 * 60
YEARS = range(2009, 2028)

ZONES = """
Africa/Abidjan Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Johannesburg Africa/Khartoum Africa/Lagos
Africa/Tripoli Africa/Windhoek America/Anchorage America/Asuncion America/Bogota America/Caracas America/Chicago
America/Havana America/Los_Angeles America/Mexico_City America/Montevideo America/New_York America/Nuuk
America/Port-au-Prince America/Santiago America/Sao_Paulo America/Scoresbysund America/St_Johns Antarctica/Casey
Antarctica/Troll Asia/Amman Asia/Anadyr Asia/Beirut Asia/Dhaka Asia/Gaza Asia/Hovd Asia/Jerusalem Asia/Karachi
Asia/Kathmandu Asia/Kolkata Asia/Pyongyang Asia/Tehran Asia/Tokyo Asia/Yangon Atlantic/Azores Atlantic/Cape_Verde
Australia/Adelaide Australia/Eucla Australia/Lord_Howe Australia/Sydney Europe/Berlin Europe/Dublin Europe/Istanbul
Europe/London Europe/Moscow Europe/Volgograd Pacific/Apia Pacific/Chatham Pacific/Easter Pacific/Fakaofo Pacific/Fiji
Pacific/Kiritimati Pacific/Norfolk UTC
""".split()  # noqa: SIM905


class Walk:
    """One zone's wall clock, read minute by minute from an instant on, as far as anybody asks.

    Minutes are counted from 0001-01-01. A date's time is due in the first minute whose wall clock shows it or has passed
    it; a date that no minute shows never was.
    """

    def __init__(self, zone: str, start: datetime) -> None:
        self.zone = ZoneInfo(zone)
        self.at = start.replace(second=0, microsecond=0)
        self.top = self.wall(self.at) - 1  # the latest local minute reached
        self.first: dict[int, datetime] = {}  # local minute -> the first minute in which it was reached
        self.dates: set[date] = set()

    def wall(self, at: datetime) -> int:
        local = at.astimezone(self.zone)
        return local.toordinal() * DAY_MINUTES + local.hour * 60 + local.minute

    def date_at(self, at: datetime) -> date:
        return date.fromordinal(self.wall(at) // DAY_MINUTES)

    def walk_to(self, minute: int) -> None:
        while self.top < minute:
            wall = self.wall(self.at)
            self.dates.add(date.fromordinal(wall // DAY_MINUTES))
            for reached in range(self.top + 1, wall + 1):
                self.first[reached] = self.at
            self.top = max(self.top, wall)
            self.at += MINUTE

    def due(self, day: date, send_at: time) -> datetime | None:
        """Of days after the first of the walk."""
        minute = day.toordinal() * DAY_MINUTES + send_at.hour * 60 + send_at.minute
        self.walk_to(minute + 2 * DAY_MINUTES)
        return self.first[minute] if day in self.dates else None


@lru_cache
def clock_changes(zone: str) -> tuple[datetime, ...]:
    """The first minutes of a new offset from 2009 to 2027."""
    key, found = ZoneInfo(zone), []
    day = datetime(YEARS[0], 1, 1, tzinfo=UTC)
    offset = day.astimezone(key).utcoffset()
    while day.year in YEARS:
        day += timedelta(days=1)
        if day.astimezone(key).utcoffset() != offset:
            minutes = (day - i * MINUTE for i in range(DAY_MINUTES - 1, -1, -1))
            found.append(next(at for at in minutes if at.astimezone(key).utcoffset() != offset))
            offset = day.astimezone(key).utcoffset()
    return tuple(found)


def times_around(change: datetime, zone: str) -> set[time]:
    """Send times around the wall clocks on both sides of a change, and the ends of the day."""
    key = ZoneInfo(zone)
    edges = [change.astimezone(key), (change - MINUTE).astimezone(key)]
    minutes = {0, 1, 8 * 60, 23 * 60 + 59}
    for edge in edges:
        minutes |= {edge.hour * 60 + edge.minute + i for i in (-60, -30, -1, 0, 1, 17, 30, 59, 60, 119)}
    return {time(m // 60, m % 60) for m in (m % DAY_MINUTES for m in minutes)}


def test_the_zones_are_sixty_and_their_clocks_change() -> None:
    assert len(set(ZONES)) >= 60
    assert sum(len(clock_changes(zone)) for zone in ZONES) > 1000
    assert [f"{c:%Y-%m-%d %H:%M}" for c in clock_changes("Europe/Berlin")[:2]] == [
        "2009-03-29 01:00",
        "2009-10-25 01:00",
    ]


def check_changes(zone: str, changes: Iterable[datetime]) -> None:
    for change in changes:
        walk = Walk(zone, change - timedelta(days=4))
        day = walk.date_at(change)
        for send_at in times_around(change, zone):
            for slot in (day + timedelta(days=i) for i in range(-2, 3)):
                expected = walk.due(slot, send_at)
                assert due_instant(Schedule(zone, send_at), slot) == expected, (zone, slot, send_at)


@pytest.mark.parametrize("zone", ZONES)
def test_due_instants_around_clock_changes_are_those_of_a_walk_over_minutes(zone: str) -> None:
    changes = clock_changes(zone)
    check_changes(zone, {*changes[:1], *changes[len(changes) // 2 :][:2], *changes[-1:]})


@pytest.mark.torture
@pytest.mark.parametrize("zone", ZONES)
def test_due_instants_around_every_clock_change(zone: str) -> None:
    check_changes(zone, clock_changes(zone))


@pytest.mark.parametrize(
    ("zone", "slot", "send_at", "due"),
    [
        ("Europe/Berlin", "2026-03-28", "02:30", "2026-03-28 01:30"),
        ("Europe/Berlin", "2026-03-29", "02:30", "2026-03-29 01:00"),  # skipped: at 03:00 summer time
        ("Europe/Berlin", "2026-03-29", "02:00", "2026-03-29 01:00"),
        ("Europe/Berlin", "2026-03-29", "03:00", "2026-03-29 01:00"),
        ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25 00:30"),  # twice: the first
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03 15:30"),  # half an hour is skipped
        ("America/Havana", "2026-03-08", "00:00", "2026-03-08 05:00"),  # midnight is skipped
        ("America/Havana", "2026-11-01", "00:30", "2026-11-01 04:30"),
        ("America/Nuuk", "2024-03-30", "23:30", "2024-03-31 01:00"),  # the gap ends on the next date
        ("Antarctica/Troll", "2026-03-29", "02:59", "2026-03-29 01:00"),  # two hours are skipped
        ("Africa/Casablanca", "2026-02-15", "02:30", "2026-02-15 01:30"),  # back for Ramadan: 02:30 twice
        ("Asia/Kathmandu", "2026-07-01", "08:00", "2026-07-01 02:15"),
        ("America/St_Johns", "2011-03-13", "00:01", "2011-03-13 03:31"),  # changed at 00:01 then
        ("Pacific/Apia", "2011-12-29", "23:59", "2011-12-30 09:59"),
        ("Pacific/Apia", "2011-12-31", "00:00", "2011-12-30 10:00"),
        ("Pacific/Kiritimati", "2026-01-01", "00:00", "2025-12-31 10:00"),
    ],
)
def test_known_due_instants(zone: str, slot: str, send_at: str, due: str) -> None:
    schedule = Schedule(zone, time.fromisoformat(send_at))
    assert due_instant(schedule, date.fromisoformat(slot)) == datetime.fromisoformat(due + "+00:00")


@pytest.mark.parametrize("send_at", [time(0), time(8), time(23, 59)])
@pytest.mark.parametrize("zone", ["Pacific/Apia", "Pacific/Fakaofo"])
def test_a_date_that_never_was_has_no_slot(zone: str, send_at: time) -> None:
    lost = date(2011, 12, 30)
    assert due_instant(Schedule(zone, send_at), lost) is None
    start = datetime(2011, 12, 26, tzinfo=UTC)
    slots = [due.slot for due in due_slots(Schedule(zone, send_at), start, start + timedelta(days=10))]
    assert slots == [day for day in _days(slots[0], slots[-1]) if day != lost]
    fridays = Schedule(zone, send_at, ("fri",))
    due = next_due(fridays, start)
    assert due is not None
    assert due.slot == date(2012, 1, 6)  # the Friday after


def _days(first: date, last: date) -> list[date]:
    return [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1)]


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Pacific/Apia", "America/Havana", "America/Nuuk"])
def test_next_due_is_the_first_of_a_walk_strictly_after_any_instant(zone: str) -> None:
    for change in clock_changes(zone)[-2:]:
        walk = Walk(zone, change - timedelta(days=5))
        start = walk.date_at(change) - timedelta(days=2)
        for send_at in sorted(times_around(change, zone))[::3]:
            dues = [
                (walk.due(start + timedelta(days=i), send_at), start + timedelta(days=i)) for i in range(6)
            ]
            for at, slot in dues[:-1]:
                assert at is not None
                for after in (at - MINUTE, at, at + MINUTE):
                    expected = min((a, s) for a, s in dues if a is not None and a > after)
                    due = next_due(Schedule(zone, send_at), after)
                    assert due is not None
                    assert (due.at, due.slot) == expected, (send_at, slot, after)


@pytest.mark.torture
def test_a_year_of_every_weekday_set_is_that_of_a_walk() -> None:
    for zone in ("Australia/Lord_Howe", "Europe/Dublin", "Asia/Gaza"):
        walk, end = Walk(zone, datetime(2025, 12, 28, tzinfo=UTC)), datetime(2027, 1, 1, tzinfo=UTC)
        days = _days(date(2025, 12, 30), date(2027, 1, 2))
        dues = [(slot, at) for slot in days if (at := walk.due(slot, time(2, 30))) is not None]
        for chosen in range(1, 128):
            names = tuple(name for i, name in enumerate(WEEKDAYS) if chosen >> i & 1)
            start = datetime(2026, 1, 1, tzinfo=UTC)
            expected = [(s, a) for s, a in dues if start < a <= end and WEEKDAYS[s.weekday()] in names]
            found = due_slots(Schedule(zone, time(2, 30), names), start, end)
            assert [(due.slot, due.at) for due in found] == expected
