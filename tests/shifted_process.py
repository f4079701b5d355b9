"""`digestbot run` as a real process on whose wall hangs a clock that can be set; its monotonic clock goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOON_S = 120  # whatever the clock does, a tick comes within two minutes of real time


class Process:
    """The scheduler, and the clock on its wall."""

    def __init__(self, folder: Path) -> None:
        self._clock = folder / "clock"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def set_clock(self, now: str) -> None:
        ahead = datetime.fromisoformat(now) - datetime.now(UTC)
        changed = self._clock.with_suffix(".new")
        changed.write_text(f"{ahead / timedelta(seconds=1):+.0f}")
        changed.rename(self._clock)

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.shifted_program", str(self._clock), "run"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

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


def wait_for(condition: Callable[[], bool], process: Process) -> None:
    end = time.monotonic() + SOON_S
    while not condition():
        assert process.is_running
        assert time.monotonic() < end, f"not within {SOON_S} s"
        time.sleep(0.1)
