"""`digestbot run` as a real process whose wall clock is set back and forth by hours."""

from __future__ import annotations

import json

from tests.household import Household, household
from tests.shifted_process import Process, process, wait_for

__all__ = ["household", "process"]


def wait_for_mail(household: Household, process: Process, email: str) -> None:
    wait_for(lambda: email in household.server.recipients, process)


def test_a_clock_set_back_and_forth_by_hours_repeats_nothing_and_ticks_go_on(
    household: Household, process: Process
) -> None:
    household.set("OPERATOR", "op@example.org")
    confirmed = "2026-01-05T02:00:00Z"
    readers = {"eight": "08:00", "three": "03:20", "two": "13:50", "nine": "09:00"}
    for name, send_at in readers.items():
        household.subscribe(f"{name}@example.org", "reasoning", now=confirmed, send_at=send_at)
    abstract = "We say that reasoning is what it is."
    household.drop(json.dumps({"title": "On reasoning", "abstract": abstract}), "d.jsonl")
    household.do("ingest", now="2026-01-04T12:00:00Z")
    with_clock = [  # the clock on the wall, and who is due then for the first time
        ("2026-01-05T03:30:00+00:00", "three@example.org"),
        ("2026-01-05T08:30:00+00:00", "eight@example.org"),  # five hours forth
        ("2026-01-05T01:00:00+00:00", "back@example.org"),  # back, by more than that
        ("2026-01-05T14:00:00+00:00", "two@example.org"),
    ]
    process.set_clock(with_clock[0][0])
    process.start()
    for now, email in with_clock:
        if email == "back@example.org":
            household.subscribe(email, "reasoning", now="2026-01-05T00:30:00Z", send_at="00:50")
        process.set_clock(now)
        wait_for_mail(household, process, email)
    wait_for_mail(household, process, "nine@example.org")  # due in the hours that the last jump skipped
    wait_for_mail(household, process, "op@example.org")
    said = process.stop()
    assert sorted(household.server.recipients) == sorted(
        [*(f"{name}@example.org" for name in readers), "back@example.org", "op@example.org"]
    )
    assert said.count("the clock was set by") == 3
    assert [a["kind"] for a in household.do("status", "--json").json["alarms"]] == ["clock"]
