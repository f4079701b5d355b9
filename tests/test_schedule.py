"""What becomes of slots, as docs/schedule.md says it: next ones, lateness, pauses, changes, and the check at the door."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.model import WEEKDAYS, Schedule
from digestbot.schedule import (
    Due,
    Verdict,
    check_schedule,
    decide,
    due_instant,
    due_slots,
    next_digest,
    next_due,
    reschedule,
    settle,
    settles_since,
)
from tests.test_schedule_calendar import ZONES

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIMIT = 12 * HOUR
BERLIN = Schedule("Europe/Berlin", time(8))  # 07:00 UTC in January
COMPOSE, LATE, PAUSED = Verdict.COMPOSE, Verdict.LATE, Verdict.PAUSED


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=UTC)


def day(number: int) -> date:
    return date(2026, 1, number)


def slots(*numbers: int) -> list[Due]:
    return [Due(day(n), at(f"{n:02d} 07:00")) for n in numbers]


# ---- which slots are due ----------------------------------------------------------------------------------------


def test_the_first_slot_is_due_strictly_after_the_confirmation() -> None:
    assert next_due(BERLIN, at("10 06:59:59")) == slots(10)[0]
    assert next_due(BERLIN, at("10 07:00")) == slots(11)[0]
    assert next_due(BERLIN, at("10 07:00:00.000001")) == slots(11)[0]


def test_only_the_chosen_days_have_slots() -> None:
    schedule = replace(BERLIN, days=("mon", "sat"))  # 3, 5, 10, 12 January 2026
    assert due_slots(schedule, at("01 00:00"), at("12 07:00")) == slots(3, 5, 10, 12)


def test_slots_between_two_instants_leave_out_the_first_and_take_the_last() -> None:
    assert due_slots(BERLIN, at("10 07:00"), at("12 07:00")) == slots(11, 12)
    assert due_slots(BERLIN, at("12 07:00"), at("10 07:00")) == []


def test_recorded_slots_are_left_out() -> None:
    assert due_slots(BERLIN, at("10 00:00"), at("13 12:00"), recorded={day(11)}) == slots(10, 12, 13)
    assert next_due(BERLIN, at("10 00:00"), recorded={day(10), day(11)}) == slots(12)[0]


def test_a_pause_does_not_change_what_is_due() -> None:
    assert next_due(replace(BERLIN, paused_until=date.max), at("10 00:00")) == slots(10)[0]


def test_without_days_nothing_is_due() -> None:
    nobody = replace(BERLIN, days=())
    assert next_due(nobody, at("10 00:00")) is None
    assert due_slots(nobody, at("10 00:00"), at("30 00:00")) == []
    assert next_digest(nobody, at("10 00:00")) is None
    assert settle(nobody, at("10 07:00"), at("11 00:00"), max_lateness=LIMIT).next_due_at is None


def test_any_instant_of_the_calendar_is_answered() -> None:
    for year in (1, 2, 1883, 2500, 9998, 9999):
        after = datetime(year, 12, 31, 23, 59, tzinfo=UTC)
        due = next_due(Schedule("America/New_York"), after)
        assert due is None if year >= 9998 else due is not None
        assert due is None or due.at > after


def test_instants_in_other_zones_are_the_same_instants() -> None:
    tokyo = at("10 07:00").astimezone(ZoneInfo("Asia/Tokyo"))
    assert next_due(BERLIN, tokyo - timedelta(seconds=1)) == slots(10)[0]
    assert next_due(BERLIN, tokyo) == slots(11)[0]


def test_a_send_time_with_fold_is_the_same_time() -> None:
    folded = replace(BERLIN, send_at=time(2, 30, fold=1))
    assert due_instant(folded, date(2026, 10, 25)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_zone_unknown_here_follows_utc() -> None:
    start = at("10 00:00")
    assert next_due(Schedule("Mars/Olympus"), start) == next_due(Schedule("UTC"), start)


# ---- what becomes of them ---------------------------------------------------------------------------------------


def verdicts(dues: list[Due], now: datetime, schedule: Schedule = BERLIN) -> list[tuple[int, Verdict]]:
    return [(due.slot.day, verdict) for due, verdict in decide(schedule, dues, now, LIMIT)]


def test_only_the_latest_slot_within_the_limit_is_composed() -> None:
    assert verdicts(slots(10), at("10 07:00")) == [(10, COMPOSE)]
    assert verdicts(slots(10, 11), at("11 07:30")) == [(10, LATE), (11, COMPOSE)]
    assert verdicts(slots(10), at("10 19:00")) == [(10, COMPOSE)]
    assert verdicts(slots(10), at("10 19:00:01")) == [(10, LATE)]
    assert verdicts(slots(10, 11), at("11 19:00:01")) == [(10, LATE), (11, LATE)]
    assert verdicts([], at("11 19:00:01")) == []


def test_earlier_slots_are_late_also_within_the_limit() -> None:
    dues = [Due(day(10), at("10 23:00")), Due(day(11), at("11 00:00"))]
    assert verdicts(dues, at("11 01:00")) == [(10, LATE), (11, COMPOSE)]


def test_slots_before_the_end_of_a_pause_are_paused_however_late() -> None:
    paused = replace(BERLIN, paused_until=day(11))
    assert verdicts(slots(9, 10), at("11 06:00"), paused) == [(9, PAUSED), (10, PAUSED)]
    assert verdicts(slots(9, 10, 11), at("11 08:00"), paused) == [(9, PAUSED), (10, PAUSED), (11, COMPOSE)]
    assert verdicts(slots(11), at("11 08:00"), replace(BERLIN, paused_until=date.max)) == [(11, PAUSED)]


def test_a_tick_settles_all_that_is_due_and_tells_the_next() -> None:
    settlement = settle(BERLIN, at("10 07:00"), at("12 08:00"), max_lateness=LIMIT)
    assert settlement.decisions == tuple(zip(slots(10, 11, 12), (LATE, LATE, COMPOSE), strict=True))
    assert settlement.next_due_at == at("13 07:00")


def test_a_clock_set_back_decides_nothing_and_a_second_scheduler_nothing_again() -> None:
    back = settle(BERLIN, at("11 07:00"), at("10 20:00"), max_lateness=LIMIT)
    assert (back.decisions, back.next_due_at) == ((), at("11 07:00"))
    again = settle(BERLIN, at("10 07:00"), at("10 08:00"), max_lateness=LIMIT, recorded={day(10)})
    assert (again.decisions, again.next_due_at) == ((), at("11 07:00"))


def test_of_a_very_long_absence_ten_years_are_recorded() -> None:
    confirmed_by_a_wrong_clock, now = datetime(1971, 1, 2, 7, tzinfo=UTC), at("12 08:00")
    found = settle(BERLIN, confirmed_by_a_wrong_clock, now, max_lateness=LIMIT)
    assert 3653 <= len(found.decisions) <= 3657
    assert found.decisions[-2:] == ((slots(11)[0], LATE), (slots(12)[0], COMPOSE))
    assert found.next_due_at == at("13 07:00")
    oldest = found.decisions[0][0].slot
    assert settles_since([at("10 07:00"), confirmed_by_a_wrong_clock], now) < oldest < day(12) - 3652 * DAY
    changed = reschedule(BERLIN, replace(BERLIN, days=("mon",)), confirmed_by_a_wrong_clock, now)
    assert 3000 < len(changed.decisions) < 3300


def test_a_skipped_slot_ahead_is_passed_over() -> None:
    settlement = settle(
        BERLIN, at("10 07:00"), at("10 08:00"), max_lateness=LIMIT, recorded={day(11), day(12)}
    )
    assert settlement.decisions == ((slots(10)[0], COMPOSE),)
    assert settlement.next_due_at == at("13 07:00")


def test_the_next_digest_is_after_the_pause_and_not_skipped() -> None:
    assert next_digest(BERLIN, at("10 07:00")) == slots(10)[0]
    assert next_digest(BERLIN, at("10 07:00"), recorded={day(10)}) == slots(11)[0]
    assert next_digest(replace(BERLIN, paused_until=day(20)), at("10 07:00")) == slots(20)[0]
    assert next_digest(replace(BERLIN, paused_until=date.max), at("10 07:00")) is None
    assert next_digest(BERLIN, None) is None


# ---- changes of schedule ----------------------------------------------------------------------------------------


def moved(
    new: Schedule, now: str, *, old: Schedule = BERLIN, due: str | None, recorded: set[date] | None = None
) -> tuple[datetime | None, list[tuple[int, Verdict]]]:
    next_due_at = None if due is None else at(due)
    result = reschedule(old, new, next_due_at, at(now), recorded=recorded or set())
    return result.next_due_at, [(due.slot.day, verdict) for due, verdict in result.decisions]


def test_a_time_moved_into_the_past_is_due_at_once() -> None:
    earlier = replace(BERLIN, send_at=time(7))
    assert moved(earlier, "10 06:30", due="10 07:00") == (at("10 06:00"), [])


def test_a_time_moved_after_todays_digest_waits_for_tomorrow() -> None:
    later = replace(BERLIN, send_at=time(18))
    assert moved(later, "10 07:30", due="11 07:00", recorded={day(10)}) == (at("11 17:00"), [])


def test_a_slot_that_waits_for_a_tick_keeps_its_date() -> None:
    later = replace(BERLIN, send_at=time(18))
    assert moved(later, "10 07:30", due="10 07:00") == (at("10 17:00"), [])
    earlier = replace(BERLIN, send_at=time(6))
    assert moved(earlier, "10 07:30", due="10 07:00") == (at("10 05:00"), [])


def test_a_new_day_whose_time_has_passed_begins_next_week() -> None:
    mondays = replace(BERLIN, days=("mon",))
    fridays = replace(BERLIN, days=("fri",))  # 9 January is a Friday
    assert moved(fridays, "09 07:30", old=mondays, due="12 07:00") == (at("16 07:00"), [])
    assert moved(fridays, "09 06:30", old=mondays, due="12 07:00") == (at("09 07:00"), [])


def test_slots_waiting_on_a_day_taken_out_are_recorded_late_or_paused() -> None:
    mondays = replace(BERLIN, days=("mon",))  # 5 and 12 January
    assert moved(mondays, "07 09:00", due="05 07:00") == (at("05 07:00"), [(6, LATE), (7, LATE)])
    assert moved(mondays, "07 09:00", due="06 07:00") == (at("12 07:00"), [(6, LATE), (7, LATE)])
    paused = replace(mondays, paused_until=day(7))
    assert moved(paused, "07 09:00", due="06 07:00") == (at("12 07:00"), [(6, PAUSED), (7, LATE)])
    assert moved(mondays, "07 09:00", due="06 07:00", recorded={day(6)}) == (at("12 07:00"), [(7, LATE)])


def test_who_moves_east_gets_the_digest_that_was_next_on_the_date_it_has_there() -> None:
    angeles = Schedule("America/Los_Angeles", time(8))  # 16:00 UTC
    kiritimati = Schedule("Pacific/Kiritimati", time(8))  # 18:00 UTC of the date before
    assert moved(kiritimati, "09 14:00", old=angeles, due="09 16:00") == (at("09 18:00"), [])


def test_who_moves_west_gets_no_second_digest_on_the_same_date() -> None:
    kiritimati, angeles = Schedule("Pacific/Kiritimati", time(8)), Schedule("America/Los_Angeles", time(8))
    recorded = {day(9), day(10)}
    assert moved(angeles, "09 18:05", old=kiritimati, due="10 18:00", recorded=recorded) == (
        at("11 16:00"),
        [],
    )


def test_nothing_pending_means_the_new_schedule_counts_from_now() -> None:
    assert moved(BERLIN, "10 06:00", old=replace(BERLIN, days=()), due=None) == (at("10 07:00"), [])
    assert moved(BERLIN, "10 06:00", due=None, recorded={day(10)}) == (at("11 07:00"), [])
    assert moved(replace(BERLIN, days=()), "10 06:00", due="10 07:00") == (None, [])


@given(
    st.sampled_from(ZONES),
    st.integers(0, 24 * 60 - 1),
    st.dates(date(2009, 1, 1), date(2027, 12, 31)),
    st.integers(-180, 180),
)
def test_new_zone_rules_lose_and_repeat_no_slot(zone: str, minute: int, slot: date, moved_by: int) -> None:
    """A stored instant that the zone's old rules made keeps its slot under rules hours off."""
    schedule = Schedule(zone, time(minute // 60, minute % 60))
    due = due_instant(schedule, slot)
    if due is None:
        return
    stored = due + timedelta(minutes=moved_by)
    settlement = settle(schedule, stored, max(due, stored), max_lateness=LIMIT)
    assert [due.slot for due, _ in settlement.decisions] == [slot]
    assert reschedule(schedule, schedule, stored, due - HOUR).next_due_at == due
    assert settle(schedule, stored, due - HOUR, max_lateness=LIMIT).next_due_at == due


# ---- at the door ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", *ZONES, "Etc/GMT+5", "CET"])
def test_known_zones_are_let_in(zone: str) -> None:
    assert check_schedule(zone, "08:00", ["mon"]) == []


@pytest.mark.parametrize("send_at", ["00:00", "8:05", "23:59"])
def test_times_of_day_are_let_in(send_at: str) -> None:
    assert check_schedule("UTC", send_at, WEEKDAYS) == []


@pytest.mark.parametrize(
    "send_at", ["24:00", "", "8", "08:60", "08:00:00", "8am", "٠٨:٠٠", " 08:00", "08:00\n"]
)
def test_other_times_are_named(send_at: str) -> None:
    assert check_schedule("UTC", send_at, WEEKDAYS) == [
        f'send_at: "{send_at}" is no time of day from 00:00 to 23:59'
    ]


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("europe/berlin", '; is "Europe/Berlin" meant?'),
        ("Berlin", '; is "Europe/Berlin" meant?'),
        ("New York", '; is "America/New_York" meant?'),
        ("Europe/Berln", '; is "Europe/Berlin" meant?'),
        ("", ', such as "Europe/Berlin"'),
        ("../../etc/passwd", ', such as "Europe/Berlin"'),
        ("localtime", ""),
        ("Factory", ""),
    ],
)
def test_unknown_zones_are_named_with_a_hint(zone: str, hint: str) -> None:
    [problem] = check_schedule(zone, "08:00", WEEKDAYS)
    assert problem.startswith(f'timezone: "{zone}" is no time zone{hint}')


def test_days_must_be_weekdays_and_some() -> None:
    names = "name some of mon, tue, wed, thu, fri, sat, sun"
    assert check_schedule("UTC", "08:00", []) == [f"days: is empty; {names}"]
    assert check_schedule("UTC", "08:00", ["mon", "noday", "Tue"]) == [
        f'days: "noday", "Tue" is no weekday; {names}'
    ]


def test_all_problems_are_told_at_once() -> None:
    assert len(check_schedule("Nowhere", "24:00", [])) == 3
