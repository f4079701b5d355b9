"""Who was, or would be, sent certain papers: what taking back a bad drop asks of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime

from digestbot.model import Digest, EntryId, EntryState, PaperId, SlotOutcome, SlotRecord, SubscriberId
from digestbot.storage.database import BLOCK, Database, placeholders, to_epoch
from digestbot.storage.packing import pack_digest, unpack_ids

WAITING = (EntryState.QUEUED, EntryState.DEFERRED)
GONE_OUT = (EntryState.SENT, EntryState.IN_DOUBT, EntryState.HELD)


class RecallStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def digests_with(
        self, papers: Collection[PaperId], states: Collection[EntryState], since: date
    ) -> Iterator[tuple[EntryId, SubscriberId, date]]:
        """Digests in these states, of slots from `since` on, that name one of the papers; read in blocks."""
        last = 0
        while rows := self._db.rows(
            f"SELECT id, subscriber_id, slot, papers FROM outbox WHERE id > ? AND slot >= ?"
            f" AND state IN ({placeholders(len(states))}) ORDER BY id LIMIT {BLOCK}",
            (last, since.isoformat(), *states),
        ):
            for entry_id, subscriber_id, slot, named in rows:
                assert isinstance(entry_id, int)
                assert isinstance(subscriber_id, int)
                last = entry_id
                if not set(papers).isdisjoint(unpack_ids(named)):
                    yield EntryId(entry_id), SubscriberId(subscriber_id), date.fromisoformat(str(slot))

    def recompose(self, entry_id: EntryId, digest: Digest) -> None:
        """Puts other papers into a digest that nobody has got; its Message-ID stays."""
        self._db.execute(
            "UPDATE outbox SET papers = ?, why = ?, more = ?, composed_at = ?"
            " WHERE id = ? AND state IN ('queued', 'deferred')",
            (*pack_digest(digest), to_epoch(digest.composed_at), entry_id),
        )

    def cancel_claimed(self, entry_id: EntryId, now: datetime) -> None:
        """Takes a digest from the pass that claimed it and has not begun to send it; too late for any other."""
        self._db.execute(
            "UPDATE outbox SET state = 'cancelled', owner = NULL, lease_until = NULL, finished_at = ?,"
            " reply = 'its papers were withdrawn' WHERE id = ? AND state = 'sending'",
            (to_epoch(now), entry_id),
        )

    def empty(self, entry_id: EntryId, record: SlotRecord) -> None:
        """Ends a digest for which no paper is left: its slot is empty after all."""
        assert record.outcome is SlotOutcome.EMPTY
        at = to_epoch(record.at)
        with self._db.transaction():
            self._db.execute(
                "UPDATE outbox SET state = 'cancelled', finished_at = ?, reply = 'its papers were withdrawn'"
                " WHERE id = ? AND state IN ('queued', 'deferred')",
                (at, entry_id),
            )
            self._db.execute(
                "UPDATE slots SET outcome = 'empty', at = ?, cause = ?, best_score = ?"
                " WHERE subscriber_id = ? AND slot = ?",
                (at, record.cause, record.best_score, record.subscriber_id, record.slot.isoformat()),
            )
