"""30 simulated days with 5,000 subscribers in one process: nothing grows, and all holds after each day."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import Day, Soak, held_blocks

pytestmark = pytest.mark.torture

WARM = 15  # days: from then on as many papers leave the window of 14 days as come
MORE_MB = 16  # what bounded caches still take: SQLite's pages, words, titles
MORE_BLOCKS = 0.02  # of those that Python holds: a bit of a reader's or a paper's that is kept for ever shows


def test_30_days_with_5000_subscribers(tmp_path: Path) -> None:
    soak = Soak(tmp_path, subscribers=5000)
    days: list[Day] = []
    blocks: list[int] = []
    for day in soak.live(30):
        days.append(day)
        blocks += [held_blocks()] if day.number in (WARM, 29) else []
        print(
            f"day {day.number:2}: {day.mails:6,} mails, {dict(day.outcomes)}, {day.rss_mb:.0f} MB,"
            f" {day.handles} handles, {day.threads} threads, {day.cpu_s:.0f} s CPU",
            flush=True,
        )
    print(
        f"{sum(day.mails for day in days):,} mails, {soak.postbox.copies} of them twice, {len(soak.gone)} people gone,"
        f" {blocks} blocks of memory held"
    )
    assert blocks[1] < blocks[0] * (1 + MORE_BLOCKS), blocks
    assert max(day.rss_mb for day in days[WARM:]) < days[WARM].rss_mb * 1.1 + MORE_MB
    assert max(day.handles for day in days) <= days[0].handles + 4
    assert max(day.threads for day in days) <= days[0].threads + 4
