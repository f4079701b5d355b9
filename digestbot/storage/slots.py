"""How slots ended, for those who plan the next ones. outbox.py writes these rows together with the digests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from digestbot.model import Cause, SlotOutcome, SlotRecord, SubscriberId
from digestbot.storage.database import Database, Row, Value, from_epoch, in_blocks, placeholders


class SlotStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def recorded(self, ids: Sequence[SubscriberId], since: date) -> dict[SubscriberId, set[date]]:
        """The slots from `since` on that have ended, of each of the subscribers who has any."""
        found: dict[SubscriberId, set[date]] = {}
        for block in in_blocks(ids):
            rows = self._db.rows(
                f"SELECT subscriber_id, slot FROM slots WHERE subscriber_id IN ({placeholders(len(block))})"
                " AND slot >= ?",
                (*block, since.isoformat()),
            )
            for subscriber_id, slot in rows:
                assert isinstance(subscriber_id, int)
                found.setdefault(SubscriberId(subscriber_id), set()).add(date.fromisoformat(str(slot)))
        return found

    def skipped(self, subscriber_id: SubscriberId, *, since: date) -> list[date]:
        """The slots from `since` on that a skip ended, oldest first."""
        rows = self._db.rows(
            "SELECT slot FROM slots WHERE subscriber_id = ? AND slot >= ? AND outcome = ? ORDER BY slot",
            (subscriber_id, since.isoformat(), SlotOutcome.SKIPPED),
        )
        return [date.fromisoformat(str(slot)) for (slot,) in rows]

    def take_back_skip(self, subscriber_id: SubscriberId, slot: date) -> None:
        """Opens a skipped slot again; any other end of a slot stays, for ever."""
        self._db.execute(
            "DELETE FROM slots WHERE subscriber_id = ? AND slot = ? AND outcome = ?",
            (subscriber_id, slot.isoformat(), SlotOutcome.SKIPPED),
        )

    def find_reply(self, subscriber_id: SubscriberId, slot: date) -> tuple[str, datetime | None]:
        """What is noted of a digest's mail: the server's last words, or why it waits, '' for nothing; and its end."""
        row = self._db.row(
            "SELECT reply, finished_at FROM outbox WHERE subscriber_id = ? AND slot = ?",
            (subscriber_id, slot.isoformat()),
        )
        reply, ended = row or (None, None)
        return str(reply or ""), None if ended is None else from_epoch(ended)

    def records(self, subscriber_id: SubscriberId) -> list[SlotRecord]:
        """How all slots of one subscriber ended, oldest first."""
        rows = self._db.rows(f"{_SELECT} WHERE subscriber_id = ? ORDER BY slot", (subscriber_id,))
        return [_record(row) for row in rows]

    def records_since(self, ids: Sequence[SubscriberId], since: date) -> dict[SubscriberId, list[SlotRecord]]:
        """How the slots from `since` on ended, of each of the subscribers who has any."""
        found: dict[SubscriberId, list[SlotRecord]] = {}
        for block in in_blocks(ids):
            sql = f"{_SELECT} WHERE subscriber_id IN ({placeholders(len(block))}) AND slot >= ?"
            for row in self._db.rows(sql, (*block, since.isoformat())):
                record = _record(row)
                found.setdefault(record.subscriber_id, []).append(record)
        return found


_SELECT = "SELECT subscriber_id, slot, outcome, at, cause, best_score FROM slots"


def _record(row: Row) -> SlotRecord:
    subscriber_id, slot, outcome, at, cause, best = row
    assert isinstance(subscriber_id, int)
    return SlotRecord(
        SubscriberId(subscriber_id),
        date.fromisoformat(str(slot)),
        SlotOutcome(str(outcome)),
        from_epoch(at),
        None if cause is None else Cause(str(cause)),
        _score(best),
    )


def _score(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None
