"""`forecast` against arithmetic, against invariants, and against what really happens."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from digestbot.forecast import HOURS, Forecast, Limits, Mailing, simulate
from digestbot.model import SubscriberId
from digestbot.storage.queueing import QueueStore
from tests.backends import open_storage
from tests.deliveries import NOW, SLOT, queue_digests
from tests.household import Household, household

__all__ = ["household"]

START = int(datetime(2026, 1, 5, 7, 0, tzinfo=UTC).timestamp())
HOUR = 3600


def mail(number: int, hours: float, *, lateness_h: float = 12, email: str = "") -> Mailing:
    due = START + int(hours * HOUR)
    return Mailing(
        email or f"{number}@example.org", due, due, due + int(lateness_h * HOUR), SubscriberId(number)
    )


def column(found: Forecast, name: str) -> dict[int, int]:
    """Hours with a value that is not 0."""
    return {n: getattr(hour, name) for n, hour in enumerate(found.hours) if getattr(hour, name)}


def test_without_limits_all_go_when_due() -> None:
    found = simulate([mail(n, 1 + n % 2) for n in range(10)], Limits(), START)
    assert column(found, "due") == column(found, "sent") == {1: 5, 2: 5}
    assert found.late == ()
    assert {hour.room for hour in found.hours} == {None}


def test_a_rate_stretches_a_morning() -> None:
    found = simulate([mail(n, 1) for n in range(9000)], Limits(rate=1), START)
    assert column(found, "due") == {1: 9000}
    assert column(found, "sent") == {1: 3600, 2: 3600, 3: 1800}
    assert column(found, "waiting") == {1: 5400, 2: 1800}
    assert {hour.room for hour in found.hours} == {3600}
    assert found.late == ()


def test_a_rate_too_low_makes_people_late() -> None:
    found = simulate([mail(n, 0, lateness_h=1) for n in range(5000)], Limits(rate=1), START)
    assert sum(column(found, "sent").values()) == 3601  # the last one at exactly the limit
    assert len(found.late) == 5000 - 3601
    assert column(found, "late") == {0: 5000 - 3601}


def test_a_daily_limit_counts_what_went_before() -> None:
    before = [START - 23 * HOUR] * 3  # free in an hour
    found = simulate([mail(n, 0) for n in range(5)], Limits(daily=4), START, before=before)
    assert column(found, "sent") == {0: 1, 1: 3}
    assert [found.hours[n].room for n in (0, 1, 2)] == [4 - 3 + 3, 3, 0]
    assert [late.email for late in found.late] == ["4@example.org"]


def test_who_was_late_comes_first_the_next_day() -> None:
    mails = [mail(n, 1 + day * 24) for day in (0, 1) for n in (1, 2, 3)]
    found = simulate(mails, Limits(daily=2), START)
    assert [(late.email, (late.due_at - START) // HOUR) for late in found.late] == [
        ("3@example.org", 1),
        ("2@example.org", 25),
    ]


def test_who_was_late_comes_before_who_reads_weekly() -> None:
    last = {SubscriberId(1): "2026-01-04", SubscriberId(2): "2026-01-03", SubscriberId(3): "2025-12-29"}
    mails = [mail(1, 1), mail(2, 1), mail(1, 25), mail(2, 25), mail(3, 25)]
    found = simulate(mails, Limits(daily=1), START, last_sent=last)
    late = [(int(m.email[0]), (m.due_at - START) // HOUR) for m in found.late]
    assert (late[0], sorted(late[1:])) == ((1, 1), [(2, 25), (3, 25)])


MAILS = st.lists(
    st.builds(mail, st.integers(1, 20), st.floats(-10, 60), lateness_h=st.floats(0, 30)), max_size=60
)


@given(MAILS, st.sampled_from([None, 0.001, 0.01]), st.sampled_from([None, 1, 5]))
def test_every_mail_ends_once(mails: list[Mailing], rate: float | None, daily: int | None) -> None:
    found = simulate(mails, Limits(rate, daily), START)
    end = START + HOURS * HOUR
    due = [m for m in mails if m.due_at < end]
    sent = sum(hour.sent for hour in found.hours)
    assert sum(hour.due for hour in found.hours) == len(due)
    assert sent + len([m for m in found.late if m.due_at < end]) + found.hours[-1].waiting == len(due)
    for begin in range(HOURS - 23):
        window = sum(hour.sent for hour in found.hours[begin : begin + 24])
        assert daily is None or window <= daily
        assert rate is None or window <= rate * 24 * HOUR + 1


def test_what_is_foretold_happens(household: Household) -> None:
    """Three people at one hour, two mails a day: forecast first, then the days themselves."""
    people = [f"{name}@example.org" for name in ("ada", "bob", "eve")]
    for person in people:
        household.subscribe(person, "owls", now="2026-01-04T12:00:00Z")
    household.subscribe("later@example.org", "owls", now="2026-01-04T12:00:00Z", days="fri")
    household.set("SMTP_DAILY_LIMIT", "2")
    household.set("SMTP_CONNECTIONS", "1")  # several race for the last place
    before = household.state_on_disk()
    told = household.do("forecast", "--json", now="2026-01-05T07:30:00Z").json
    assert household.state_on_disk() == before
    assert household.server.connections == 0
    happened = []
    now = datetime(2026, 1, 5, 7, 30, tzinfo=UTC)
    for hours in (1, 2, 13, 25, 26, 37):
        day, text = hours // 24, f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
        household.drop(json.dumps({"title": f"Owls of night {day}", "abstract": "Owls see."}), f"{day}.jsonl")
        report = household.do("run", "--once", "--json", now=text).json["delivery"]
        happened.append((report["sent"], report["cancelled"]))
    assert happened == [(2, 0), (0, 0), (0, 1), (2, 0), (0, 0), (0, 1)]
    recipients = [message.recipient for message in household.server.messages]
    late = [next(p for p in people if p not in recipients[day * 2 : day * 2 + 2]) for day in (0, 1)]
    assert [(row["email"], row["due_at"]) for row in told["late"]] == [
        (late[0], "2026-01-05T08:00:00Z"),
        (late[1], "2026-01-06T08:00:00Z"),
    ]
    busy = {row["hour"]: (row["due"], row["sent"]) for row in told["hours"] if row["due"] or row["sent"]}
    assert busy == {"2026-01-05T07:30:00Z": (3, 2), "2026-01-06T07:30:00Z": (3, 2)}
    shown = household.do("forecast", now="2026-01-05T07:30:00Z")
    assert "DIGESTBOT_SMTP_DAILY_LIMIT" not in shown.out
    assert len(told["hours"]) == 48


def test_pauses_skips_and_what_waits(household: Household) -> None:
    for name in ("paused", "skipped", "plain"):
        household.subscribe(f"{name}@example.org", "owls", now="2026-01-04T12:00:00Z")
    household.do(
        "subscribers", "pause", "paused@example.org", "--until", "2026-01-06", now="2026-01-04T12:00:00Z"
    )
    household.do("subscribers", "skip", "skipped@example.org", now="2026-01-04T12:00:00Z")
    household.do("subscribers", "add", "asked@example.org", "--topic", "owls", now="2026-01-04T12:00:00Z")
    told = household.do("forecast", "--json", now="2026-01-04T20:00:00Z").json
    assert told["late"] == []
    assert {row["hour"]: row["due"] for row in told["hours"] if row["due"]} == {
        "2026-01-04T20:00:00Z": 1,  # the confirmation mail
        "2026-01-05T08:00:00Z": 1,
        "2026-01-06T08:00:00Z": 3,
    }
    after_downtime = household.do("forecast", "--json", now="2026-01-06T19:00:00Z").json
    assert sum(row["due"] for row in after_downtime["hours"]) == 1 + 3 + 2 * 3


def test_the_last_digest_of_each_is_the_last_that_was_sent(tmp_path: Path) -> None:
    with closing(open_storage(tmp_path)) as storage:
        [ada, bob] = queue_digests(storage, ["ada@one.example", "bob@one.example"])
        storage.db.execute("UPDATE outbox SET state = 'sent'")
        later = NOW + timedelta(days=1)
        queue_digests(storage, ["ada@one.example", "cyd@one.example"], slot=later.date(), at=later)
        asked = [s.id for s in storage.subscribers.everybody() if s != bob]
        assert QueueStore(storage.db).last_sent(asked) == {ada.id: SLOT.isoformat()}


def test_nobody_is_there_yet(household: Household) -> None:
    assert household.do("forecast").out == "nothing is due\n"
    assert list(household.folder.iterdir()) == []
