"""What a forecast counts from: mails that wait, messages handed over lately, and whose last digest is how old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from digestbot.model import EntryKind, SubscriberId
from digestbot.storage.database import Database, as_int, placeholders, to_epoch


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """An entry that has not ended and is not held. Times are seconds since 1970."""

    kind: EntryKind
    subscriber_id: SubscriberId | None  # None: to the operator
    recipient: str  # '': the subscriber is gone
    due_at: int
    next_attempt_at: int | None  # None: at once
    attempts: int


class QueueStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def waiting(self) -> list[WaitingMail]:
        """Oldest due first."""
        rows = self._db.rows(
            "SELECT o.kind, o.subscriber_id, coalesce(s.email, ''), o.due_at, o.next_attempt_at, o.attempts"
            " FROM outbox o LEFT JOIN subscribers s ON s.id = o.subscriber_id"
            " WHERE o.state IN ('queued', 'sending', 'deferred', 'in_doubt') ORDER BY o.due_at, o.id"
        )
        return [
            WaitingMail(
                EntryKind(str(kind)),
                None if subscriber is None else SubscriberId(as_int(subscriber)),
                str(email),
                as_int(due),
                None if again is None else as_int(again),
                as_int(attempts),
            )
            for kind, subscriber, email, due, again, attempts in rows
        ]

    def handovers(self, now: datetime) -> list[tuple[int, int]]:
        """(second since 1970, messages) of the 24 h before `now`, oldest first."""
        rows = self._db.rows(
            "SELECT at, count FROM handovers WHERE at > ? AND at <= ? AND count > 0 ORDER BY at",
            (to_epoch(now - timedelta(hours=24)), to_epoch(now)),
        )
        return [(as_int(at), as_int(count)) for at, count in rows]

    def last_sent(self, ids: Sequence[SubscriberId]) -> dict[SubscriberId, str]:
        """The last slot, as text, of which each of a block of subscribers got a digest; without those who got none."""
        rows = self._db.rows(
            f"SELECT subscriber_id, max(slot) FROM outbox WHERE subscriber_id IN ({placeholders(len(ids))})"
            " AND slot IS NOT NULL AND state = 'sent' GROUP BY subscriber_id",
            ids,
        )
        return {SubscriberId(as_int(subscriber)): str(slot) for subscriber, slot in rows}
