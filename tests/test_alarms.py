"""The operator is told once per kind, by mail and in `status`."""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from digestbot import alarms as told
from digestbot.alarms import FAILING_RUNS, LITTLE_SPACE_BYTES, note_failure, note_success, watch_space
from digestbot.desk import open_desk
from digestbot.service import Delivery
from digestbot.settings import load_settings
from digestbot.timestamps import timestamp
from tests.backends import open_storage
from tests.household import Household, household

pytestmark = pytest.mark.usefixtures("backend")

__all__ = ["household"]

BEFORE, DAY_1 = "2026-01-05T05:00:00Z", "2026-01-05T08:30:00Z"


def alarms(household: Household) -> list[str]:
    return [alarm["kind"] for alarm in household.do("status", "--json").json["alarms"]]


def test_a_relay_that_refuses_is_told_once_and_the_queue_is_kept(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(json.dumps({"title": "Reasoning", "abstract": "On reasoning."}), "d.jsonl")
    household.server.script = lambda stage, argument: (
        "554 5.7.1 not you" if stage in ("ehlo", "connect") else None
    )
    for minute in (30, 40, 50):
        answer = household.run("run", "--once", "--json", now=f"2026-01-05T08:{minute}:00Z")
        assert answer.code == 1
    assert alarms(household) == ["delivery stopped"]
    household.server.script = lambda stage, argument: None
    household.do("run", "--once", now="2026-01-05T09:30:00Z")
    assert household.server.recipients == ["ada@example.org", "op@example.org"]
    assert alarms(household) == []


def test_a_suspicious_drop_is_held_and_told(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    for number in range(5):
        abstract = f"We study number {number}, and more of it than ever."
        text = f"new\nDaily Papers\nbyAK\nJan {number + 1}\n\nPaper number {number} of many\n\n{abstract}\n"
        household.drop(text, f"day-{number}.txt")
        household.run("run", "--once", now=f"2026-01-0{number + 1}T08:30:00Z")
    many = "".join(
        f"\nA paper called thing {n}\n\nWe study thing {n} at length, with all that belongs to it.\n"
        for n in range(30)
    )
    household.drop("new\nDaily Papers\nbyAK\nJan 7\n" + many, "many.txt")
    household.run("run", "--once", now="2026-01-07T08:30:00Z")
    held = [d for d in household.do("drops", "list", "--json").json_lines if d["state"] == "held"]
    assert [d["name"] for d in held] == ["many.txt"]
    assert alarms(household) == ["drop held: many.txt"]
    assert household.server.recipients == ["op@example.org"]  # told in the same pass
    household.do("drops", "release", "many.txt", now="2026-01-07T08:50:00Z")
    assert household.do("papers", "--json").out.count("called thing") == 30
    assert alarms(household) == []


def test_drops_held_by_ingest_are_told_each_in_a_mail_of_its_own(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    for number in (1, 2):
        abstract = f"We study number {number}, and more of it than ever."
        household.drop(
            f"Subscribe{abstract}\nNumber {number}\n", f"a-page-with-a-very-long-name-{number}.txt"
        )
    household.do("ingest", now=DAY_1)
    household.do("run", "--once", now=DAY_1)
    mails = household.mails_to("op@example.org")
    assert len({line for mail in mails for line in mail.splitlines() if line.startswith(b"Message-ID")}) == 2
    assert len(alarms(household)) == 2


def test_a_folder_among_the_drops_is_told_once_and_left_alone(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    inner = household.drop("{}", "x").parent / "older drops"
    inner.mkdir()
    (inner / "page.txt").write_text("x")
    for minute in (30, 40):
        household.run("run", "--once", now=f"2026-01-05T08:{minute}:00Z")
    assert household.server.recipients == ["op@example.org"]
    assert alarms(household) == ["folder among the drops: older drops"]
    assert "older drops: a folder" in household.do("ingest", now=DAY_1).err
    assert (inner / "page.txt").read_text() == "x"
    inner.rename(household.folder / "elsewhere")
    household.do("run", "--once", now="2026-01-05T08:50:00Z")
    assert alarms(household) == []


def test_a_held_drop_that_somebody_took_away_is_over(household: Household) -> None:
    household.drop("SubscribeWe study number one, and more of it than ever.\nNumber 1\n", "page.txt")
    household.do("run", "--once", now=DAY_1)
    household.do("run", "--once", now=DAY_1)
    assert alarms(household) == ["drop held: page.txt"]
    (household.folder / "state" / "drops" / "held" / "page.txt").unlink()
    household.do("run", "--once", now="2026-01-05T08:40:00Z")
    assert alarms(household) == []


def mails_to_operator(household: Household) -> int:
    return household.server.recipients.count("op@example.org")


def paper(title: str) -> str:
    return json.dumps({"title": title, "abstract": "We say that reasoning is what it is."})


def test_silent_sources_are_told_once_and_again_after_they_spoke(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    household.drop(paper("On reasoning"), "d.jsonl")
    told = []
    for day in range(5, 15):
        if day == 12:
            household.drop(paper("On more reasoning"), "e.jsonl")
        household.do("run", "--once", now=f"2026-01-{day:02}T08:30:00Z")
        told.append((alarms(household), mails_to_operator(household)))
    silent = ["silence"]
    assert told == [([], 0)] * 5 + [(silent, 0), (silent, 1)] + [([], 1)] * 3  # 96 h, not a second more
    household.set("EXPECT_DROP_HOURS", "0")
    household.do("run", "--once", now="2026-02-28T08:30:00Z")
    assert alarms(household) == []


def test_runs_that_fail_three_times_are_told_once_and_even_so(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    household.do("run", "--once", now=BEFORE)
    drops = household.folder / "state" / "drops"
    drops.rename(drops.with_name("away"))
    drops.write_text("in the way")
    told = []
    for minute in range(5):
        answer = household.run("run", "--once", now=f"2026-01-05T08:{30 + minute}:00Z")
        assert answer.code != 0
        assert "drops" in answer.err
        told.append((alarms(household), mails_to_operator(household)))
    failing = ["failing runs: run"]
    assert told == [([], 0), ([], 0), (failing, 0), (failing, 1), (failing, 1)]
    drops.unlink()
    drops.with_name("away").rename(drops)
    household.do("run", "--once", now="2026-01-05T08:40:00Z")
    assert alarms(household) == []
    drops.rename(drops.with_name("away"))
    drops.write_text("in the way")
    for minute in range(2):
        household.run("run", "--once", now=f"2026-01-05T08:{50 + minute}:00Z")
    assert alarms(household) == []  # two in a row


@pytest.mark.parametrize(("failing", "working"), [("run", "deliver"), ("compose", "run"), ("run", "run")])
def test_failures_end_with_the_same_work_of_another_command(
    household: Household, failing: str, working: str
) -> None:
    """Of `run --once` when the scheduler delivers, and of the scheduler when a pass of `run --once` is good."""
    with open_desk(load_settings()) as desk:
        for _ in range(FAILING_RUNS):
            note_failure(desk, failing, ValueError("no good"), datetime(2026, 1, 5, tzinfo=UTC))
        assert alarms(household) == [f"failing runs: {failing}"]
        note_success(desk, "housekeeping")
        assert alarms(household) == [f"failing runs: {failing}"]
        note_success(desk, working)
    assert alarms(household) == []


def test_the_breaker_is_told_once_and_its_mail_goes_when_it_closes(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    for number in range(12):
        household.subscribe(f"reader@domain{number % 4}-{number}.example", "reasoning", now=BEFORE)
    household.drop(paper("On reasoning"), "d.jsonl")
    household.server.script = lambda stage, argument: "554 5.7.1 no spam" if stage == "rcpt" else None
    for minute in range(2):
        answer = household.run("run", "--once", "--json", now=f"2026-01-05T08:{30 + minute}:00Z")
        assert answer.code == 1
        assert alarms(household) == ["delivery stopped"]
    household.server.script = lambda stage, argument: None
    household.do("run", "--once", now="2026-01-05T09:30:00Z")
    household.do("run", "--once", now="2026-01-05T09:40:00Z")
    assert alarms(household) == []
    assert mails_to_operator(household) == 1


def test_a_relay_that_refused_is_left_alone_for_a_while(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(paper("On reasoning"), "d.jsonl")
    household.server.script = lambda stage, argument: "554 5.7.1 not you" if stage == "ehlo" else None
    household.run("run", "--once", now=DAY_1)
    with open_desk(load_settings()) as desk:
        desk.storage.db.execute("UPDATE outbox SET due_at = due_at + 10000000000")  # never late
        delivery, before = Delivery(desk, threading.Event()), household.server.connections
        delivery.run()
        tried = household.server.connections
        assert tried > before
        delivery.run()
        assert household.server.connections == tried
        household.server.script = lambda stage, argument: None
        Delivery(desk, threading.Event()).run()  # a new one knows of nothing
    assert household.server.recipients == ["ada@example.org"]


def test_little_room_is_told_once_until_there_is_more(household: Household) -> None:
    household.set("OPERATOR", "op@example.org")
    with open_desk(load_settings()) as desk:
        seen = []
        for free in (LITTLE_SPACE_BYTES, LITTLE_SPACE_BYTES - 1, 7_000_000, LITTLE_SPACE_BYTES):
            watch_space(desk, free, datetime(2026, 1, 5, tzinfo=UTC))
            seen.append(alarms(household))
    assert seen == [[], ["disk"], ["disk"], []]
    household.do("run", "--once", now=DAY_1)
    assert mails_to_operator(household) == 1


def test_the_docs_explain_every_alarm_and_no_other() -> None:
    text = (Path(__file__).parents[1] / "docs" / "operation.md").read_text(encoding="utf-8")
    table = text.partition("| alarm |")[2].partition("\n\n")[0]
    explained = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert sorted(name.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for name in explained) == sorted(told.KINDS)


def test_no_alarm_is_raised_but_of_these_kinds() -> None:
    """By the first word of what names the kind wherever one is raised."""
    names = {name for name, value in vars(told).items() if isinstance(value, str) and value in told.KINDS}
    assert len(names) == len(told.KINDS)
    package = Path(told.__file__).parent
    calls = [
        found
        for file in package.rglob("*.py")
        for found in re.findall(r"(?<!def )tell_operator\(\s*desk,\s*(\S+)", file.read_text(encoding="utf-8"))
    ]
    assert {call.strip(",") for call in calls} == names


def test_status_tells_of_the_last_runs(household: Household) -> None:
    assert "last runs" not in household.do("status").out
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(paper("On reasoning"), "d.jsonl")
    household.do("run", "--once", now=DAY_1)
    [line] = [line for line in household.do("status").out.splitlines() if line.startswith("last runs")]
    report = "drops: 1 read; papers: 1 new; digests: 1 composed; delivery: 1 sent"
    assert line.split(maxsplit=2)[2] == f"2026-01-05 08:30 UTC: {report}"


def test_parts_of_one_minute_are_one_run(tmp_path: Path) -> None:
    at, minute = datetime(2026, 1, 5, 8, tzinfo=UTC), timedelta(minutes=1)
    with closing(open_storage(tmp_path)) as storage:
        for second in (0, 20, 59, 60, 70):
            begun = at + timedelta(seconds=second)
            report = {"now": timestamp(begun), "delivery": {"sent": 400, "deferred": second // 59}}
            storage.operation.record_run(started_at=begun, finished_at=begun, report=report, fold=minute)
        runs = storage.operation.last_runs(5)
    assert [(end - begin).seconds for begin, end, _ in runs] == [10, 59]
    assert [run["delivery"] for _, _, run in runs] == [
        {"sent": 800, "deferred": 2},
        {"sent": 1200, "deferred": 1},
    ]
