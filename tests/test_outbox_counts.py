"""Mails are counted by state from indexes, for the ledger of years is too long to be read every minute."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from digestbot.model import EntryState
from digestbot.storage.entries import COUNTS
from digestbot.storage.sqlite import SqliteDatabase
from tests.backends import SQLITE, open_storage
from tests.deliveries import queue_digests


@pytest.mark.usefixtures("backend")
def test_every_entry_is_counted_once_whatever_its_state(tmp_path: Path) -> None:
    kinds = [(state, None if state is not EntryState.SENDING else "somebody") for state in EntryState]
    kinds.append((EntryState.IN_DOUBT, "somebody"))
    with closing(open_storage(tmp_path)) as storage:
        queue_digests(storage, [f"reader{n}@example.org" for n, _ in enumerate(kinds)])
        ids = storage.db.rows("SELECT id FROM outbox ORDER BY id")
        for (entry,), (state, owner) in zip(ids, kinds, strict=True):
            storage.db.execute(
                "UPDATE outbox SET state = ?, owner = ? WHERE id = ?", (state.value, owner, entry)
            )
        assert storage.entries.counts() == {
            state: 2 if state is EntryState.IN_DOUBT else 1 for state in EntryState
        }


def test_only_indexes_are_read(tmp_path: Path) -> None:
    with closing(SQLITE.open(tmp_path)) as db:
        assert isinstance(db, SqliteDatabase)
        open_storage(tmp_path).close()
        plan = [str(row[3]) for row in db.rows("EXPLAIN QUERY PLAN " + COUNTS)]
    looks = [step for step in plan if "outbox" in step]
    assert len(looks) == 5
    assert all(" INDEX outbox_" in step for step in looks), plan
