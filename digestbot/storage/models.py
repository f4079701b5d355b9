"""What ranking learned, kept between runs: fitted models, and vectors of papers by model."""

from __future__ import annotations

from datetime import datetime

from digestbot.storage.database import Database, to_epoch


class ModelStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, name: str) -> bytes | None:
        """A fitted model as its dump() wrote it."""
        row = self._db.row("SELECT data FROM models WHERE name = ?", (name,))
        return bytes(row[0]) if row and isinstance(row[0], bytes) else None

    def store(self, name: str, data: bytes, now: datetime) -> None:
        self._db.execute(
            "INSERT INTO models (name, fitted_at, data) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET fitted_at = excluded.fitted_at, data = excluded.data",
            (name, to_epoch(now), data),
        )

    def forget_all(self) -> None:
        """Fitted models are fitted anew in the next run."""
        self._db.execute("DELETE FROM models")
