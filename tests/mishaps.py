"""Deliveries that something goes wrong with, in a short and a long form; the promises are the same."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from digestbot.model import EntryState
from tests.backends import open_storage
from tests.deliveries import queue_digests, run_pass, states
from tests.household import Household
from tests.smtp_servers import SmtpServer

CONNECTIONS = 4
LONGEST_LIFE_S = 0.25  # of a sender that is to be killed
PROJECT = Path(__file__).resolve().parents[1]


def start_sender(folder: Path, url: str, minutes: float = 0) -> subprocess.Popen[str]:
    """A sender that has opened its database and begins to deliver."""
    command = [sys.executable, "-m", "tests.sender", str(folder), url, str(CONNECTIONS), str(minutes)]
    sender = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    assert sender.stdout.readline() == "ready\n"
    return sender


def finish(sender: subprocess.Popen[str]) -> None:
    """Waits for its end, and closes its pipes."""
    sender.communicate(timeout=120)


def in_doubt(folder: Path) -> set[str]:
    """The recipients that the ledger marks in doubt right now, read while nobody writes."""
    connection = sqlite3.connect(folder / "digestbot.db")
    rows = connection.execute(
        "SELECT s.email FROM outbox o JOIN subscribers s ON s.id = o.subscriber_id WHERE o.state = 'in_doubt'"
    ).fetchall()
    connection.close()
    return {row[0] for row in rows}


def composed(folder: Path, count: int) -> list[str]:
    storage = open_storage(folder)
    emails = [f"p{n}@d{n % 50}.example" for n in range(count)]
    queue_digests(storage, emails)
    storage.close()
    return emails


def kill_again_and_again(folder: Path, *, digests: int, kills: int, seed: int = 1) -> Counter[str]:
    """Kills the sender with SIGKILL at random moments, `kills` times, then lets it end.

    Checks that nobody is lost, that mails held twice are at most one per connection and kill, each marked in doubt when
    its sender died, and that the states add up to what was composed. Returns how often the server holds each mail.
    """
    chance = random.Random(seed)
    emails, doubtful = composed(folder, digests), Counter[str]()
    pause = 1.5 * LONGEST_LIFE_S / 2 * CONNECTIONS * kills / digests  # so slow that no kill comes too late
    slowed = threading.local()  # each connection pauses on its own

    def script(stage: str, argument: str) -> None:
        if stage in ("mail", "text"):
            own = slowed.__dict__.setdefault("chance", random.Random(threading.get_ident()))
            time.sleep(own.uniform(0, pause))

    struck = 0  # kills that met an unfinished delivery
    with SmtpServer(script) as server:
        for kill in range(kills):
            sender = start_sender(folder, server.url())
            time.sleep(chance.uniform(0.0, LONGEST_LIFE_S))
            sender.kill()
            finish(sender)
            doubts = in_doubt(folder)
            assert len(doubts) <= CONNECTIONS, f"kill {kill}: {doubts}"
            doubtful.update(doubts)
            struck += len(set(server.recipients)) < digests
            assert_adds_up(folder, digests)
        last = start_sender(folder, server.url())
        finish(last)
        assert last.returncode == 0
        held = Counter(message.recipient for message in server.messages)
    assert struck >= kills * 0.9, f"only {struck} kills met a delivery"
    assert sum(doubtful.values()) > kills / 2, "the kills did not come at bad moments"
    assert len(held) == len(emails), f"{len(emails) - len(held)} lost"
    assert all(times - 1 <= doubtful[who] for who, times in held.items()), "a double nobody knew of"
    assert sum(held.values()) - digests <= CONNECTIONS * kills
    storage = open_storage(folder)
    assert states(storage) == {"sent": digests}
    storage.close()
    return held


def assert_adds_up(folder: Path, digests: int) -> None:
    storage = open_storage(folder)
    assert sum(storage.entries.counts().values()) == digests
    storage.close()


def kill_the_server(folder: Path, *, digests: int, kills: int, seed: int = 2) -> None:
    """The mail server dies at random moments; the mails it took before count."""
    chance = random.Random(seed)
    emails = composed(folder, digests)
    storage = open_storage(folder)
    held: Counter[str] = Counter()
    doubts = 0
    minutes = 0.0
    for attempt in range(kills + 40):
        with SmtpServer() as server:
            if attempt < kills:
                threading.Timer(chance.uniform(0.0, 0.1), server.kill).start()
            report = run_pass(storage, server.url(), minutes=minutes)
        held.update(message.recipient for message in server.messages)
        doubts += report.counts[EntryState.IN_DOUBT]
        minutes += 10
        if states(storage) == {"sent": digests}:
            break
    assert states(storage) == {"sent": digests}
    assert set(held) == set(emails)
    assert sum(held.values()) - digests <= doubts
    storage.close()


LOCKING = """
import sqlite3, sys, time
other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
other.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
other.execute("ROLLBACK")
"""


def lock_the_database(folder: Path, *, digests: int, seconds: float) -> None:
    """Another process holds the write lock in the middle of a delivery; it goes on afterwards."""
    emails = composed(folder, digests)
    storage = open_storage(folder)
    began = threading.Event()
    holders: list[subprocess.Popen[str]] = []

    def script(stage: str, argument: str) -> None:
        if stage == "text" and not began.is_set():
            began.set()
            command = [sys.executable, "-c", LOCKING, str(folder / "digestbot.db"), str(seconds)]
            holders.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert holders[0].stdout is not None
            assert holders[0].stdout.readline() == "locked\n"

    started = time.monotonic()
    with SmtpServer(script) as server:
        report = run_pass(storage, server.url())
    finish(holders[0])
    assert time.monotonic() - started >= seconds
    assert report.counts == {EntryState.SENT: digests}
    assert server.recipients == sorted(emails)
    storage.close()


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from digestbot.cli import main
main(sys.argv[1:])
"""


