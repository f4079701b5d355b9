"""Composing everybody's digests as the town grows: cost, memory and disk per digest.

Run: python -m tests.benchmarks.bench_growth [READERS ...]   (default: 1,000 10,000 100,000 1,000,000 readers; then, at
10,000, 30 to 3,000 papers and 1 to 400 days of history, and the plot docs/images/growth.svg)

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
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from digestbot.desk import Desk
from digestbot.due_slots import compose_everybody
from digestbot.model import Digest, DigestPaper, PaperId, Reason, ReasonKind, SubscriberId
from digestbot.service import FOLDED_AFTER
from digestbot.storage.database import to_epoch
from digestbot.storage.packing import pack_digest
from tests.benchmarks.town import NOW, open_town, town_environ, town_settings

READERS = (1_000, 10_000, 100_000, 1_000_000)
PAPERS = (30, 100, 300, 1_000, 3_000)
DAYS = (1, 10, 100, 400)  # of history
USUAL_READERS, USUAL_PAPERS = 10_000, 300
PLOT = Path("docs/images/growth.svg")

Figures = dict[str, float]


def main() -> None:
    print(
        "readers    papers days  digests    s     us/digest  reference us  peak MB  bytes/digest   sent  nothing due s"
    )
    wanted = [int(word) for word in sys.argv[1:]]
    readers = [shown(measure(number, USUAL_PAPERS, 0)) for number in wanted or READERS]
    if not wanted:
        papers = [shown(measure(USUAL_READERS, number, 0)) for number in PAPERS]
        days = [shown(measure(USUAL_READERS, USUAL_PAPERS, number)) for number in DAYS]
        plot({"readers": readers, "papers": papers, "days": days})


def shown(row: Figures) -> Figures:
    print(
        f"{row['readers']:9,.0f} {row['papers']:6,.0f} {row['days']:4,.0f} {row['digests']:9,.0f}"
        f" {row['seconds']:7.1f} {row['cpu_us']:9.0f} {row['reference_us']:12.2f} {row['peak_mb']:9.0f}"
        f" {row['bytes']:12.0f} {row['bytes_sent']:6.0f} {row['idle_s']:12.2f}",
        flush=True,
    )
    return row


def measure(readers: int, papers: int, days: int) -> Figures:
    """One size in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_growth",
        "--one",
        *map(str, (readers, papers, days)),
    ]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def one(readers: int, papers: int, days: int) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        settings = town_settings(Path(name))
        with open_town(settings, readers=readers, papers=papers) as desk:
            remember(desk, readers, days)
            before = database_bytes(desk)
            reference_us = reference()
            wall, cpu = time.perf_counter(), cpu_s()
            digests = compose_everybody(desk, NOW).composed
            wall, cpu = time.perf_counter() - wall, cpu_s() - cpu
            composed = database_bytes(desk) - before
            desk.storage.db.execute(
                "UPDATE outbox SET state = 'sent', reply = '250 2.0.0 Ok', finished_at = due_at WHERE state = 'queued'"
            )
            kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            peak_mb = max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
            sent = database_bytes(desk) - before
        return {
            "readers": readers,
            "papers": papers,
            "days": days,
            "digests": digests,
            "seconds": wall,
            "cpu_us": cpu / readers * 1e6,
            "reference_us": reference_us,
            "peak_mb": peak_mb,
            "bytes": composed / max(digests, 1),
            "bytes_sent": sent / max(digests, 1),
            "idle_s": seconds_of(lambda: idle_pass(Path(name))),
        }


def remember(desk: Desk, readers: int, days: int) -> None:
    """A ledger as after so many days on which everybody was sent ten papers, oldest first."""
    names = (
        "id, kind, subscriber_id, slot, state, message_id, composed_at, due_at, papers, why, more, attempts, reply,"
        " finished_at"
    )
    for day in range(days, 0, -1):
        at = NOW - timedelta(days=day)
        slot, epoch, last = at.date().isoformat(), to_epoch(at), (days - day) * readers
        packed = packed_day(day)
        with desk.storage.transaction():
            desk.storage.db.execute_many(
                "INSERT INTO slots (subscriber_id, slot, outcome, at) VALUES (?, ?, 'composed', ?)",
                ((number, slot, epoch) for number in range(1, readers + 1)),
            )
            desk.storage.db.execute_many(
                f"INSERT INTO outbox ({names}) VALUES (?, 'digest', ?, ?, 'sent', ?, ?, ?, ?, ?, ?, 1, '250 Ok', ?)",
                (
                    (
                        last + number,
                        number,
                        slot,
                        f"<{day}.{number:020}@example.org>",
                        epoch,
                        epoch,
                        *columns,
                        epoch,
                    )
                    for number, columns in zip(range(1, readers + 1), packed, strict=False)
                ),
            )
    desk.storage.db.execute(
        "INSERT INTO counters (name, value) VALUES ('outbox', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (readers * days,),
    )


def packed_day(day: int) -> Iterator[tuple[str, str | None, int | None]]:
    """The papers of one day's digests, as they lie in the ledger: none that is in the catalogue."""
    packed = []
    for kind in range(97):
        topics = [f"topic number {kind + k}" for k in range(3)]
        chosen = tuple(
            DigestPaper(
                PaperId(1_000_000 + day * 300 + (kind + 7 * k) % 300),
                round(0.9 - 0.03 * k, 3),
                topics[k % 3],
                (Reason(ReasonKind.TERM, topics[k % 3]),),
            )
            for k in range(10)
        )
        papers, why, more = pack_digest(Digest(SubscriberId(1), NOW.date(), NOW, chosen, 12))
        packed.append((papers, None if timedelta(days=day) > FOLDED_AFTER else why, more))
    while True:
        yield from packed


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


def plot(tables: dict[str, Sequence[Figures]]) -> None:
    """Cost per digest, in units of the reference, over what grows."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "digestbot", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
    )
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(tables), figsize=(9, 2.8), sharey=True, layout="constrained")
    for axis, (name, rows) in zip(axes, tables.items(), strict=True):
        costs = [row["cpu_us"] / row["reference_us"] for row in rows]
        axis.loglog([row[name] for row in rows], costs, "o-", color="#8a1c1c")
        axis.set_xlabel({"readers": "readers", "papers": "candidate papers", "days": "days of history"}[name])
        axis.grid(visible=True, which="major", color="#dddddd")
    axes[0].set_ylabel("cost of a digest\n(hashings of 10 kB)")
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(*map(int, sys.argv[2:5]))))
    else:
        main()
