"""Log lines: their two forms, run ids, and that no address is in them, seen through the real programs."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from digestbot.logs import new_run, set_up_logs
from tests.household import Household, household

__all__ = ["household"]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was logged since it was last asked."""
    return lambda: capsys.readouterr().err


def read(lines: Callable[[], str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines().splitlines()]


@pytest.mark.parametrize(
    "said",
    [
        "550 5.1.1 <ada@example.org>: unknown",
        "to:ada@example.org",
        "smtp://user:secret@mail.example.org refused",
        '{"email": "zoë.o\'brian+x@exämple.org"}',
        "bounce+abc=ada@example.org",
    ],
)
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_no_address_from_info_up(lines: Callable[[], str], said: str, level: int) -> None:
    set_up_logs()
    log = logging.getLogger("digestbot.sample")
    log.log(level, "it was said: %s", said, extra={"reply": said})
    try:
        raise ValueError(said)
    except ValueError:
        log.log(level, "an error", exc_info=True)
    text = lines()
    assert len(text.splitlines()) == 2
    for secret in ("@", "ada", "brian", "secret"):
        assert secret not in text


def test_debug_shows_what_is_hidden_otherwise(lines: Callable[[], str]) -> None:
    set_up_logs(debug=True)
    logging.getLogger("digestbot.sample").debug("to %s", "ada@example.org")
    logging.getLogger("else").debug("noise")
    [line] = read(lines)
    assert line["event"] == "to ada@example.org"
    set_up_logs()
    logging.getLogger("digestbot.sample").debug("again")
    assert lines() == ""


def test_a_line_is_one_line(lines: Callable[[], str]) -> None:
    set_up_logs()
    logging.getLogger("digestbot.sample").info("drop %s", 'a\nb\x1b[31m"}')
    [line] = read(lines)
    assert line["event"] == 'drop a b [31m"}'


def test_lines_of_one_pass_share_an_id(lines: Callable[[], str]) -> None:
    set_up_logs()
    log = logging.getLogger("digestbot.sample")
    log.info("before")
    for _ in range(2):
        with new_run("tick"):
            log.info("in")
            log.info("in")
    log.info("after")
    runs = [line["run"] for line in read(lines)]
    assert runs[0] == runs[5]
    assert runs[1] == runs[2]
    assert runs[3] == runs[4]
    assert len(set(runs)) == 3


def start(household: Household, stderr: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "digestbot", "run"]
    return subprocess.Popen(command, cwd=household.folder, env=environment, stderr=stderr)


@pytest.fixture
def waiting(household: Household) -> Household:
    """A paper for two people whose slot was due an hour ago, one of them unknown to the mail server, and a bad drop."""
    hour = datetime.now(UTC) - timedelta(hours=1)
    for name in ("ada", "bob"):
        household.subscribe(
            f"{name}@example.org", "owls", now="2026-01-04T12:00:00Z", send_at=f"{hour:%H:%M}"
        )
    household.drop(json.dumps({"title": "Owls in the dark", "abstract": "On owls."}), "owls@night.jsonl")
    household.do("ingest", now=f"{hour - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")
    household.drop("nothing of use either", "worse@night.txt")
    household.server.script = lambda stage, argument: (
        f"550 5.1.1 <{argument}>: no such user" if argument == "bob@example.org" and stage == "rcpt" else None
    )
    return household


def test_a_scheduler_logs_json_with_run_ids_and_no_address(waiting: Household) -> None:
    log = waiting.folder / "log"
    with log.open("wb") as file:
        process = start(waiting, file.fileno())
        end = time.monotonic() + 60
        while not all(word in log.read_text() for word in ("bounced:", "sent:", "1 rejected")):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line["run"] and line["level"] and line["timestamp"] for line in found)
    assert "@" not in log.read_text()
    assert "drops from state/drops/incoming" in found[0]["event"]
    assert "2 confirmed subscribers; the next digest is due" in found[1]["event"]
    jobs = {line["run"]: line.get("job") for line in found}
    assert all(jobs[line["run"]] == line.get("job") for line in found)  # a run is of one job
    said = {job: " ".join(line["event"] for line in found if line.get("job") == job) for job in jobs.values()}
    assert "slots: 2 composed" in said["compose"]
    assert "sent: 250" in said["deliver"]  # by a thread of its own
    assert "bounced: 550 5.1.1" in said["deliver"]
    assert waiting.mails_to("ada@example.org")


def test_a_terminal_shows_peoples_form(waiting: Household) -> None:
    ours, theirs = pty.openpty()
    process = start(waiting, theirs)
    os.close(theirs)
    shown = b""
    try:
        while b"next digest is due" not in shown:
            shown += os.read(ours, 65536)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        os.close(ours)
    assert b"digestbot 0" in shown
    assert not shown.startswith(b"{")