def run_in_little_room(most_bytes: int, now: str) -> subprocess.CompletedProcess[str]:
    """`digestbot run --once` in a process that can make no file larger than this, as on a full disk."""
    command = [sys.executable, "-c", LIMITED, str(most_bytes), "--now", now, "run", "--once"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )


def fill_the_disk(household: Household, *, people: int, more_room: float) -> None:
    """Runs again and again, each time with a little more room, so that it ends at every stage of the way.

    Checks that each end is told in one line, that nobody is lost, and that mails held twice were known as in doubt.
    """
    folder, server = household.folder / "state", household.server
    Path("people.csv").write_text(
        "email,topics\n" + "".join(f"p{n}@d{n % 50}.example,reasoning\n" for n in range(people))
    )
    household.do("subscribers", "import", "people.csv", now="2026-01-05T05:00:00Z")
    papers = [{"title": f"Reasoning {n}", "abstract": f"We reason, {n} times. " * 9} for n in range(20)]
    Path("papers.jsonl").write_text("\n".join(map(json.dumps, papers)))
    household.do("ingest", "papers.jsonl", now="2026-01-05T05:00:00Z")
    room, doubtful, ends = 30_000.0, Counter[str](), Counter[str]()
    while (run := run_in_little_room(int(room), "2026-01-05T08:30:00Z")).returncode:
        assert run.returncode == 1
        assert run.stderr.splitlines()[-1].startswith("digestbot: ")
        assert "disk" in run.stderr
        assert "Traceback" not in run.stderr
        doubts = in_doubt(folder)
        assert len(doubts) <= CONNECTIONS
        doubtful.update(doubts)
        ends["before composing was done" if not server.messages else "while delivering"] += 1
        room *= more_room
    assert ends["before composing was done"]
    assert ends["while delivering"]
    held = Counter(message.recipient for message in server.messages)
    assert len(held) == people, f"{people - len(held)} lost"
    assert all(times - 1 <= doubtful[who] for who, times in held.items()), "a double nobody knew of"
    counts = household.do("status", "--json").json["outbox"]
    assert {state: count for state, count in counts.items() if count} == {"sent": people}
