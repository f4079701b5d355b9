"""How fast and how much may be sent, over all workers and restarts: the state of both limits is in the database."""

from __future__ import annotations

from datetime import datetime, timedelta

from digestbot.model import SubscriberId
from digestbot.storage.database import Database, to_epoch

DAY = timedelta(hours=24)
PUT_OFF = "put off by the daily limit"  # outbox.reply of entries that had to wait for it
OWED_FOR = timedelta(hours=48)  # how long somebody put off comes before others
MOST_AHEAD = 1000  # messages; a queue longer than this is a clock that was set back


class LimitStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def reserve_time(self, rate: float, *, real_now: float) -> float:
        """Takes the next free moment for one message at `rate` messages a second; returns the seconds until then.

        real_now: seconds since 1970; a rate is kept on real time, whatever --now says.
        """
        step, now = round(1_000_000 / rate), round(real_now * 1_000_000)
        with self._db.transaction(durable=False):
            row = self._db.row(
                "INSERT INTO facts (name, value) VALUES ('smtp_next_free_us', ?) ON CONFLICT (name) DO UPDATE SET value ="
                " CAST(CASE WHEN CAST(facts.value AS BIGINT) BETWEEN ? AND ? THEN CAST(facts.value AS BIGINT) ELSE ? END"
                " + ? AS TEXT) RETURNING value",
                (str(now + step), now, now + MOST_AHEAD * step, now, step),
            )
        assert row is not None
        return (int(str(row[0])) - step - now) / 1_000_000

    def reserve_message(self, limit: int, now: datetime) -> bool:
        """Counts one message at `now`; False, and nothing counted, if any 24 h around it would hold more than `limit`."""
        with self._db.transaction(durable=False):
            self._db.execute(  # one at a time, where several transactions can run at once
                "INSERT INTO facts (name, value) VALUES ('smtp_daily_gate', '')"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            )
            if self.used(now) >= limit:
                return False
            self._db.execute(
                "INSERT INTO handovers (at, count) VALUES (?, 1)"
                " ON CONFLICT (at) DO UPDATE SET count = handovers.count + 1",
                (to_epoch(now),),
            )
            return True

    def return_message(self, now: datetime) -> None:
        """Uncounts a message reserved at `now` that the server did not take."""
        with self._db.transaction(durable=False):
            self._db.execute(
                "UPDATE handovers SET count = count - 1 WHERE at = ? AND count > 0", (to_epoch(now),)
            )

    def used(self, now: datetime) -> int:
        """Messages within 24 h of `now`, later ones included: --now may have been ahead."""
        row = self._db.row(
            "SELECT COALESCE(SUM(count), 0) FROM handovers WHERE at > ? AND at < ?",
            (to_epoch(now - DAY), to_epoch(now + DAY)),
        )
        return int(str(row[0])) if row else 0

    def forget_handovers(self, before: datetime) -> None:
        """Housekeeping."""
        with self._db.transaction(durable=False):
            self._db.execute("DELETE FROM handovers WHERE at < ?", (to_epoch(before - 2 * DAY),))

    def mark_put_off(self, now: datetime) -> int:
        """Marks the digests that wait only because of the daily limit; returns how many."""
        with self._db.transaction():
            return self._db.execute(
                "UPDATE outbox SET reply = ? WHERE state IN ('queued', 'deferred', 'in_doubt') AND owner IS NULL"
                " AND kind = 'digest' AND attempts = 0 AND due_at <= ?",
                (PUT_OFF, to_epoch(now)),
            )

    def owed(self, now: datetime) -> set[SubscriberId]:
        """Who was put off until it was too late, has got nothing since, and is due within 24 h or waiting."""
        rows = self._db.rows(
            "SELECT DISTINCT o.subscriber_id FROM outbox o JOIN subscribers s ON s.id = o.subscriber_id"
            " WHERE o.state = 'cancelled' AND o.reply = ? AND o.finished_at > ? AND s.status = 'confirmed'"
            " AND (s.next_due_at < ? OR EXISTS (SELECT 1 FROM outbox w WHERE w.subscriber_id = s.id AND w.slot > o.slot"
            " AND w.state IN ('queued', 'sending', 'deferred')))"
            " AND NOT EXISTS"
            " (SELECT 1 FROM outbox l WHERE l.subscriber_id = s.id AND l.slot > o.slot AND l.state = 'sent')",
            (PUT_OFF, to_epoch(now - OWED_FOR), to_epoch(now + DAY)),
        )
        return {SubscriberId(int(str(row[0]))) for row in rows}
