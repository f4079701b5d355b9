"""Days on which something went wrong, through the command line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.household import Household, household

__all__ = ["household"]

BEFORE = "2026-01-05T05:00:00Z"


def drop(household: Household, *names: str, now: str) -> None:
    lines = [
        json.dumps({"title": f"{n} and reasoning", "abstract": f"We study {n}, reasoning at length."})
        for n in names
    ]
    Path("d.jsonl").write_text("\n".join(lines))
    household.do("ingest", "d.jsonl", now=now)


def test_a_run_with_nothing_but_late_slots_records_them(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    drop(household, "Alpha", now=BEFORE)
    report = household.do("run", "--once", "--json", now="2026-01-05T20:00:01Z").json
    assert report["digests"] == {"composed": 0, "empty": 0, "late": 1}
    answer = household.do(
        "explain", "ada@example.org", "--date", "2026-01-05", "--json", now="2026-01-05T21:00:00Z"
    )
    assert answer.json["cause"] == "late"


def test_papers_of_a_mail_that_waited_too_long_come_the_next_day(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    drop(household, "Alpha", "Beta", now=BEFORE)
    household.server.script = lambda stage, argument: "421 4.3.2 closed" if stage == "connect" else None
    assert household.run("run", "--once", now="2026-01-05T08:01:00Z").code == 1
    answer = household.do(
        "explain", "ada@example.org", "--date", "2026-01-05", "--json", now="2026-01-05T09:00:00Z"
    )
    assert answer.json["cause"] == "deferred"
    household.server.script = lambda stage, argument: None
    report = household.do("run", "--once", "--json", now="2026-01-06T08:01:00Z").json
    assert report["digests"]["composed"] == 1
    assert (report["delivery"]["cancelled"], report["delivery"]["sent"]) == (1, 1)
    assert b"Alpha" in household.mails_to("ada@example.org")[0]


def test_who_was_sent_a_mail_is_answered_with_when_and_what_the_server_said(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    drop(household, "Alpha", now=BEFORE)
    household.do("run", "--once", now="2026-01-05T08:01:00Z")
    asked = "explain", "ada@example.org", "--date", "2026-01-05"
    told = household.do(*asked, now="2026-01-07T08:01:00Z").out
    assert "was sent 1 paper on 2026-01-05 (2026-01-05 08:01 UTC, the server said '250 " in told
    assert household.do(*asked, "--json", now="2026-01-07T08:01:00Z").json["cause"] is None


def test_where_an_excluded_term_bars_all_that_fits_it_is_the_cause(household: Household) -> None:
    topic = {"name": "reasoning", "terms": ["reasoning"], "exclude": ["alpha"]}
    Path("p.jsonl").write_text(json.dumps({"email": "ada@example.org", "topics": [topic]}))
    household.do("subscribers", "import", "p.jsonl", now=BEFORE)
    drop(household, "Alpha", now=BEFORE)
    Path("other.jsonl").write_text('{"title": "On bread ovens of the north"}')
    household.do("ingest", "other.jsonl", now=BEFORE)
    asked = "explain", "ada@example.org", "--date", "2026-01-05", "--json"
    due = household.do(*asked, now="2026-01-05T08:01:00Z").json
    assert (due["cause"], due["detail"]) == (
        "all excluded",
        "1 paper would fit but for what is excluded: alpha",
    )
    household.do("run", "--once", now="2026-01-05T08:01:00Z")
    assert household.do(*asked, now="2026-01-05T09:00:00Z").json["cause"] == "all excluded"


def test_the_daily_limit_is_said_and_explained(household: Household) -> None:
    household.set("SMTP_DAILY_LIMIT", "1")
    household.set("SMTP_CONNECTIONS", "1")
    for name in ("ada", "bob"):
        household.subscribe(f"{name}@example.org", "reasoning", now=BEFORE)
    drop(household, "Alpha", now=BEFORE)
    answer = household.do("run", "--once", now="2026-01-05T08:01:00Z")
    assert "put off, since the daily limit is reached: 1 digest" in answer.err
    [served] = household.server.recipients
    other = ({"ada@example.org", "bob@example.org"} - {served}).pop()
    cause = household.do("explain", other, "--date", "2026-01-05", "--json", now="2026-01-05T09:00:00Z").json[
        "cause"
    ]
    assert cause == "limit"


def test_a_suppressed_import_is_on_the_list_and_comes_off_it(household: Household) -> None:
    Path("p.jsonl").write_text('{"email": "hurt@example.org", "status": "suppressed"}')
    household.do("subscribers", "import", "p.jsonl", now=BEFORE)
    assert [s["email"] for s in household.do("suppressions", "list", "--json").json_lines] == [
        "hurt@example.org"
    ]
    household.do("suppressions", "remove", "hurt@example.org")
    assert household.run("suppressions", "remove", "hurt@example.org").code == 2


def test_the_database_is_for_its_owner_only(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    assert stat.S_IMODE(Path("state/digestbot.db").stat().st_mode) == 0o600


def test_output_into_a_folder_that_is_not_there_is_refused(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    answer = household.run("subscribers", "export", "--out", "nowhere/at/all.jsonl")
    assert answer.code == 2
    assert "nowhere/at/all.jsonl" in answer.err
