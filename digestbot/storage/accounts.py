"""What a person may have done with their own account: mails asked for, a change of address under way, deletion."""

from __future__ import annotations

import json
from datetime import datetime

from digestbot.model import SubscriberId
from digestbot.storage.database import Database, from_epoch, to_epoch


class AccountStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def times(self, subscriber_id: SubscriberId, how: str, *, since: datetime) -> list[datetime]:
        """When something stands among the consents of a subscriber, from `since` on, oldest first."""
        rows = self._db.rows(
            "SELECT at FROM consents WHERE subscriber_id = ? AND how = ? AND at >= ? ORDER BY at",
            (subscriber_id, how, to_epoch(since)),
        )
        return [from_epoch(row[0]) for row in rows]

    def unanswered(self, how: str, *, before: datetime) -> list[SubscriberId]:
        """The unconfirmed with `how` among their consents, the last time before `before`."""
        rows = self._db.rows(
            "SELECT s.id FROM subscribers s JOIN consents c ON c.subscriber_id = s.id AND c.how = ?"
            " WHERE s.status = 'unconfirmed' GROUP BY s.id HAVING max(c.at) < ?",
            (how, to_epoch(before)),
        )
        return [SubscriberId(int(row[0] or 0)) for row in rows]

    def note_asked(
        self, subscriber_id: SubscriberId, at: datetime, asked: object, *, since: datetime
    ) -> None:
        """Remembers what (anything JSON has) the confirmation mail of this instant asks; forgets mails before `since`."""
        known = {
            then: old for then, old in self._asked(subscriber_id).items() if int(then) >= to_epoch(since)
        }
        self._db.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (_asked_fact(subscriber_id), json.dumps({**known, str(to_epoch(at)): asked})),
        )

    def find_asked(self, subscriber_id: SubscriberId, at: datetime) -> object:
        """What note_asked() was told of this instant; None: nothing."""
        return self._asked(subscriber_id).get(str(to_epoch(at)))

    def _asked(self, subscriber_id: SubscriberId) -> dict[str, object]:
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (_asked_fact(subscriber_id),))
        found: dict[str, object] = json.loads(str(row[0])) if row else {}
        return found

    def forget_asked(self, subscriber_id: SubscriberId) -> None:
        self._db.execute("DELETE FROM facts WHERE name = ?", (_asked_fact(subscriber_id),))

    def begin_address_change(self, subscriber_id: SubscriberId, email: str, at: datetime) -> None:
        """Remembers the address that is to confirm itself; one asked for before is forgotten."""
        self._db.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (_fact(subscriber_id), json.dumps([email, to_epoch(at)])),
        )

    def find_address_change(self, subscriber_id: SubscriberId, at: datetime) -> str | None:
        """The address of the change asked for at this instant; None: there is none, or a later one."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (_fact(subscriber_id),))
        email, asked = json.loads(str(row[0])) if row else ("", None)
        return str(email) if asked == to_epoch(at) else None

    def end_address_change(self, subscriber_id: SubscriberId) -> None:
        self._db.execute("DELETE FROM facts WHERE name = ?", (_fact(subscriber_id),))

    def forget_ledger(self, subscriber_id: SubscriberId) -> None:
        """Deletes the slots and mails of somebody who is deleted; what is being sent is lost track of."""
        with self._db.transaction():
            self._db.execute("DELETE FROM slots WHERE subscriber_id = ?", (subscriber_id,))
            for kind in ("slot IS NOT NULL", "slot IS NULL"):  # an index each
                self._db.execute(f"DELETE FROM outbox WHERE subscriber_id = ? AND {kind}", (subscriber_id,))


def facts_of(subscriber_id: SubscriberId) -> tuple[str, str]:
    """The names under which facts of a person stand."""
    return _fact(subscriber_id), _asked_fact(subscriber_id)


def _fact(subscriber_id: SubscriberId) -> str:
    return f"new address of {subscriber_id}"


def _asked_fact(subscriber_id: SubscriberId) -> str:
    return f"asked of {subscriber_id}"
