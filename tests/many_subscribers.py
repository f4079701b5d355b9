"""A database with any number of subscribers, few of them due: for query plans and benchmarks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from digestbot.storage import Storage
from digestbot.storage.sqlite import SqliteDatabase

NOW = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "UTC")
TOPIC = '[{"name":"%s","terms":["%s"],"exclude":[],"authors":[],"categories":[],"weight":1.0}]'


def make_storage(path: Path, *, subscribers: int, due: int) -> Storage:
    """`due` of them, spread over the table, are due in the hour before NOW; the others in the week after it."""
    storage = Storage(SqliteDatabase(path))
    storage.migrate()
    every, now = subscribers // due, int(NOW.timestamp())

    def row(number: int) -> tuple[int, str, str, str, str, int]:
        ahead = number % (7 * 86400) + 1
        at = now - number % 3600 if number % every == 0 else now + ahead
        email, topic = f"reader{number}@example.org", f"topic {number % 1000}"
        return number, email, email, ZONES[number % 4], TOPIC % (topic, topic), at

    with storage.transaction():
        storage.db.execute_many(
            "INSERT INTO subscribers (id, email, email_key, status, timezone, send_at, days, max_papers, min_score,"
            " trending_share, topics, created_at, next_due_at) VALUES"
            " (?, ?, ?, 'confirmed', ?, '08:00', 'mon,tue,wed,thu,fri', 10, 0, 0, ?, 0, ?)",
            map(row, range(1, subscribers + 1)),
        )
    return storage
