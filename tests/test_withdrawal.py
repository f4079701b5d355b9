"""Taking a bad drop back, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.household import Household, household

pytestmark = pytest.mark.usefixtures("backend")

__all__ = ["household"]

BEFORE, DAY_1, DAY_2 = "2026-01-05T05:00:00Z", "2026-01-05T08:30:00Z", "2026-01-06T08:30:00Z"


def drop(name: str, *papers: str) -> None:
    records = [
        {"title": f"{p} and reasoning", "abstract": f"We study {p} with reasoning at length."} for p in papers
    ]
    Path(name).write_text("\n".join(map(json.dumps, records)))


def previewed(household: Household, email: str, now: str) -> set[str]:
    out = household.do("preview", email, "--format", "json", now=now).out
    return {paper["title"] for paper in json.loads(out)["papers"]} if out else set()


@pytest.fixture
def two_drops(household: Household) -> Household:
    household.subscribe("got@example.org", "reasoning", now=BEFORE)
    household.subscribe("waits@example.org", "reasoning", now=BEFORE)
    drop("good.jsonl", "Alpha waves", "Beta waves")
    drop("bad.jsonl", "Gamma rays", "Beta waves")
    household.do("ingest", "good.jsonl", now=BEFORE)
    household.do("ingest", "bad.jsonl", now=BEFORE)
    return household


def test_papers_leave_unless_another_drop_has_them(two_drops: Household) -> None:
    report = two_drops.do("drops", "withdraw", "bad.jsonl", "--json", now=BEFORE).json
    assert (report["gone"], report["kept"]) == (1, 1)
    titles = {paper["title"] for paper in two_drops.do("papers", "--json").json_lines}
    assert titles == {"Alpha waves and reasoning", "Beta waves and reasoning"}
    assert previewed(two_drops, "waits@example.org", DAY_1) == titles


def test_nobody_whose_mail_was_not_begun_gets_them(two_drops: Household) -> None:
    """Both digests are claimed when the drop is taken back, while the first is on its way."""
    two_drops.set("SMTP_CONNECTIONS", "1")
    command = [sys.executable, "-m", "digestbot", "--now", DAY_1, "drops", "withdraw", "bad.jsonl"]

    def script(stage: str, argument: str) -> None:
        if stage == "text" and not two_drops.server.messages:
            subprocess.run(command, check=True, capture_output=True)

    two_drops.server.script = script
    report = two_drops.do("run", "--once", "--json", now=DAY_1).json
    assert (report["delivery"]["sent"], report["delivery"]["cancelled"]) == (1, 1)
    assert len(two_drops.server.messages) == 1


def test_waiting_digests_are_composed_anew_and_those_sent_are_named(two_drops: Household) -> None:
    two_drops.server.script = lambda stage, argument: (
        "451 4.7.1 later" if stage == "rcpt" and argument.startswith("waits") else None
    )
    two_drops.do("run", "--once", now=DAY_1)
    report = two_drops.do("drops", "withdraw", "bad.jsonl", "--json", now=DAY_1).json
    assert report["recomposed"] == 1
    assert report["recipients"] == [{"email": "got@example.org", "slot": "2026-01-05"}]
    two_drops.server.script = lambda stage, argument: None
    two_drops.do("run", "--once", now="2026-01-05T12:00:00Z")
    [mail] = two_drops.mails_to("waits@example.org")
    assert b"Gamma" not in mail
    assert b"Alpha" in mail


def test_two_waiting_digests_of_one_person_share_what_is_left(household: Household) -> None:
    household.set("MAX_LATENESS_HOURS", "48")
    household.subscribe("waits@example.org", "reasoning", now=BEFORE, max_papers="1")
    drop("bad.jsonl", "Gamma rays", "Delta rays")
    household.do("ingest", "bad.jsonl", now=BEFORE)
    household.server.script = lambda stage, argument: "554 5.3.2 closed today" if stage == "connect" else None
    for day in (DAY_1, DAY_2):
        assert household.run("run", "--once", now=day).code == 1
    drop("good.jsonl", "Alpha waves", "Beta waves")
    household.do("ingest", "good.jsonl", now=DAY_2)
    report = household.do("drops", "withdraw", "bad.jsonl", "--json", now=DAY_2).json
    assert (report["recomposed"], report["emptied"]) == (2, 0)
    household.server.script = lambda stage, argument: None
    household.do("run", "--once", now=DAY_2)
    mails = household.mails_to("waits@example.org")
    assert sorted(b"Alpha" in mail for mail in mails) == [False, True]
    assert sorted(b"Beta" in mail for mail in mails) == [False, True]


def test_a_digest_with_nothing_left_ends_empty(household: Household) -> None:
    household.subscribe("waits@example.org", "reasoning", now=BEFORE)
    drop("bad.jsonl", "Gamma rays")
    household.do("ingest", "bad.jsonl", now=BEFORE)
    household.server.script = lambda stage, argument: "451 4.7.1 later" if stage == "rcpt" else None
    household.do("run", "--once", now=DAY_1)
    assert household.do("drops", "withdraw", "bad.jsonl", "--json", now=DAY_1).json["emptied"] == 1
    household.server.script = lambda stage, argument: None
    household.do("run", "--once", now="2026-01-05T12:00:00Z")
    assert household.mails_to("waits@example.org") == []
    answer = household.do("explain", "waits@example.org", "--date", "2026-01-05", "--json", now=DAY_1).json
    assert answer["cause"] == "no new paper"


def test_an_unknown_drop_is_refused(household: Household) -> None:
    answer = household.run("drops", "withdraw", "nothing.txt", now=BEFORE)
    assert answer.code == 2
    assert "nothing.txt" in answer.err


def test_people_are_told_what_happened_and_no_noughts(two_drops: Household) -> None:
    said = two_drops.do("drops", "withdraw", "bad.jsonl", now=BEFORE).err
    assert said == "1 paper left the catalogue; other drops keep 1 more\n"
    assert two_drops.do("drops", "withdraw", "good.jsonl", now=BEFORE).err == "2 papers left the catalogue\n"


def test_a_drop_is_taken_back_once(two_drops: Household) -> None:
    assert two_drops.do("drops", "withdraw", "bad.jsonl", "--json", now=BEFORE).json["already"] is False
    again = two_drops.do("drops", "withdraw", "bad.jsonl", "--json", now=BEFORE)
    assert (again.json["already"], again.json["gone"]) == (True, 0)
    assert "taken back before" in again.err
