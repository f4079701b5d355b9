"""Outbox entries as they come out of the database, and what the operator does with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import islice

from digestbot.model import FINAL_STATES, EntryId, EntryKind, EntryState, OutboxEntry, SubscriberId
from digestbot.storage.database import (
    BLOCK,
    Database,
    Row,
    as_int,
    as_text,
    from_epoch,
    placeholders,
    to_epoch,
)
from digestbot.storage.packing import unpack_digest

SELECT_ENTRY = """SELECT o.id, o.kind, o.state, s.email, o.subscriber_id, o.slot, o.message_id, o.composed_at, o.papers,
    o.why, o.more, o.payload, o.due_at, o.attempts, o.next_attempt_at, o.reply, s.name
    FROM outbox o LEFT JOIN subscribers s ON s.id = o.subscriber_id"""

# An unowned entry in one of these states is tried again once its next attempt is due.
WAITING = "state IN ('queued', 'deferred', 'in_doubt') AND owner IS NULL"
# An entry waits, is claimed, ended badly or was sent: the rest of all. Each part in the words of its index, for the table
# of a million mails has 600 MB; there is none of what was sent, which would cost every mail a write.
COUNTS = " UNION ALL ".join(
    [
        *(
            f"SELECT state, COUNT(*) FROM outbox WHERE {part} GROUP BY state"
            for part in (WAITING, "owner IS NOT NULL", "state IN ('bounced', 'failed', 'cancelled', 'held')")
        ),
        "SELECT NULL, COUNT(*) FROM outbox WHERE slot IS NOT NULL",
        "SELECT NULL, COUNT(*) FROM outbox WHERE slot IS NULL",
    ]
)


def read_entry(row: Row) -> OutboxEntry:
    (
        entry_id,
        kind,
        state,
        email,
        subscriber,
        slot,
        message_id,
        composed,
        papers,
        why,
        more,
        payload,
        due,
        attempts,
        again,
        reply,
        name,
    ) = row
    subscriber_id = None if subscriber is None else SubscriberId(as_int(subscriber))
    values: dict[str, str] = {} if payload is None else json.loads(as_text(payload))
    digest = None
    if papers is not None and subscriber_id is not None:
        digest = unpack_digest(
            subscriber_id, date.fromisoformat(as_text(slot)), composed, papers=papers, why=why, more=more
        )
    return OutboxEntry(
        id=EntryId(as_int(entry_id)),
        kind=EntryKind(as_text(kind)),
        state=EntryState(as_text(state)),
        recipient=values.get("to") or ("" if email is None else as_text(email)),
        subscriber_id=subscriber_id,
        message_id=as_text(message_id),
        composed_at=from_epoch(composed),
        digest=digest,
        payload=values,
        due_at=from_epoch(due),
        attempts=as_int(attempts),
        next_attempt_at=None if again is None else from_epoch(again),
        last_reply=None if reply is None else as_text(reply),
        recipient_name=str(name or ""),
    )


class EntryStore:
    """The outbox as the operator sees it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def counts(self) -> dict[EntryState, int]:
        """All entries by state."""
        found, sent = Counter[str](), 0
        for state, count in self._db.rows(COUNTS):
            if state is None:
                sent += as_int(count)
            else:
                found[as_text(state)] += as_int(count)
                sent -= as_int(count)
        found[EntryState.SENT] = sent
        return {state: found[state] for state in EntryState}

    def list_entries(self, states: Iterable[EntryState] = (), *, limit: int = 1000) -> list[OutboxEntry]:
        """The first `limit` of `each_entry`."""
        return list(islice(self.each_entry(states), limit))

    def each_entry(self, states: Iterable[EntryState] = ()) -> Iterator[OutboxEntry]:
        """The entries in these states (none: all that are not final), oldest due first; read in blocks."""
        wanted = tuple(states) or tuple(state for state in EntryState if state not in FINAL_STATES)
        last = (-(2**62), 0)
        while rows := self._db.rows(
            f"{SELECT_ENTRY} WHERE o.state IN ({placeholders(len(wanted))}) AND (o.due_at, o.id) > (?, ?)"
            f" ORDER BY o.due_at, o.id LIMIT {BLOCK}",
            (*wanted, *last),
        ):
            for entry in map(read_entry, rows):
                last = to_epoch(entry.due_at), entry.id
                yield entry

    def release(self, entry_id: EntryId) -> bool:
        """Sends a held entry again in the next pass, whatever time it is; False: it is not held."""
        with self._db.transaction():
            return bool(
                self._db.execute(
                    "UPDATE outbox SET state = 'queued', next_attempt_at = NULL WHERE id = ? AND state = 'held'",
                    (entry_id,),
                )
            )

    def drop(self, entry_id: EntryId, now: datetime) -> bool:
        """Ends an entry that no pass holds as cancelled; False: it has ended or is being sent."""
        with self._db.transaction():
            return bool(
                self._db.execute(
                    "UPDATE outbox SET state = 'cancelled', finished_at = ?, reply = 'dropped by the operator'"
                    f" WHERE id = ? AND (state = 'held' OR {WAITING})",
                    (to_epoch(now), entry_id),
                )
            )

    def hold_unfinished(self, reply: str) -> int:
        """Holds all that has not ended for the operator, whoever had it; returns how many that are."""
        unfinished = [state for state in EntryState if state not in (*FINAL_STATES, EntryState.HELD)]
        with self._db.transaction():
            return self._db.execute(
                "UPDATE outbox SET state = 'held', owner = NULL, lease_until = NULL, reply = ?"
                f" WHERE state IN ({placeholders(len(unfinished))})",
                (reply, *unfinished),
            )

    def last_recorded_at(self) -> datetime | None:
        """The newest instant that the ledger speaks of; None: it is empty."""
        row = self._db.row(
            "SELECT MAX(at) FROM (SELECT MAX(composed_at) AS at FROM outbox UNION ALL"
            " SELECT MAX(finished_at) FROM outbox UNION ALL SELECT MAX(at) FROM slots) AS newest"
        )
        return None if row is None or row[0] is None else from_epoch(row[0])
