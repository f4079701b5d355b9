"""What the pages read: papers by day, week and month, by words; a reader's digests. Never writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC as _UTC
from datetime import date, datetime, time

from digestbot.model import COUNTS_AS_SENT, Digest, Paper, Subscriber, SubscriberId
from digestbot.storage.database import Database, Row, Value, from_epoch, placeholders, to_epoch
from digestbot.storage.packing import unpack_digest
from digestbot.storage.records import PAPER_COLUMNS, read_paper
from digestbot.storage.subscriber_rows import SUBSCRIBER_COLUMNS, read_rows

MOST_WORDS = 8  # of a search
_SHOWN = "first_seen IS NOT NULL AND mailable = 1"  # what a drop of a day brought


class BrowseStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def mark(self) -> tuple[Value, ...]:
        """Something that differs after every drop that was read or withdrawn."""
        row = self._db.row(
            "SELECT COUNT(*), MAX(id), SUM(CASE WHEN state = 'done' THEN 1 ELSE 0 END), SUM(updated + new) FROM drops"
        )
        return tuple(row or ())

    def between(self, first: date, after: date) -> list[Paper]:
        """Papers first seen on the days (UTC) from `first` to before `after`, the newest first."""
        return self._papers(
            f"{_SHOWN} AND first_seen >= ? AND first_seen < ? ORDER BY first_seen DESC, id",
            (_midnight(first), _midnight(after)),
        )

    def newest(self, count: int) -> list[Paper]:
        return self._papers(f"{_SHOWN} ORDER BY first_seen DESC, id LIMIT ?", (count,))

    def day_before(self, day: date) -> date | None:
        """The last day before `day` that has papers."""
        return self._day("MAX(first_seen)", "first_seen < ?", _midnight(day))

    def day_from(self, day: date) -> date | None:
        """The first day from `day` on that has papers."""
        return self._day("MIN(first_seen)", "first_seen >= ?", _midnight(day))

    def search(self, text: str, *, count: int) -> list[Paper]:
        """The last papers, those of a backfill too, with words that begin with each of the text's; newest first.

        Looks into title, abstract, authors and ids.
        """
        words = text.split()[:MOST_WORDS]
        found = (
            [read_paper(row) for row in self._db.search_papers(PAPER_COLUMNS, words, count)] if words else []
        )
        return sorted(found, key=_seen_last)

    def digests(self, subscriber_id: SubscriberId, *, count: int) -> list[Digest]:
        """The last digests that count as sent, the newest first."""
        rows = self._db.rows(
            "SELECT slot, composed_at, papers, why, more FROM outbox WHERE subscriber_id = ? AND slot IS NOT NULL"
            f" AND state IN ({placeholders(len(COUNTS_AS_SENT))}) ORDER BY slot DESC LIMIT ?",
            (subscriber_id, *COUNTS_AS_SENT, count),
        )
        return [
            unpack_digest(
                subscriber_id, date.fromisoformat(str(slot)), composed_at, papers=papers, why=why, more=more
            )
            for slot, composed_at, papers, why, more in rows
        ]

    def subscribers(self, text: str, *, after: int, count: int) -> list[Subscriber]:
        """Subscribers whose address contains `text`, by id, those with an id greater than `after`."""
        rows = self._db.rows(
            f"SELECT {SUBSCRIBER_COLUMNS} FROM subscribers WHERE id > ? AND email_key LIKE ? ESCAPE '!'"
            " ORDER BY id LIMIT ?",
            (after, _containing(text.casefold()), count),
        )
        return read_rows(rows)[0]  # one that is damaged hides no others

    def _papers(self, condition: str, values: Sequence[Value]) -> list[Paper]:
        rows = self._db.rows(f"SELECT {PAPER_COLUMNS} FROM papers WHERE {condition}", values)
        return [read_paper(row) for row in rows]

    def _day(self, edge: str, condition: str, value: Value) -> date | None:
        row: Row | None = self._db.row(f"SELECT {edge} FROM papers WHERE {_SHOWN} AND {condition}", (value,))
        return from_epoch(row[0]).date() if row and row[0] is not None else None


def _seen_last(paper: Paper) -> tuple[float, int]:
    return (-paper.first_seen.timestamp() if paper.first_seen else 0.0, paper.id)


def _midnight(day: date) -> int:
    return to_epoch(datetime.combine(day, time(), _UTC))


def _containing(word: str) -> str:
    for special in "!%_":
        word = word.replace(special, "!" + special)
    return f"%{word}%"
