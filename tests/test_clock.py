"""`digestbot run` as a real process whose wall clock is set back and forth by hours; its monotonic clock goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.household import Household, household

__all__ = ["household"]

FOLDERS = (Path("/usr/lib/x86_64-linux-gnu/faketime"), Path("/usr/lib/aarch64-linux-gnu/faketime"))
SOON_S = 120  # a tick comes within two minutes of real time


class Process:
    """The scheduler, and the clock on its wall."""

    def __init__(self, folder: Path) -> None:
        library = next((f / "libfaketimeMT.so.1" for f in FOLDERS if f.is_dir()), None)
        if library is None:
            pytest.skip("libfaketime is not installed")
        self._clock = folder / "clock"
        self._faked = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def set_clock(self, now: str) -> None:
        ahead = datetime.fromisoformat(now) - datetime.now(UTC)
        changed = self._clock.with_suffix(".new")
        changed.write_text(f"{ahead / timedelta(seconds=1):+.0f}")
        changed.rename(self._clock)

    def start(self) -> None:
        command = [sys.executable, "-m", "digestbot", "run"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **self._faked}, stdout=log, stderr=log
            )

    def stop(self) -> str:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(60) == 0
        return self._log.read_text()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


@pytest.fixture
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("clock"))
    yield process
    if process.is_running:
        process.stop()


def wait_for_mail(household: Household, process: Process, email: str) -> None:
    end = time.monotonic() + SOON_S
    while email not in household.server.recipients:
        assert process.is_running
        assert time.monotonic() < end, f"no mail to {email} within {SOON_S} s"
        time.sleep(0.1)


def test_a_clock_set_back_and_forth_by_hours_repeats_nothing_and_ticks_go_on(
    household: Household, process: Process
) -> None:
    household.set("OPERATOR", "op@example.org")
    confirmed = "2026-01-05T02:00:00Z"
    readers = {"eight": "08:00", "three": "03:20", "two": "13:50", "nine": "09:00"}
    for name, send_at in readers.items():
        household.subscribe(f"{name}@example.org", "reasoning", now=confirmed, send_at=send_at)
    abstract = "We say that reasoning is what it is."
    household.drop(json.dumps({"title": "On reasoning", "abstract": abstract}), "d.jsonl")
    household.do("ingest", now="2026-01-04T12:00:00Z")
    with_clock = [  # the clock on the wall, and who is due then for the first time
        ("2026-01-05T03:30:00+00:00", "three@example.org"),
        ("2026-01-05T08:30:00+00:00", "eight@example.org"),  # five hours forth
        ("2026-01-05T01:00:00+00:00", "back@example.org"),  # back, by more than that
        ("2026-01-05T14:00:00+00:00", "two@example.org"),
    ]
    process.set_clock(with_clock[0][0])
    process.start()
    for now, email in with_clock:
        if email == "back@example.org":
            household.subscribe(email, "reasoning", now="2026-01-05T00:30:00Z", send_at="00:50")
        process.set_clock(now)
        wait_for_mail(household, process, email)
    wait_for_mail(household, process, "nine@example.org")  # due in the hours that the last jump skipped
    wait_for_mail(household, process, "op@example.org")
    said = process.stop()
    assert sorted(household.server.recipients) == sorted(
        [*(f"{name}@example.org" for name in readers), "back@example.org", "op@example.org"]
    )
    assert said.count("the clock was set by") == 3
    assert [a["kind"] for a in household.do("status", "--json").json["alarms"]] == ["clock"]
