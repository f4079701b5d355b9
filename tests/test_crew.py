"""Several processes for one piece of work, and a pass that is shared so."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from digestbot.crew import crew_size
from tests.household import Household, household

__all__ = ["household"]


def program(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    begun = begin(*words, folder=folder)
    out, err = begun.communicate(timeout=300)
    return subprocess.CompletedProcess(begun.args, begun.returncode, out, err)


def begin(*words: str, folder: Path) -> subprocess.Popen[str]:
    """The program, in a process group of its own."""
    command = [sys.executable, "-m", "tests.crew_program", words[0], str(folder), *words[1:]]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ, start_new_session=True)


def case(name: str, folder: Path) -> Any:
    done = program(name, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_process_has_a_connection_and_tells_how_far_it_is(tmp_path: Path) -> None:
    said = case("shared", tmp_path)
    assert said == {"processes": 4, "rows": [[0, 50], [1, 50], [2, 50]], "told": [150, 150]}


def test_they_write_one_after_the_other_and_none_finds_the_database_locked(tmp_path: Path) -> None:
    assert case("queueing", tmp_path) == [3 * 300 + 3 * 50]


def test_one_that_is_killed_while_it_writes_leaves_the_others_their_turn(tmp_path: Path) -> None:
    refused, rows = case("killed_writing", tmp_path)
    assert "was killed" in refused["text"]
    assert rows == [[1]]


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("failing", "StorageError", "the disk is full"),
        ("relay", "ServerRefused", "the mail server mx.example:25 refused at AUTH: 535 5.7.8 no"),
        ("killed", "DigestbotError", "a process that shared the work was killed; run it again"),
    ],
)
def test_what_one_of_them_raises_is_raised_here(tmp_path: Path, name: str, error: str, text: str) -> None:
    said = case(name, tmp_path)
    assert (said["error"], said["usable"]) == (error, [1])
    assert text in said["text"]


@pytest.mark.parametrize("name", ["stopped", "told_by_all"])
def test_a_signal_to_the_first_process_stops_all(tmp_path: Path, name: str) -> None:
    assert case(name, tmp_path) == [True, True]


def test_one_makes_what_another_takes(tmp_path: Path) -> None:
    assert case("ahead", tmp_path) == {"makers": 1, "in_order": True, "rows": [1000]}


def test_what_the_maker_raises_is_raised_where_it_is_taken(tmp_path: Path) -> None:
    assert case("ahead_failing", tmp_path) == ["the list does not end", 7]


def test_a_maker_that_is_killed_is_told(tmp_path: Path) -> None:
    assert case("ahead_killed", tmp_path) == "a process that shared the work was killed; run it again"


def test_a_large_drop_is_read_by_another_process_as_it_is_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = [
        {"title": f"Tides of bay {n} and of those around it", "abstract": f"We study {n} tides. " * 300}
        for n in range(1200)
    ]
    lines = [json.dumps(paper) for paper in (*papers, papers[7])]
    lines[600] = "{"
    (tmp_path / "drop.jsonl").write_text("\n".join(lines))
    reports = []
    for which, how in (("run", "with others"), ("run alone", "alone")):
        monkeypatch.setenv("DIGESTBOT_STATE", str(tmp_path / which))
        done = program(which, "ingest", str(tmp_path / "drop.jsonl"), "--json", folder=tmp_path)
        assert done.stderr.endswith(f"{how}\n")
        reports.append(json.loads(done.stdout))
    assert reports[0] == reports[1]
    [drop] = reports[0]["drops"]
    assert (drop["new"], drop["known"]) == (1199, 1)
    assert [rejection["line"] for rejection in drop["rejected"]] == [601]


@pytest.mark.parametrize("name", ["orphaned", "ahead_orphaned"])
def test_they_end_with_the_first_process(tmp_path: Path, name: str) -> None:
    pids = [int(line) for line in program(name, folder=tmp_path).stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def invite(household: Household, count: int = 300) -> list[str]:
    """People who are due, and a drop for them; returns their addresses."""
    emails = sorted(f"p{n}@example.org" for n in range(count))
    people = [
        {"email": email, "status": "confirmed", "topics": ["tides"], "send_at": "07:00"} for email in emails
    ]
    Path("people.jsonl").write_text("\n".join(map(json.dumps, people)))
    Path("drop.jsonl").write_text(
        "".join(
            json.dumps({"title": f"Tides of bay {n}", "abstract": "We study tides in a bay."}) + "\n"
            for n in range(12)
        )
    )
    household.do("subscribers", "import", "people.jsonl", now="2026-11-19T12:00:00Z")
    household.do("ingest", "drop.jsonl", now="2026-11-20T05:00:00Z")
    return emails


def test_a_shared_pass_gives_everybody_one_digest(household: Household, tmp_path: Path) -> None:
    emails = invite(household)
    done = program("run", "--now", "2026-11-20T08:00:00Z", "run", "--once", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    # What makes mails is loaded once, for all of them.
    assert "forks without what makes mails: 0\nwith others" in done.stderr
    report = json.loads(done.stdout)
    assert (report["digests"]["composed"], report["delivery"]["sent"]) == (300, 300)
    received = sorted(message.recipient for message in household.server.messages)
    assert received == emails
    again = program("run", "--now", "2026-11-20T08:05:00Z", "run", "--once", "--json", folder=tmp_path)
    assert json.loads(again.stdout)["delivery"]["sent"] == 0


def test_passes_at_the_same_time_give_everybody_one_digest(household: Household, tmp_path: Path) -> None:
    emails = invite(household)
    with ThreadPoolExecutor() as pool:
        words = ("run", "--now", "2026-11-20T08:00:00Z", "run", "--once", "--json")
        both = list(pool.map(lambda _: program(*words, folder=tmp_path), range(2)))
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert sum(json.loads(done.stdout)["delivery"]["sent"] for done in both) == 300
    assert sorted(message.recipient for message in household.server.messages) == emails


def senders() -> list[int]:
    """The processes that hold mails right now."""
    with sqlite3.connect("state/digestbot.db", timeout=60) as connection:
        rows = connection.execute("SELECT DISTINCT owner FROM outbox WHERE owner IS NOT NULL").fetchall()
    connection.close()
    return [int(owner.split(":")[2]) for (owner,) in rows]


@pytest.mark.parametrize("on_doubt", ["resend", "hold"])
def test_a_pass_finishes_what_another_one_held_that_was_killed_meanwhile(
    household: Household, tmp_path: Path, on_doubt: str
) -> None:
    people = 1000  # a fork claims two hundred of them, and each pass has three at most
    emails = invite(household, people)
    household.set("ON_DOUBT", on_doubt)
    both_deliver = threading.Event()

    def script(stage: str, argument: str) -> None:
        if stage == "text":
            both_deliver.wait(120)
            time.sleep(0.02)

    household.server.script = script
    words = ("run", "--now", "2026-11-20T08:00:00Z", "run", "--once", "--json")
    killed, other = (begin(*words, folder=tmp_path) for _ in range(2))
    deadline = time.monotonic() + 100
    while {os.getpgid(pid) for pid in senders()} != {killed.pid, other.pid}:
        assert time.monotonic() < deadline, "one of the passes has nothing to deliver"
        time.sleep(0.05)
    both_deliver.set()
    while len(household.server.messages) < 60:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    out, err = other.communicate(timeout=300)
    assert other.returncode == 0, err
    received = Counter(message.recipient for message in household.server.messages)
    states = household.do("status", "--json").json["outbox"]
    delivery = json.loads(out)["delivery"]
    assert delivery["held"] == states["held"] <= (4 if on_doubt == "hold" else 0)
    assert states["sent"] + states["held"] == people
    assert set(emails) - set(received) <= {
        row["recipient"] for row in household.do("outbox", "list", "held", "--json").json_lines
    }
    assert received.total() - len(received) <= (0 if on_doubt == "hold" else 4)
    assert 0 < people - delivery["sent"] - delivery["held"] < 200


def test_what_forks_leave_that_somebody_else_told_to_stop_is_composed_all_the_same(
    household: Household, tmp_path: Path
) -> None:
    invite(household)
    done = program("run told", "--now", "2026-11-20T08:00:00Z", "run", "--once", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["digests"]["composed"] == 300


@pytest.mark.parametrize("name", ["run", "run alone"])
def test_composing_that_fails_late_says_how_far_it_came(
    household: Household, tmp_path: Path, name: str
) -> None:
    """One digest cannot be stored; its block of ten is lost, those before it are stored."""
    invite(household)
    with sqlite3.connect(household.folder / "state" / "digestbot.db") as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON outbox WHEN NEW.subscriber_id = 255"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    done = program(name, "--now", "2026-11-20T08:00:00Z", "run", "--once", "--json", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    composed = json.loads(done.stdout)["digests"]["composed"]
    counts = household.do("status", "--json").json
    assert composed == sum(counts["outbox"].values())
    assert 250 <= composed <= 290
    assert counts["runs"][0]["digests"]["composed"] == composed


def test_a_program_with_threads_is_not_forked() -> None:
    waits = threading.Event()
    thread = threading.Thread(target=waits.wait)
    thread.start()
    assert crew_size() == 1
    waits.set()
    thread.join()
