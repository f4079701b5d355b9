"""A subscriber's row that somebody changed by hand to what cannot be read: theirs alone is the harm."""

from __future__ import annotations

import sqlite3
from datetime import datetime

import pytest

from digestbot.errors import in_short
from digestbot.storage.sqlite import SqliteDatabase
from digestbot.storage.subscribers import SubscriberStore
from tests.household import Household, household

__all__ = ["household"]

BEFORE, DUE = "2026-11-23T00:00:00Z", "2026-11-23T09:00:00Z"
HEAVY = '[{"name": "n", "terms": ["n"], "exclude": [], "authors": [], "categories": [], "weight": "much"}]'
PAPER = (
    '{"title": "Neural graphs of the sea", "url": "https://example.org/1", "abstract": "Neural graphs."}\n'
)


def change(household: Household, email: str, column: str, value: object) -> None:
    with sqlite3.connect(household.folder / "state" / "digestbot.db") as db:
        db.execute(f"UPDATE subscribers SET {column} = ? WHERE email = ?", (value, email))


@pytest.fixture
def town(household: Household) -> Household:
    """Ada, who is due first, and Bo."""
    household.subscribe("ada@example.org", "neural graphs", now=BEFORE, send_at="07:30")
    household.subscribe("bo@example.org", "neural graphs", now=BEFORE)
    household.drop(PAPER, "today.jsonl")
    return household


def alarms(household: Household) -> list[str]:
    return [alarm["kind"] for alarm in household.do("status", "--json", now=DUE).json["alarms"]]


def test_it_keeps_nobody_else_from_a_digest(town: Household) -> None:
    change(town, "ada@example.org", "send_at", "7:30")
    rehearsed = town.run("run", "--dry-run", now=DUE)
    assert rehearsed.code == 0
    assert "no digest: the row with id 1 " in rehearsed.err
    done = town.run("run", "--once", now=DUE)
    assert done.code == 1
    assert (
        "no digest: the row with id 1 of the table `subscribers` is damaged: send_at holds '7:30'" in done.err
    )
    assert len(town.mails_to("bo@example.org")) == 1
    assert not town.mails_to("ada@example.org")
    assert alarms(town) == ["subscriber damaged: 1"]
    assert town.run("run", "--once", now=DUE).code == 1  # where nobody else is due
    assert alarms(town) == ["subscriber damaged: 1"]

    change(town, "ada@example.org", "send_at", "07:30")
    town.do("run", "--once", now=DUE)
    assert len(town.mails_to("ada@example.org")) == 1
    assert len(town.mails_to("bo@example.org")) == 1
    assert alarms(town) == []


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("status", "confirmd", None),
        ("send_at", "noon", "send_at holds 'noon'"),
        ("days", "mo,tu", "days holds 'mo,tu'"),
        ("paused_until", "tomorrow", "paused_until holds 'tomorrow'"),
        ("max_papers", "ten", "max_papers holds 'ten'"),
        ("min_score", "", "min_score holds ''"),
        ("trending_share", "half", "trending_share holds 'half'"),
        ("topics", "neural", "topics holds 'neural'"),
        ("topics", '["neural"]', "topics holds '[\"neural\"]'"),
        ("topics", '[{"name": "neural"}]', 'topics holds \'[{"name": "neural"}]\''),
        ("topics", "5", "topics holds '5'"),
        ("topics", HEAVY, f"topics holds {in_short(HEAVY)}"),
        ("confirmed_at", "yesterday", "confirmed_at holds 'yesterday'"),
        ("confirmed_at", 10**17, "confirmed_at holds 100000000000000000"),
    ],
)
def test_every_command_names_the_row_and_the_column(
    town: Household, column: str, value: object, shown: str | None
) -> None:
    change(town, "ada@example.org", column, value)
    said = f"the row with id 1 of the table `subscribers` is damaged: {shown or f'{column} holds {value!r}'}"
    for words in (
        ("subscribers", "show", "ada@example.org"),
        ("subscribers", "list"),
        ("subscribers", "set", "ada@example.org", "--send-at", "09:00"),
        ("preview", "ada@example.org"),
    ):
        answer = town.run(*words, now=DUE)
        assert answer.code == 1
        assert said in answer.err
    assert town.run("run", "--once", now=DUE).code == (0 if column == "status" else 1)
    assert len(town.mails_to("bo@example.org")) == 1


def test_those_who_are_due_longest_hide_nobody(town: Household) -> None:
    for name in ("cy", "di"):
        town.subscribe(f"{name}@example.org", now=BEFORE, send_at="06:00")
        change(town, f"{name}@example.org", "send_at", "six")
    db = SqliteDatabase(town.folder / "state" / "digestbot.db")
    store, now = SubscriberStore(db), datetime.fromisoformat(DUE)
    found = [[s.email for s in store.due(now, limit)] for limit in (2, 1)]
    assert found == [["ada@example.org", "bo@example.org"], ["ada@example.org"]]
    assert list(store.unreadable(now)) == [3, 4]
    db.close()
