"""`subscribers ...` as an operator types it: pauses, skips, what is shown and what is refused."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from digestbot.storage import open_file
from tests.household import Household, household

__all__ = ["household"]

BEFORE = "2026-01-05T05:00:00Z"  # a Monday
ADA = "ada@example.org"


@pytest.fixture
def ada(household: Household) -> Household:
    household.subscribe(ADA, "reasoning", now=BEFORE)
    return household


def next_due(household: Household) -> str:
    return str(household.do("subscribers", "show", ADA, "--json").json["next_due_at"])


@pytest.mark.parametrize(
    ("changed", "due"),
    [
        (["--send-at", "20:00"], "2026-01-05T20:00:00Z"),
        (["--timezone", "America/New_York"], "2026-01-05T13:00:00Z"),
        (["--days", "wed,sun"], "2026-01-07T08:00:00Z"),
        (["--name", "Ada"], "2026-01-05T08:00:00Z"),
    ],
)
def test_a_changed_schedule_counts_from_the_next_digest_on(
    ada: Household, changed: list[str], due: str
) -> None:
    ada.do("subscribers", "set", ADA, *changed, now="2026-01-05T06:00:00Z")
    assert next_due(ada) == due


def test_a_second_skip_of_the_same_day_changes_nothing(ada: Household) -> None:
    for _ in range(2):
        assert "no digest on 2026-01-05" in ada.do("subscribers", "skip", ADA, now=BEFORE).err
        assert next_due(ada) == "2026-01-06T08:00:00Z"
    assert "no digest on 2026-01-06" in ada.do("subscribers", "skip", ADA, now="2026-01-05T08:00:00Z").err
    assert next_due(ada) == "2026-01-07T08:00:00Z"


@pytest.mark.usefixtures("backend")
def test_resume_takes_a_skip_back_but_not_one_whose_time_has_passed(ada: Household) -> None:
    ada.do("subscribers", "skip", ADA, now=BEFORE)
    answer = ada.do("subscribers", "resume", ADA, now="2026-01-05T07:59:59Z")
    assert "next digest due 2026-01-05 08:00 UTC" in answer.err
    ada.do("subscribers", "skip", ADA, now=BEFORE)
    ada.do("subscribers", "resume", ADA, now="2026-01-05T08:00:00Z")
    assert next_due(ada) == "2026-01-06T08:00:00Z"
    assert "skipped" in ada.do("explain", ADA, "--date", "2026-01-05", now="2026-01-05T09:00:00Z").out


@pytest.mark.usefixtures("backend")
def test_two_who_skip_the_same_day_do_not_hinder_each_other(ada: Household) -> None:
    ada.subscribe("bob@example.org", "reasoning", now=BEFORE)
    for who in ("bob@example.org", ADA):
        assert "no digest on 2026-01-05" in ada.do("subscribers", "skip", who, now=BEFORE).err
    assert next_due(ada) == "2026-01-06T08:00:00Z"
    ada.do("subscribers", "resume", "bob@example.org", now=BEFORE)
    ada.do("run", "--once", now="2026-01-05T08:00:00Z")
    assert "skipped" in ada.do("explain", ADA, "--date", "2026-01-05", now="2026-01-05T09:00:00Z").out


def test_a_skip_in_a_pause_is_of_the_first_digest_after_it(ada: Household) -> None:
    ada.do("subscribers", "pause", ADA, "--until", "2026-01-08", now=BEFORE)
    for _ in range(2):
        assert "no digest on 2026-01-08" in ada.do("subscribers", "skip", ADA, now=BEFORE).err
    ada.do("run", "--once", now="2026-01-06T12:00:00Z")
    answer = ada.do("subscribers", "resume", ADA, now="2026-01-06T12:00:00Z")
    assert "next digest due 2026-01-07" in answer.err
    ada.do("run", "--once", now="2026-01-08T09:00:00Z")
    slots = Path("state/digestbot.db")
    with sqlite3.connect(slots) as db:
        ended = dict(db.execute("SELECT slot, outcome FROM slots"))
    assert ended == {
        "2026-01-05": "paused",
        "2026-01-06": "paused",
        "2026-01-07": "late",
        "2026-01-08": "empty",
    }


@pytest.mark.parametrize("until", ["2026-01-04", "2026-01-05", "1999-12-31"])
def test_a_pause_that_would_be_over_is_refused(ada: Household, until: str) -> None:
    before = ada.do("subscribers", "show", ADA, "--json").json
    answer = ada.run("subscribers", "pause", ADA, "--until", until, now=BEFORE)
    assert answer.code == 2
    assert f"{ADA}: {until} is no date to pause until" in answer.err
    assert ada.do("subscribers", "show", ADA, "--json").json == before


def test_a_pause_counts_days_where_the_subscriber_lives(household: Household) -> None:
    household.subscribe(ADA, "reasoning", now=BEFORE, timezone="Pacific/Kiritimati")  # UTC+14
    noon = "2026-01-05T12:00:00Z"  # already the 6th there
    assert household.run("subscribers", "pause", ADA, "--until", "2026-01-06", now=noon).code == 2
    household.do("subscribers", "pause", ADA, "--until", "2026-01-07", now=noon)


@pytest.mark.parametrize("status", ["unconfirmed", "unsubscribed", "suppressed"])
@pytest.mark.parametrize("command", ["pause", "resume", "skip"])
def test_nothing_to_pause_resume_or_skip_where_no_digests_come(
    household: Household, command: str, status: str
) -> None:
    Path("people.jsonl").write_text(json.dumps({"email": ADA, "status": status}))
    household.do("subscribers", "import", "people.jsonl", now=BEFORE)
    answer = household.run("subscribers", command, ADA, now=BEFORE)
    assert answer.code == 2
    assert f"{ADA}: no digests come: this subscription is {status}" in answer.err


def test_who_confirms_anew_gets_no_second_digest_on_one_date(ada: Household) -> None:
    ada.drop(json.dumps({"title": "Reasoning", "abstract": "On reasoning."}), "d.jsonl")
    ada.do("run", "--once", now="2026-01-05T08:30:00Z")
    for status, now in (("unsubscribed", "2026-01-05T09:00:00Z"), ("unconfirmed", "2026-01-05T09:01:00Z")):
        with sqlite3.connect("state/digestbot.db") as db:
            db.execute("UPDATE subscribers SET status = ?", (status,))
        Path("people.jsonl").write_text(json.dumps({"email": ADA, "status": "confirmed", "send_at": "20:00"}))
        ada.do("subscribers", "import", "people.jsonl", now=now)
    assert next_due(ada) == "2026-01-06T20:00:00Z"


def test_what_is_shown_is_written_for_people(household: Household) -> None:
    person = {
        "email": ADA,
        "days": ["mon", "fri"],
        "topics": ["graphs", {"name": "reading", "terms": ["literacy"], "exclude": ["chess"], "weight": 2}],
    }
    Path("people.jsonl").write_text(json.dumps(person))
    household.do("subscribers", "import", "people.jsonl", now=BEFORE)
    shown = household.do("subscribers", "show", ADA).out
    assert "mon, fri\n" in shown
    assert "\n  graphs\n  reading; terms literacy; not chess; weight 2\n" in shown
    assert "2026-01-05T05:00:00Z, import\n" in shown
    assert not set("{}[]'") & set(shown)


def test_one_long_address_does_not_push_the_table_apart(household: Household) -> None:
    household.subscribe("a" * 60 + "@" + "b" * 60 + ".example.org", "reasoning", now=BEFORE)
    household.subscribe(ADA, "reasoning", now=BEFORE)
    listed = household.do("subscribers", "list").out.splitlines()
    assert len(next(line for line in listed if line.startswith(ADA))) < 80


def test_instants_in_json_have_one_form(ada: Household) -> None:
    ada.do("run", "--once", now="2026-01-05T08:30:00Z")
    shown = ada.do("subscribers", "show", ADA, "--json").json
    status = ada.do("status", "--json").json
    instants = [
        shown["next_due_at"],
        shown["confirmed_at"],
        shown["consents"][0]["at"],
        status["next_due_at"],
    ]
    instants += [status["runs"][0][name] for name in ("now", "started_at", "finished_at")]
    assert all(len(at) == len("2026-01-05T08:30:00Z") and at.endswith("Z") for at in instants), instants


def test_who_is_paused_is_told_so_whatever_changes(ada: Household) -> None:
    ada.do("subscribers", "pause", ADA, now=BEFORE)
    answer = ada.do("subscribers", "set", ADA, "--days", "monday,Wed", now=BEFORE)
    assert "changed, paused until resumed" in answer.err
    assert "paused until resumed" in ada.do("subscribers", "list", now=BEFORE).out
    ada.do("subscribers", "pause", ADA, "--until", "2026-01-06", now=BEFORE)
    answer = ada.do("subscribers", "set", ADA, "--send-at", "9:00", now=BEFORE)
    assert "next digest due 2026-01-07 09:00 UTC" in answer.err
    assert "paused until 2026-01-06" in ada.do("subscribers", "list", now=BEFORE).out
    assert "confirmed" in ada.do("subscribers", "list", now="2026-01-06T00:00:00Z").out


def test_a_pause_of_today_does_not_explain_the_days_before_the_confirmation(ada: Household) -> None:
    ada.do("subscribers", "pause", ADA, now=BEFORE)
    for day, cause in (("2026-01-04", "unconfirmed"), ("2026-01-06", "paused")):
        answer = ada.do("explain", ADA, "--date", day, "--json", now=BEFORE)
        assert answer.json["cause"] == cause


@pytest.mark.parametrize("days", ["money", "mo", "", "mon;tues"])
def test_what_is_no_weekday_is_refused_as_it_was_typed(ada: Household, days: str) -> None:
    answer = ada.run("subscribers", "set", ADA, "--days", days, now=BEFORE)
    assert answer.code == 2
    assert (days or "none is given") in answer.err


def test_a_topic_without_a_name_is_one_mistake(household: Household) -> None:
    answer = household.run("subscribers", "add", ADA, "--topic", " ")
    assert (answer.code, answer.err) == (2, "digestbot: a topic has no name: give it one\n")


def test_an_invitation_sets_what_it_says_of_somebody_who_never_confirmed(household: Household) -> None:
    household.do("subscribers", "add", "ada@example.org", "--topic", "casinos", now="2026-01-05T05:00:00Z")
    household.do("subscribers", "invite", "ada@example.org", "--topic", "moss", now="2026-01-07T05:00:00Z")
    shown = household.do("subscribers", "show", "ada@example.org", "--json").json
    assert [topic["name"] for topic in shown["topics"]] == ["moss"]
    wrong = household.run(
        "subscribers", "invite", "ada@example.org", "--topic", "fern", now="2026-01-07T06:00:00Z"
    )
    assert wrong.code == 2
    shown = household.do("subscribers", "show", "ada@example.org", "--json").json
    assert [topic["name"] for topic in shown["topics"]] == ["moss"]


def test_who_has_left_is_not_invited_but_comes_back_alone(household: Household) -> None:
    Path("left.jsonl").write_text('{"email": "left@example.org", "status": "unsubscribed"}')
    household.do("subscribers", "import", "left.jsonl")
    answer = household.run("subscribers", "invite", "left@example.org")
    assert answer.code == 2
    assert "who left signs up again on the pages" in answer.err


@pytest.mark.parametrize("way", ["add", "set", "import", "csv"])
def test_a_name_holds_nothing_that_deceives_a_terminal_or_turns_the_text(
    household: Household, way: str
) -> None:
    email, name = "eve@example.org", "Eve\u0085 \u202eevE\u2066 O'Hara\x9b"
    if way in ("import", "csv"):
        form = json.dumps({"email": email, "name": name})
        Path("f").write_text(form if way == "import" else f"email,name\n{email},{name}\n", encoding="utf-8")
        household.do("subscribers", "import", "f")
    else:
        named = ["--name", name]
        household.do("subscribers", "add", email, "--topic", "owls", *(named if way == "add" else []))
        household.do("subscribers", "set", email, *named)
    assert household.do("subscribers", "show", email, "--json").json["name"] == "Eve evE O'Hara"


def test_a_long_value_does_not_fill_the_message(household: Household) -> None:
    Path("f.jsonl").write_text(json.dumps({"email": "ada@example.org", "paused_until": "x" * 10_000}))
    answer = household.run("subscribers", "import", "f.jsonl")
    assert answer.code == 2
    assert "is not a date such as" in answer.err
    assert len(answer.err) < 300


def test_a_day_added_after_its_time_is_not_said_to_be_sent_by_the_next_run(household: Household) -> None:
    household.subscribe(ADA, "reasoning", now=BEFORE, days="mon")
    household.do("run", "--once", now="2026-01-06T09:00:00Z")
    household.do("subscribers", "set", ADA, "--days", "mon,tue", now="2026-01-06T09:01:00Z")
    answer = household.do("explain", ADA, "--json", now="2026-01-06T09:02:00Z").json
    assert answer["cause"] == "not yet due"
    assert "the next digest is due 2026-01-12 08:00 UTC" in answer["detail"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{bad", "is not valid JSON"),
        (b"{" * 100_000, "is not valid JSON"),
        (b'{"mail": "eve@example.org"}', 'has no text as "email"'),
        (b'{"email": 5}', 'has no text as "email"'),
        (b"eve@example.org,bounced", "is not a mail address"),
    ],
)
def test_a_wrong_line_of_a_suppression_list_is_named_and_nothing_added(
    household: Household, line: bytes, said: str
) -> None:
    Path("list").write_bytes(b"ok@example.org\n\n" + line + b"\n")
    answer = household.run("suppressions", "import", "list")
    assert answer.code == 2
    assert f"list: line 3: {said}" in answer.err.replace("'eve@example.org,bounced' ", "")
    assert household.do("suppressions", "list", "--json").out == ""
    for before in (0, 20_000):
        Path("list").write_bytes(b"ok@example.org\r\n" * before + b"\xff\xfe")
        answer = household.run("suppressions", "import", "list")
        assert (answer.code, answer.err) == (2, f"digestbot: list: line {before + 1}: is not UTF-8 text\n")


@pytest.mark.usefixtures("backend")
def test_an_address_is_taken_off_the_suppression_list_alone(ada: Household) -> None:
    ada.subscribe("bob@example.org", "reasoning", now=BEFORE)
    ada.subscribe("cyd@example.org", "reasoning", now=BEFORE)
    ada.do("suppressions", "add", ADA, "bob@example.org", now=BEFORE)
    ada.do("suppressions", "remove", ADA.upper())
    found = ada.do("subscribers", "list", "--json").json_lines
    assert [row["status"] for row in found] == ["unsubscribed", "suppressed", "confirmed"]
    counts = ada.do("status", "--json").json["subscribers"]
    assert counts == {"confirmed": 1, "unconfirmed": 0, "unsubscribed": 1, "suppressed": 1}


def test_an_exported_suppression_list_is_imported_but_for_who_was_deleted(household: Household) -> None:
    household.do("suppressions", "add", "eve@example.org", "--reason", "complaint")
    with open_file(household.folder / "state" / "digestbot.db") as storage:
        storage.suppressions.add_forgotten("gone@example.org", at=datetime(2026, 1, 5, tzinfo=UTC))
    Path("list").write_text(household.do("suppressions", "export").out)
    again = household.do("suppressions", "import", "list")
    assert again.err == "0 added, 2 were on the list already\n"
    household.set("STATE", "other")
    answer = household.run("suppressions", "import", "list")
    assert (answer.code, answer.err.splitlines()[0]) == (1, "1 added, 0 were on the list already")
    assert "1 left out" in answer.err
    assert [row["email"] for row in household.do("suppressions", "list", "--json").json_lines] == [
        "eve@example.org"
    ]


def test_an_export_is_json_said_or_not(ada: Household) -> None:
    ada.do("suppressions", "add", "eve@example.org")
    for what in ("subscribers", "suppressions"):
        assert ada.do(what, "export", "--json").out == ada.do(what, "export").out != ""


def test_an_export_is_whole_private_and_overwrites_nothing(ada: Household) -> None:
    ada.do("subscribers", "export", "--out", "all.jsonl")
    assert json.loads(Path("all.jsonl").read_text())["email"] == ADA
    assert Path("all.jsonl").stat().st_mode & 0o777 == 0o600
    again = ada.run("subscribers", "export", "--out", "all.jsonl")
    assert (again.code, "all.jsonl: exists already" in again.err) == (2, True)
    assert not [path for path in ada.folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize(
    "words", [("subscribers", "show"), ("suppressions", "remove"), ("drops", "show"), ("explain",)]
)
def test_bytes_that_are_no_text_are_told(household: Household, words: tuple[str, ...]) -> None:
    household.do("init")
    answer = household.run(*words, "\udcff")
    assert (answer.code, answer.err) == (2, "digestbot: '\\udcff' is not UTF-8 text\n")


def test_an_export_needs_the_name_of_a_file(ada: Household) -> None:
    assert ada.run("subscribers", "export", "--out", "").err == "digestbot: .: is a folder; name a file\n"
