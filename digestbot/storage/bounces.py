"""Evidence against addresses in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from digestbot.model import SubscriberId
from digestbot.storage.database import Database, as_text, from_epoch, to_epoch


@dataclass(frozen=True, slots=True)
class BounceRecord:
    """Evidence against an address. `kind`: hard, soft, complaint, or refused (5xx that names no cause)."""

    subscriber_id: SubscriberId
    slot: date | None  # None: of a mail that was no digest
    at: datetime
    kind: str
    status: str | None  # enhanced status code, e.g. 5.1.1
    detail: str


class BounceStore:
    """Every method is atomic; within a caller's transaction it joins that."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def add(self, bounce: BounceRecord) -> bool:
        """Keeps the evidence; False: the same was known of the same mail already."""
        slot = None if bounce.slot is None else bounce.slot.isoformat()
        known = "slot = ?" if slot is not None else "slot IS NULL AND at = ?"
        with self.db.transaction():
            if self.db.row(
                f"SELECT 1 FROM bounces WHERE subscriber_id = ? AND class = ? AND {known}",
                (bounce.subscriber_id, bounce.kind, to_epoch(bounce.at) if slot is None else slot),
            ):
                return False
            self.db.execute(
                "INSERT INTO bounces (subscriber_id, slot, at, class, status, detail) VALUES (?, ?, ?, ?, ?, ?)",
                (bounce.subscriber_id, slot, to_epoch(bounce.at), bounce.kind, bounce.status, bounce.detail),
            )
        return True

    def was_acted_on(self, digest: str) -> bool:
        """Whether the mail of this SHA-256 was remembered."""
        return self.db.row("SELECT 1 FROM mails_acted_on WHERE digest = ?", (digest,)) is not None

    def remember_mail(self, digest: str, at: datetime) -> None:
        self.db.execute(
            "INSERT INTO mails_acted_on (digest, at) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
            (digest, to_epoch(at)),
        )

    def of_subscriber(self, subscriber_id: SubscriberId, since: datetime | None = None) -> list[BounceRecord]:
        """The evidence against a subscriber's address, oldest first."""
        rows = self.db.rows(
            "SELECT slot, at, class, status, detail FROM bounces WHERE subscriber_id = ? AND at >= ? ORDER BY at",
            (subscriber_id, 0 if since is None else to_epoch(since)),
        )
        return [
            BounceRecord(
                subscriber_id,
                None if slot is None else date.fromisoformat(as_text(slot)),
                from_epoch(at),
                as_text(kind),
                None if status is None else as_text(status),
                as_text(detail),
            )
            for slot, at, kind, status, detail in rows
        ]

    def slot_before(self, subscriber_id: SubscriberId, slot: date) -> date | None:
        """The last slot before this one whose digest met a mail server."""
        row = self.db.row(
            "SELECT MAX(slot) FROM outbox WHERE subscriber_id = ? AND slot < ?"
            " AND state IN ('sent', 'bounced', 'failed')",
            (subscriber_id, slot.isoformat()),
        )
        return None if row is None or row[0] is None else date.fromisoformat(as_text(row[0]))
