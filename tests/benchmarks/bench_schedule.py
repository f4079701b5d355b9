"""What a tick asks of a million subscribers of whom a thousand are due.

python -m tests.benchmarks.bench_schedule
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from digestbot.storage import Storage
from digestbot.storage.subscribers import DUE
from digestbot.subscriptions import settle_due
from tests.many_subscribers import NOW, make_storage

SUBSCRIBERS, DUE_NOW = 1_000_000, 1000
AT = int(NOW.timestamp())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = make_storage(Path(folder) / "digestbot.db", subscribers=SUBSCRIBERS, due=DUE_NOW)
        print(
            f"{SUBSCRIBERS:,} subscribers in SQLite, {DUE_NOW:,} due; milliseconds of CPU, the best of ten:"
        )
        measure(storage)
        storage.close()


def measure(storage: Storage) -> None:
    plan = storage.db.rows("EXPLAIN QUERY PLAN " + DUE, (AT, 1000, 0))
    print(f"  the query: {_ms(lambda: storage.db.rows(DUE, (AT, 1000, 0))):.1f} ({plan[0][3]!s})")
    print(f"  with the thousand subscribers read: {_ms(lambda: storage.subscribers.due(NOW)):.1f}")
    due = storage.subscribers.due(NOW)
    limit = timedelta(hours=12)
    print(f"  settling their slots: {_ms(lambda: settle_due(storage, due, NOW, max_lateness=limit)):.1f}")
    before = NOW - timedelta(hours=2)
    print(f"  where nobody is due: {_ms(lambda: storage.subscribers.due(before)):.2f}")


def _ms(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(10):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best * 1e3


if __name__ == "__main__":
    main()
