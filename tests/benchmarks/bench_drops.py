"""What becomes of real files, per format, and how fast papers get into the catalogue.

Run: python -m tests.benchmarks.bench_drops [PAPERS]
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import median

from digestbot.drops.reading import read_drop
from digestbot.errors import DropError
from digestbot.ingest import ingest_file
from digestbot.model import Rejection
from digestbot.storage.migrations import migrate
from digestbot.storage.papers import PaperStore
from digestbot.storage.sqlite import SqliteDatabase
from tests.shared import SHARED

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
FOLDERS = ("drops", "corpora/arxiv", "corpora/bibtex", "corpora/ris", "corpora/feeds")


@dataclass
class Row:
    files: int = 0
    papers: int = 0
    slowest_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, items: list[object], seconds: float) -> None:
        self.files += 1
        self.slowest_s = max(self.slowest_s, seconds)
        for item in items:
            if isinstance(item, Rejection):
                self.reasons[item.reason.split(":")[0]] += 1
            else:
                self.papers += 1


def read_files() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for folder in FOLDERS:
        for path in sorted((SHARED / folder).glob("*")):
            began = time.perf_counter()
            form, items = _read(path)
            rows.setdefault(form, Row()).add(items, time.perf_counter() - began)
    return rows


def _read(path: Path) -> tuple[str, list[object]]:
    try:
        reading = read_drop(path, received=NOW.date())
        return reading.format, list(reading)
    except DropError as error:
        return "(none)", [Rejection(str(error))]


def print_files() -> None:
    print(f"{'format':12} {'files':>5} {'entries':>7} {'papers':>6} {'rejected':>8} {'slowest':>8}  reasons")
    for form, row in sorted(read_files().items()):
        rejected = row.reasons.total()
        reasons = ", ".join(f"{count} {reason}" for reason, count in row.reasons.most_common())
        print(
            f"{form:12} {row.files:5} {row.papers + rejected:7} {row.papers:6} {rejected:8}"
            f" {row.slowest_s:6.2f} s  {reasons}"
        )


def lines(count: int, start: int = 0) -> Iterator[str]:
    """Invented papers of the usual size (1.6 KB) as JSON Lines, their words as unevenly frequent as real ones."""
    dice = random.Random(start)
    letters = "abcdefghijklmnoprstuvw"
    words = ["".join(dice.choices(letters, k=dice.randint(3, 10))) for _ in range(5000)]
    zipf = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    for number in range(start, start + count):
        yield (
            json.dumps(
                {
                    "title": " ".join(dice.choices(words, cum_weights=zipf, k=9)),
                    "abstract": " ".join(dice.choices(words, cum_weights=zipf, k=180)),
                    "authors": [" ".join(dice.choices(words, k=2)) for _ in range(4)],
                    "published": "2026-01-02",
                    "categories": ["cs.LG"],
                    "arxiv_id": f"{2001 + number // 100_000:04}.{number % 100_000:05}",
                    "upvotes": dice.randint(0, 9),
                }
            )
            + "\n"
        )


def open_store(folder: Path) -> PaperStore:
    folder.mkdir(exist_ok=True)
    db = SqliteDatabase(folder / "bench.db")
    migrate(db)
    return PaperStore(db)


def print_speed(folder: Path, count: int) -> None:
    papers = open_store(folder)
    path = folder / "many.jsonl"
    with path.open("w") as file:
        file.writelines(lines(count))
    for what in ("new", "known"):
        began, before = time.perf_counter(), os.times()
        report = ingest_file(papers, path, now=NOW)
        seconds, after = time.perf_counter() - began, os.times()
        size_mb = path.stat().st_size / 1e6
        here = sum(after[:2]) - sum(before[:2])
        reader = sum(after[2:4]) - sum(before[2:4])
        print(
            f"{report.new + report.known} {what} papers ({size_mb:.0f} MB): {count / seconds:,.0f}/s;"
            f" {here / count * 1e6:.0f} us of CPU each, {reader / count * 1e6:.0f} more in the reader;"
            f" at most {_peak_mb(resource.RUSAGE_SELF):.0f} and {_peak_mb(resource.RUSAGE_CHILDREN):.0f} MB of memory;"
            f" reference {reference_us():.1f} us"
        )


def _peak_mb(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def reference_us() -> float:
    """Microseconds of CPU for hashing 10 KB, to compare machines and moments by."""
    data, began = b"x" * 10_000, time.process_time()
    for _ in range(2000):
        hashlib.sha256(data).digest()
    return (time.process_time() - began) / 2000 * 1e6


def print_many_drops(folder: Path, count: int) -> None:
    """Drops of ten papers each, half of them seen the day before, and, in turn with each, the same one on a catalogue
    that is new: the reference."""
    grown = open_store(folder)
    path = folder / "drop.jsonl"
    pool = list(lines(5 * count + 5))
    for number in range(0, count, 100):
        young = open_store(folder / "young") if number in (0, count // 2, count - 100) else None
        stores = [grown, young] if young else [grown]
        costs: dict[PaperStore, list[float]] = {papers: [] for papers in stores}
        for start in range(5 * number, 5 * number + 500, 5):
            path.write_text("".join(pool[start : start + 10]))
            for papers in stores if start % 2 else stores[::-1]:
                began = time.process_time()
                ingest_file(papers, path, now=NOW)
                costs[papers].append(time.process_time() - began)
        if young:
            here, there = (median(some) * 1000 for some in costs.values())
            print(
                f"drops {number + 1} to {number + 100}: {here:.2f} ms of CPU (median), on a young catalogue {there:.2f}"
            )
            shutil.rmtree(folder / "young")


def main() -> None:
    if SHARED.exists():
        print_files()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for part, size in ((print_speed, count), (print_many_drops, count // 10)):
        with tempfile.TemporaryDirectory() as name:
            part(Path(name), size)


if __name__ == "__main__":
    main()
