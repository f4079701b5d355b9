"""The suppression list: addresses never to be mailed, those of deleted people as salted hashes."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from datetime import datetime

from digestbot.storage.database import Database, from_epoch, in_blocks, placeholders, to_epoch
from digestbot.storage.subscribers import email_key

HASHED = "hash:"  # begins what stands for a deleted address
_SALT = "salt of deleted addresses"


class SuppressionStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def among(self, emails: Collection[str]) -> set[str]:
        """Those of the addresses, by email_key(), that are on the suppression list."""
        keys = {email_key(email): email_key(email) for email in emails}
        salt = self._salt()
        keys |= {_hashed(salt, key): key for key in list(keys)} if salt else {}
        found: set[str] = set()
        for block in in_blocks(list(keys)):
            sql = f"SELECT email_key FROM suppressions WHERE email_key IN ({placeholders(len(block))})"
            found.update(keys[str(row[0])] for row in self._db.rows(sql, block))
        return found

    def add_forgotten(self, email: str, *, at: datetime) -> None:
        """Puts an address on the list as a salted hash, for somebody of whom nothing else is to be kept."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (_SALT, secrets.token_hex(16)),
            )
            self._db.execute(
                "INSERT INTO suppressions (email_key, reason, at) VALUES (?, 'deleted', ?)"
                " ON CONFLICT (email_key) DO NOTHING",
                (_hashed(self._salt(), email_key(email)), to_epoch(at)),
            )

    def _salt(self) -> str:
        """'' as long as nobody was forgotten."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (_SALT,))
        return str(row[0]) if row else ""

    def add(self, email: str, *, reason: str, at: datetime) -> bool:
        """Puts an address on the list and marks its subscriber; False if it was there already."""
        with self._db.transaction():
            added = self._db.execute(
                "INSERT INTO suppressions (email_key, reason, at) VALUES (?, ?, ?) ON CONFLICT (email_key) DO NOTHING",
                (email_key(email), reason, to_epoch(at)),
            )
            self._db.execute(
                "UPDATE subscribers SET status = 'suppressed', next_due_at = NULL WHERE email_key = ?",
                (email_key(email),),
            )
        return added > 0

    def remove(self, email: str) -> bool:
        """Takes an address off the list; its subscriber is `unsubscribed` then and may confirm anew."""
        with self._db.transaction():
            keys = (email_key(email), _hashed(self._salt(), email_key(email)))
            removed = self._db.execute("DELETE FROM suppressions WHERE email_key IN (?, ?)", keys)
            changed = self._db.execute(
                "UPDATE subscribers SET status = 'unsubscribed' WHERE email_key = ? AND status = 'suppressed'",
                (email_key(email),),
            )
        return removed + changed > 0

    def all(self) -> list[tuple[str, str, datetime]]:
        """(address, reason, since when), by address."""
        rows = self._db.rows("SELECT email_key, reason, at FROM suppressions ORDER BY email_key")
        return [(str(key), str(reason), from_epoch(at)) for key, reason, at in rows]


def _hashed(salt: str, key: str) -> str:
    return HASHED + hmac.digest(salt.encode(), key.encode(), "sha256").hex()
