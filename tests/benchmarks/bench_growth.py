"""Composing everybody's digests as the town grows: cost, memory and disk per digest.

Run: python -m tests.benchmarks.bench_growth [READERS ...]   (default: 1,000 10,000 100,000 1,000,000)

Everybody has three of 20,000 topics and gets ten of 300 papers. Each size has a process and a state of its own. The cost
is the processor's time for composing, of all processes together; the same loop of hashing beside each is the reference
for how busy the machine is.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from digestbot.desk import Desk
from digestbot.pipeline import compose_everybody
from tests.benchmarks.town import NOW, open_town, town_environ, town_settings

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PAPERS = 300


def main() -> None:
    print("readers    papers  digests    s     us/digest  reference us  peak MB  bytes/digest  nothing due s")
    for readers in [int(word) for word in sys.argv[1:]] or SIZES:
        print_row(measure(readers, PAPERS))


def print_row(row: dict[str, float]) -> None:
    print(
        f"{row['readers']:9,.0f} {row['papers']:6,.0f} {row['digests']:9,.0f} {row['seconds']:7.1f}"
        f" {row['cpu_us']:9.0f} {row['reference_us']:12.2f} {row['peak_mb']:9.0f} {row['bytes']:12.0f}"
        f" {row['idle_s']:12.2f}"
    )


def measure(readers: int, papers: int) -> dict[str, float]:
    """One size in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_growth", "--one", str(readers), str(papers)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def one(readers: int, papers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        settings = town_settings(Path(name))
        with open_town(settings, readers=readers, papers=papers) as desk:
            before = database_bytes(desk)
            reference_us = reference()
            wall, cpu = time.perf_counter(), cpu_s()
            digests = compose_everybody(desk, NOW).composed
            wall, cpu = time.perf_counter() - wall, cpu_s() - cpu
            desk.storage.db.execute(
                "UPDATE outbox SET state = 'sent', reply = '250 2.0.0 Ok', finished_at = due_at"
            )
            kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            peak_mb = max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
            size = database_bytes(desk) - before
        return {
            "readers": readers,
            "papers": papers,
            "digests": digests,
            "seconds": wall,
            "cpu_us": cpu / readers * 1e6,
            "reference_us": reference_us,
            "peak_mb": peak_mb,
            "bytes": size / max(digests, 1),
            "idle_s": seconds_of(lambda: idle_pass(Path(name))),
        }


def idle_pass(folder: Path) -> None:
    """`run --once` as a whole program, where nothing is due any more and no mail waits."""
    command = [sys.executable, "-m", "digestbot", "--now", NOW.isoformat(), "run", "--once"]
    subprocess.run(command, check=True, env=town_environ(folder), capture_output=True)


def cpu_s() -> float:
    """Of this process and of those that shared its work."""
    return sum(os.times()[:4])


def reference() -> float:
    """Microseconds for hashing 10 KB, to compare machines and moments by."""
    data = b"x" * 10_000
    return seconds_of(lambda: [hashlib.sha256(data).digest() for _ in range(2000)]) / 2000 * 1e6


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def database_bytes(desk: Desk) -> int:
    """What the state takes once all is in one file."""
    desk.storage.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    return (desk.settings.state / "digestbot.db").stat().st_size


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
