"""The short form of tests/torture/test_soak.py: what must hold after each day, and that breaking it is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import OUTAGE_EVERY, Soak


def test_three_busy_days(tmp_path: Path) -> None:
    soak = Soak(tmp_path, subscribers=50)
    days = list(soak.live(3))
    assert sum(day.mails for day in days) > 100
    assert soak.gone
    assert OUTAGE_EVERY > 3


def test_a_ledger_that_forgets_is_seen(tmp_path: Path) -> None:
    """Somebody takes the marks of what was sent away: papers come twice, and the check says so."""
    soak = Soak(tmp_path, subscribers=20)
    days = soak.live(3)
    next(days)
    with soak._desk() as desk:
        desk.storage.db.execute("UPDATE outbox SET state = 'cancelled' WHERE kind = 'digest'")
    with pytest.raises(AssertionError, match=r"paper twice|cancelled"):
        list(days)
