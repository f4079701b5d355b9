"""Two schedulers on one database at the same moment, and a relay so slow that zones have to wait for each other."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.household import Household, household
from tests.shifted_process import Process, process, wait_for

__all__ = ["household", "process"]

BEFORE, DUE = "2026-01-05T05:00:00Z", "2026-01-05T08:30:00Z"
PAPER = {"title": "On reasoning", "abstract": "We say that reasoning is what it is."}


def import_people(household: Household, people: Sequence[Mapping[str, object]]) -> None:
    Path("people.jsonl").write_text("\n".join(map(json.dumps, people)))
    household.do("subscribers", "import", "people.jsonl", now=BEFORE)
    household.drop(json.dumps(PAPER), "d.jsonl")
    household.do("ingest", now=BEFORE)


@pytest.mark.usefixtures("backend")
def test_two_at_once_compose_no_slot_twice_and_count_it_once(household: Household) -> None:
    fitting, others = 200, 2000
    people = [{"email": f"reader{n}@example.org", "topics": ["reasoning"]} for n in range(fitting)]
    people += [{"email": f"other{n}@example.org", "topics": ["knitting"]} for n in range(others)]
    import_people(household, people[::2] + people[1::2])
    command = [sys.executable, "-m", "digestbot", "--now", DUE, "run", "--once", "--json"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], ended
    counted: Counter[str] = Counter()
    for out, _ in ended:
        report = json.loads(out)
        counted.update(report["digests"])
        counted.update(report["delivery"])
    assert {name: count for name, count in counted.items() if count} == {
        "composed": fitting,
        "empty": others,
        "sent": fitting,
    }
    assert Counter(household.server.recipients) == Counter(f"reader{n}@example.org" for n in range(fitting))
    again = household.do("run", "--once", "--json", now=DUE).json
    assert set(again["digests"].values()) == set(again["delivery"].values()) == {0}


def test_a_slow_rate_sends_the_longest_due_first_and_makes_no_other_zone_late(
    household: Household, process: Process
) -> None:
    """Many at 08:00 in Berlin; while their mails leave, two a second, it becomes 08:00 in London."""
    east = [{"email": f"east{n}@example.org", "timezone": "Europe/Berlin"} for n in range(80)]
    west = [{"email": f"west{n}@example.org", "timezone": "Europe/London"} for n in range(5)]
    import_people(household, [{**person, "topics": ["reasoning"]} for person in west + east])
    household.set("SMTP_RATE", "2")
    process.set_clock("2026-01-05T07:59:40+00:00")
    process.start()

    def recorded() -> bool:
        with sqlite3.connect("state/digestbot.db") as db:
            return bool(db.execute("SELECT count(*) = 85 FROM slots").fetchone()[0])

    wait_for(lambda: len(household.server.recipients) >= 1, process)
    wait_for(recorded, process)
    assert len(household.server.recipients) < 80  # London's are composed, and Berlin's not yet all sent
    wait_for(lambda: len(household.server.recipients) == 85, process)
    process.stop()
    assert all(email.startswith("east") for email in household.server.recipients[:80])
