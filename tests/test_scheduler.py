"""The real scheduler with short beats: no overlap, failures, the clock set back and forth, and the way it ends."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import apscheduler.schedulers.base
import pytest

from digestbot.scheduler import Job, Scheduler

PATIENCE_S = 120  # how long a test waits for what should come within a second


class Clock:
    """A wall clock that can be set, for us and for APScheduler."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s

    def datetime(self) -> type[datetime]:
        clock = self

        class Shifted(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Shifted:
                return cls.fromtimestamp(clock.time(), tz)

        return Shifted


class Running:
    """A scheduler in a thread of its own; leaving the block stops it."""

    def __init__(self, *jobs: Job, clock: Clock | None = None) -> None:
        self.stop = threading.Event()
        self.errors: list[tuple[str, Exception]] = []
        scheduler = Scheduler(jobs, stop=self.stop, on_error=self._failed, wall=(clock or Clock()).time)
        self.thread = threading.Thread(target=scheduler.run)

    def _failed(self, name: str, error: Exception) -> None:
        self.errors.append((name, error))

    def __enter__(self) -> Running:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.01)


def test_jobs_run_at_once_and_again() -> None:
    runs: list[str] = []
    often = Job("often", 0.05, lambda: runs.append("often"))
    seldom = Job("seldom", 3600, lambda: runs.append("seldom"))
    with Running(often, seldom):
        wait_for(lambda: runs.count("often") >= 5, "five runs")
    assert runs.count("seldom") == 1


def test_a_slow_run_never_overlaps_with_the_next() -> None:
    inside, most, ended = 0, 0, 0
    lock = threading.Lock()

    def slow() -> None:
        nonlocal inside, most, ended
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.3)
        with lock:
            inside -= 1
            ended += 1

    with Running(Job("slow", 0.05, slow)):
        wait_for(lambda: ended >= 3, "three slow runs")
    assert most == 1


def test_a_slow_run_holds_up_no_other_job() -> None:
    runs: list[str] = []

    def slow() -> None:
        wait_for(lambda: runs.count("other") >= 3, "three runs of the other job")
        runs.append("slow")

    other = Job("other", 0.05, lambda: runs.append("other"))
    with Running(Job("slow", 0.05, slow), other) as running:
        wait_for(lambda: "slow" in runs or bool(running.errors), "the slow run")
    assert running.errors == []


def test_a_job_that_fails_is_reported_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[str] = []

    def failing() -> None:
        runs.append("failing")
        raise ValueError("the disk is full")

    with caplog.at_level(logging.INFO), Running(Job("failing", 0.05, failing)) as running:
        wait_for(lambda: len(runs) >= 3, "three failing runs")
    assert running.errors[0][0] == "failing"
    assert str(running.errors[0][1]) == "the disk is full"
    assert "failing: the disk is full" in caplog.text
    assert "Traceback" not in caplog.text
    told = {record.name for record in caplog.records if not record.name.startswith("apscheduler")}
    assert told == {"digestbot.scheduler"}


def test_a_report_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    def failing() -> None:
        runs.append(1)
        raise ValueError("first")

    def report(name: str, error: Exception) -> None:
        raise OSError("no way to tell")

    stop = threading.Event()
    scheduler = Scheduler([Job("failing", 0.05, failing)], stop=stop, on_error=report)
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    wait_for(lambda: len(runs) >= 3, "three failing runs")
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "the failure of failing could not be reported" in caplog.text


@pytest.mark.parametrize("hours", [-5, 5, 24 * 365 * 50])
def test_a_clock_set_back_or_forth_does_not_silence_the_jobs(
    hours: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, runs = Clock(), []
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", clock.datetime())
    seldom = Job("seldom", 3600, lambda: runs.append("seldom"))
    often = Job("often", 0.2, lambda: runs.append("often"))
    with Running(often, seldom, clock=clock):
        wait_for(lambda: runs.count("often") >= 2 and "seldom" in runs, "the first runs")
        clock.ahead_s += timedelta(hours=hours).total_seconds()
        before = runs.count("often")
        wait_for(lambda: runs.count("often") >= before + 4, "runs after the jump")
        wait_for(lambda: runs.count("seldom") >= 2, "a run of the seldom job after the jump")
    assert (
        runs.count("seldom") <= 3
    )  # missed beats are one; set forth, its own beat may come before the watch
    assert "the clock was set by" in caplog.text


def test_the_end_waits_for_the_running_job_and_begins_no_other() -> None:
    begun, ended = threading.Event(), threading.Event()

    def careful() -> None:
        begun.set()
        assert running.stop.wait(PATIENCE_S)
        time.sleep(0.3)  # up to its safe point
        ended.set()

    running = Running(Job("careful", 0.05, careful))
    with running:
        assert begun.wait(PATIENCE_S)
    assert ended.is_set()


PROGRAM = """
import sys, threading
from digestbot.scheduler import Job, Scheduler

stop = threading.Event()

def run():
    print("begun", flush=True)
    if sys.argv[1] == "careful":
        stop.wait()
        print("ended", flush=True)
    else:
        threading.Event().wait()

Scheduler([Job("job", 60, run)], stop=stop, on_error=print).run()
print("stopped", flush=True)
"""


def program(kind: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    process = program("careful")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "ended\nstopped\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    process = program("stubborn")
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (-number, "", "")
