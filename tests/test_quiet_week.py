"""The note of a quiet week: once per quiet stretch, never beside a digest, and not for those who want none."""

from __future__ import annotations

import email
import email.policy
import json
import sqlite3
from datetime import date, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from digestbot.model import SlotOutcome
from digestbot.schedule import ends_quiet_week
from tests.household import Household, household

__all__ = ["household"]

ADA = "ada@example.org"
MONDAY = date(2026, 1, 5)
DAY = timedelta(days=1)
ENDS = {"e": SlotOutcome.EMPTY, "c": SlotOutcome.COMPOSED, "p": SlotOutcome.PAUSED, "l": SlotOutcome.LATE}


@pytest.mark.parametrize(
    ("days", "is_end"),
    [  # how each day from MONDAY on ended, "." for no slot; the last one is asked about
        ("eeeeee", False),
        ("eeeeeee", True),
        ("eeeeeeee", False),
        ("eeeeeeeeeeeeeeeeeeeee", False),
        ("ceeeeeee", True),
        ("eeeceeee", False),
        ("eeepeeee", False),
        ("eeeleeee", False),
        ("eeeeee.e", True),  # the seventh day had no slot
        ("eeeee..eee", False),  # Monday to Friday: the note came on the second Monday
        ("eeeee..e", True),
        ("e......e", True),  # once a week
        ("e......e......e", False),
        ("e", False),
    ],
)
def test_the_note_is_due_on_the_seventh_day_of_a_quiet_stretch(days: str, is_end: bool) -> None:
    ended = {MONDAY + i * DAY: ENDS[end] for i, end in enumerate(days) if end != "."}
    last = max(ended)
    del ended[last]
    assert ends_quiet_week(last, ended) is is_end


def start(household: Household, **fields: str) -> None:
    household.subscribe(ADA, "reasoning", now="2026-01-05T05:00:00Z", **fields)


def run(household: Household, day: int) -> int:
    """A pass at half past eight, `day` days after MONDAY; how many mails it sent."""
    now = f"{MONDAY + day * DAY}T08:30:00Z"
    return int(household.do("run", "--once", "--json", now=now).json["delivery"]["sent"])


def drop(household: Household, number: int) -> None:
    abstract = "On reasoning, and more of it."
    household.drop(json.dumps({"title": f"Reasoning {number}", "abstract": abstract}), f"{number}.jsonl")


def subjects(household: Household) -> list[str]:
    return [str(parsed(raw)["Subject"]) for raw in household.mails_to(ADA)]


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


QUIET = "A quiet week: no new paper for you"


def test_one_note_per_quiet_stretch_and_none_beside_a_digest(household: Household) -> None:
    start(household)
    sent = [run(household, day) for day in range(15)]
    assert sent == [0] * 6 + [1] + [0] * 8
    assert subjects(household) == [QUIET]
    drop(household, 1)
    assert [run(household, day) for day in range(15, 23)] == [1, 0, 0, 0, 0, 0, 0, 1]
    assert [run(household, 22)] == [0]
    assert [subject == QUIET for subject in subjects(household)] == [True, False, True]
    with sqlite3.connect("state/digestbot.db") as db:
        kinds = db.execute("SELECT kind, state, slot IS NULL FROM outbox ORDER BY id").fetchall()
    assert kinds == [("quiet", "sent", 1), ("digest", "sent", 0), ("quiet", "sent", 1)]


def test_the_note_can_be_left_like_a_digest(household: Household) -> None:
    start(household)
    for day in range(7):
        run(household, day)
    [raw] = household.mails_to(ADA)
    mail = parsed(raw)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert str(mail["List-Unsubscribe"]).startswith("<https://papers.example.org/unsubscribe/")
    assert mail["List-Id"]
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text = mail.get_body(("plain",))
    assert text is not None
    assert "no new paper on reasoning was worth a mail" in " ".join(text.get_content().split())
    assert "/preferences/" in text.get_content()
    assert "#quiet" in text.get_content()


def test_who_wants_no_note_gets_none_and_an_export_carries_it(household: Household) -> None:
    start(household)
    household.do("subscribers", "set", ADA, "--quiet-week", "off", now="2026-01-05T06:00:00Z")
    assert [run(household, day) for day in range(9)] == [0] * 9
    exported = household.do("subscribers", "export").json
    assert exported["quiet_week"] is False
    Path("people.jsonl").write_text(json.dumps(exported))
    household.set("STATE", "other")
    household.do("subscribers", "import", "people.jsonl")
    assert household.do("subscribers", "export").json == exported
    household.do("subscribers", "set", ADA, "--quiet-week", "on")
    assert "quiet_week" not in household.do("subscribers", "export").json  # the form as it always was
    assert household.run("subscribers", "set", ADA, "--quiet-week", "perhaps").code == 2


def test_the_paused_get_no_note(household: Household) -> None:
    start(household)
    for day in range(5):
        run(household, day)
    household.do("subscribers", "pause", ADA, now="2026-01-09T12:00:00Z")
    assert [run(household, day) for day in range(5, 20)] == [0] * 15


def test_a_pass_at_a_later_hour_makes_no_second_note(household: Household) -> None:
    start(household, days="mon")
    assert [run(household, day) for day in range(22)] == [0] * 7 + [1] + [0] * 14


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("then", ["digest", "pause", "off"])
def test_a_note_that_waits_is_dropped_where_it_is_true_no_more(household: Household, then: str) -> None:
    start(household)
    for day in range(6):
        run(household, day)
    household.server.script = lambda stage, argument: "451 4.7.1 later" if stage == "rcpt" else None
    assert run(household, 6) == 0
    household.server.script = lambda stage, argument: None
    now = "2026-01-11T12:00:00Z"
    if then == "digest":
        drop(household, 1)
        household.do("subscribers", "set", ADA, "--send-at", "08:10", now=now)
    elif then == "pause":
        household.do("subscribers", "pause", ADA, now=now)
    else:
        household.do("subscribers", "set", ADA, "--quiet-week", "off", now=now)
    household.do("run", "--once", now="2026-01-12T08:20:00Z")
    assert QUIET not in subjects(household)
    assert len(subjects(household)) == (then == "digest")
    waiting = household.do("outbox", "list").out
    assert "nothing waits" in waiting


def test_who_comes_back_has_no_quiet_past(household: Household) -> None:
    start(household)
    for day in range(6):
        run(household, day)
    Path("people.jsonl").write_text(json.dumps({"email": ADA, "status": "unconfirmed"}))
    household.do("subscribers", "import", "people.jsonl", now="2026-01-10T09:00:00Z")
    Path("people.jsonl").write_text(json.dumps({"email": ADA, "status": "confirmed"}))
    household.do("subscribers", "import", "people.jsonl", now="2026-01-10T10:00:00Z")
    assert [run(household, day) for day in range(6, 13)] == [0] * 6 + [1]
