"""The operator is told once per kind, by mail and in `status`."""

from __future__ import annotations

import json

import pytest

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
