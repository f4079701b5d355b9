"""The ledger on its way to another machine: what `export --full` reads, and `import` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from digestbot.model import COUNTS_AS_SENT, PaperId, SubscriberId
from digestbot.storage.database import Database, placeholders, take_ids, to_epoch
from digestbot.storage.packing import pack_ids, unpack_ids

SlotsOf = dict[SubscriberId, dict[date, str]]
SentTo = dict[SubscriberId, dict[date, list[PaperId]]]


class TransferStore:
    """Methods take at most a block of 1,000 subscribers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def outcomes(self, ids: Sequence[SubscriberId]) -> SlotsOf:
        """How every slot of each of them ended."""
        found: SlotsOf = {}
        sql = f"SELECT subscriber_id, slot, outcome FROM slots WHERE subscriber_id IN ({placeholders(len(ids))})"
        for subscriber_id, slot, outcome in self._db.rows(sql, ids):
            assert isinstance(subscriber_id, int)
            found.setdefault(SubscriberId(subscriber_id), {})[date.fromisoformat(str(slot))] = str(outcome)
        return found

    def sent(self, ids: Sequence[SubscriberId]) -> SentTo:
        """What counts as sent to each of them, by slot."""
        found: SentTo = {}
        rows = self._db.rows(
            f"SELECT subscriber_id, slot, papers FROM outbox WHERE subscriber_id IN ({placeholders(len(ids))})"
            f" AND slot IS NOT NULL AND state IN ({placeholders(len(COUNTS_AS_SENT))})",
            (*ids, *COUNTS_AS_SENT),
        )
        for subscriber_id, slot, papers in rows:
            assert isinstance(subscriber_id, int)
            of_slots = found.setdefault(SubscriberId(subscriber_id), {})
            of_slots[date.fromisoformat(str(slot))] = unpack_ids(papers)
        return found

    def adopt(
        self,
        subscriber_id: SubscriberId,
        outcomes: Mapping[date, str],
        sent: Mapping[date, Sequence[PaperId]],
        now: datetime,
    ) -> None:
        """Records slots that ended elsewhere, and what was sent in them; a slot known here stays as it is."""
        with self._db.transaction():
            known = set(self.outcomes([subscriber_id]).get(subscriber_id, {}))
            self._db.execute_many(
                "INSERT INTO slots (subscriber_id, slot, outcome, at) VALUES (?, ?, ?, ?)",
                [
                    (subscriber_id, slot.isoformat(), outcome, to_epoch(now))
                    for slot, outcome in outcomes.items()
                    if slot not in known
                ],
            )
            new = [slot for slot in sorted(sent) if slot not in known]
            at = to_epoch(now)
            self._db.execute_many(
                "INSERT INTO outbox (id, kind, subscriber_id, slot, state, message_id, composed_at, due_at, papers,"
                " finished_at, reply) VALUES (?, 'digest', ?, ?, 'sent', '', ?, ?, ?, ?, 'imported')",
                [
                    (
                        entry,
                        subscriber_id,
                        slot.isoformat(),
                        at,
                        at,
                        pack_ids(sent[slot]),
                        at,
                    )
                    for entry, slot in zip(take_ids(self._db, "outbox", len(new)), new, strict=True)
                ],
            )
