"""Subscribers, their consents and votes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from digestbot.model import Opinion, PaperId, Status, Subscriber, SubscriberId, Vote
from digestbot.storage.accounts import facts_of
from digestbot.storage.database import (
    BLOCK,
    Database,
    Value,
    as_int,
    from_epoch,
    in_blocks,
    placeholders,
    take_ids,
    to_epoch,
)
from digestbot.storage.subscriber_rows import SUBSCRIBER_COLUMNS, read_rows, read_subscriber, row_of

# The index holds only those who wait for a slot, so both say so in its words.
DUE = (
    f"SELECT {SUBSCRIBER_COLUMNS} FROM subscribers WHERE status = 'confirmed' AND next_due_at IS NOT NULL"
    " AND next_due_at <= ? ORDER BY next_due_at, id LIMIT ? OFFSET ?"
)
# All of them, which SQLite counts without looking at each, and those who are not confirmed, in the words of their index:
# the confirmed are the rest, and nearly all.
_OTHERS = ", ".join(f"'{status}'" for status in Status if status is not Status.CONFIRMED)
BY_STATUS = (
    "SELECT 'all', (SELECT count(*) FROM subscribers) UNION ALL SELECT lower(status), count(*) FROM subscribers"
    f" WHERE lower(status) IN ({_OTHERS}) GROUP BY lower(status)"
)
# In the order of their index: by id SQLite would look at everybody, in each pass.
PLANNED_AFTER = (
    "SELECT id FROM subscribers WHERE status = 'confirmed' AND next_due_at IS NOT NULL AND next_due_at > ?"
    " ORDER BY next_due_at, id"
)
NEXT_DUE = "SELECT min(next_due_at) FROM subscribers WHERE status = 'confirmed' AND next_due_at IS NOT NULL"


def email_key(email: str) -> str:
    """What two addresses share when they are one: the address without case."""
    return email.casefold()


class SubscriberStore:
    """Every method that takes many subscribers does so with a fixed number of statements per block of 1,000."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # ---- reading ------------------------------------------------------------------------------------------------

    def find(self, email: str) -> Subscriber | None:
        return self.find_many([email]).get(email_key(email))

    def find_many(self, emails: Collection[str]) -> dict[str, Subscriber]:
        """Known subscribers among the addresses, by email_key()."""
        return {email_key(s.email): s for s in self._where("email_key", [email_key(e) for e in emails])}

    def get_many(self, ids: Collection[SubscriberId]) -> dict[SubscriberId, Subscriber]:
        """Those of the ids that exist."""
        return {s.id: s for s in self._where("id", list(ids))}

    def everybody(self, status: Status | None = None) -> Iterator[Subscriber]:
        """All subscribers in the order of their ids, read in blocks."""
        last = 0
        clause, values = ("AND status = ?", (status.value,)) if status else ("", ())
        while rows := self._db.rows(
            f"SELECT {SUBSCRIBER_COLUMNS} FROM subscribers WHERE id > ? {clause} ORDER BY id LIMIT {BLOCK}",
            (last, *values),
        ):
            found = [read_subscriber(row) for row in rows]
            yield from found
            last = found[-1].id

    def due(self, now: datetime, limit: int = BLOCK) -> list[Subscriber]:
        """Confirmed subscribers whose next slot is due at `now`, the longest due first; reads only these rows.

        Those whose rows are damaged keep nobody from a digest: see unreadable().
        """
        start, found = 0, list[Subscriber]()
        while not found and (rows := self._db.rows(DUE, (to_epoch(now), limit, start))):
            found, _ = read_rows(rows)
            start += limit
        return found

    def unreadable(self, now: datetime) -> dict[SubscriberId, str]:
        """Whose rows are damaged among the thousand who are due longest, and how: those stay due."""
        return read_rows(self._db.rows(DUE, (to_epoch(now), BLOCK, 0)))[1]

    def due_among(self, now: datetime, ids: tuple[int, int]) -> list[Subscriber]:
        """Those of the ids from the first to the second."""
        rows = self._db.rows(
            f"SELECT {SUBSCRIBER_COLUMNS} FROM subscribers WHERE status = 'confirmed' AND next_due_at IS NOT NULL"
            " AND next_due_at <= ? AND id BETWEEN ? AND ? ORDER BY id",
            (to_epoch(now), *ids),
        )
        return read_rows(rows)[0]

    def due_ranges(self, now: datetime, size: int, most: int) -> list[tuple[int, int]]:
        """Ranges of ids with `size` due subscribers each, `most` of them at most."""
        rows = self._db.rows(
            "SELECT MIN(id), MAX(id) FROM (SELECT id, (ROW_NUMBER() OVER (ORDER BY id) - 1) / ? AS part"
            " FROM subscribers WHERE status = 'confirmed' AND next_due_at IS NOT NULL AND next_due_at <= ?) AS due"
            " GROUP BY part ORDER BY part LIMIT ?",
            (size, to_epoch(now), most),
        )
        return [(as_int(first), as_int(last)) for first, last in rows]

    def next_due_at(self) -> datetime | None:
        row = self._db.row(NEXT_DUE)
        return from_epoch(row[0]) if row and row[0] is not None else None

    def zones(self) -> dict[str, int]:
        """How many confirmed subscribers each time zone has; looks at everybody."""
        sql = "SELECT timezone, COUNT(*) FROM subscribers WHERE status = 'confirmed' GROUP BY timezone"
        return {str(name): as_int(count) for name, count in self._db.rows(f"{sql} ORDER BY timezone")}

    def planned_after(self, at: datetime) -> list[SubscriberId]:
        """Confirmed subscribers whose next slot is due later than that."""
        return [SubscriberId(as_int(row[0])) for row in self._db.rows(PLANNED_AFTER, (to_epoch(at),))]

    def count_by_status(self) -> dict[Status, int]:
        found = {str(status): as_int(count) for status, count in self._db.rows(BY_STATUS)}
        everybody = found.pop("all")
        found[Status.CONFIRMED] = everybody - sum(found.values())
        return {status: found.get(status, 0) for status in Status}

    # ---- writing ------------------------------------------------------------------------------------------------

    def add(self, subscribers: Sequence[Subscriber], *, now: datetime) -> list[Subscriber]:
        """Adds subscribers (their `id`s are ignored) and returns them with the ids they got."""
        with self._db.transaction():
            ids = take_ids(self._db, "subscribers", len(subscribers))
            self._db.execute_many(
                f"INSERT INTO subscribers ({SUBSCRIBER_COLUMNS}, email_key, created_at) VALUES ({placeholders(17)})",
                (
                    (new, *row_of(s), email_key(s.email), to_epoch(now))
                    for new, s in zip(ids, subscribers, strict=True)
                ),
            )
            found = self.get_many([SubscriberId(i) for i in ids])
        return [found[SubscriberId(i)] for i in ids]

    def update(self, subscribers: Sequence[Subscriber]) -> None:
        """Stores all fields of known subscribers."""
        names = SUBSCRIBER_COLUMNS.split(", ")[1:]
        assignments = ", ".join(f"{name.strip()} = ?" for name in names)
        with self._db.transaction():
            self._db.execute_many(
                f"UPDATE subscribers SET {assignments}, email_key = ? WHERE id = ?",
                ((*row_of(s), email_key(s.email), s.id) for s in subscribers),
            )

    def set_next_due(self, due: Mapping[SubscriberId, datetime | None]) -> None:
        self._db.execute_many(
            "UPDATE subscribers SET next_due_at = ? WHERE id = ?",
            ((_epoch(at), subscriber_id) for subscriber_id, at in due.items()),
        )

    def advance(self, due: Mapping[SubscriberId, tuple[datetime | None, datetime | None]]) -> None:
        """Sets next_due_at from (as it was read) to (new); whoever changed their schedule meanwhile keeps that change."""
        self._db.execute_many(
            "UPDATE subscribers SET next_due_at = ? WHERE id = ? AND next_due_at = ?",
            ((_epoch(new), subscriber_id, _epoch(old)) for subscriber_id, (old, new) in due.items()),
        )

    def set_status(self, subscriber_id: SubscriberId, status: Status) -> None:
        self._db.execute("UPDATE subscribers SET status = ? WHERE id = ?", (status.value, subscriber_id))

    def remove(self, subscriber_id: SubscriberId) -> None:
        """Forgets a person, but for slots and outbox rows, which hold no address; the id is never used again."""
        with self._db.transaction():
            for table in ("consents", "votes", "bounces"):
                self._db.execute(f"DELETE FROM {table} WHERE subscriber_id = ?", (subscriber_id,))
            self._db.execute("DELETE FROM facts WHERE name IN (?, ?)", facts_of(subscriber_id))
            self._db.execute("DELETE FROM subscribers WHERE id = ?", (subscriber_id,))

    # ---- consents and votes ---------------------------------------------------------------------------------------

    def record_consents(self, ids: Collection[SubscriberId], *, at: datetime, how: str, detail: str) -> None:
        self._db.execute_many(
            "INSERT INTO consents (subscriber_id, at, how, detail) VALUES (?, ?, ?, ?)",
            ((subscriber_id, to_epoch(at), how, detail) for subscriber_id in ids),
        )

    def consents(self, subscriber_id: SubscriberId) -> list[tuple[datetime, str, str]]:
        """(when, how, detail), oldest first."""
        rows = self._db.rows(
            "SELECT at, how, detail FROM consents WHERE subscriber_id = ? ORDER BY at", (subscriber_id,)
        )
        return [(from_epoch(at), str(how), str(detail)) for at, how, detail in rows]

    def votes(self, ids: Collection[SubscriberId]) -> dict[SubscriberId, tuple[Vote, ...]]:
        """What each of the subscribers said, oldest first; those who said nothing are left out."""
        said: dict[SubscriberId, list[Vote]] = {}
        for block in in_blocks(list(ids)):
            rows = self._db.rows(
                "SELECT v.subscriber_id, coalesce(m.paper_id, v.paper_id), v.opinion, v.at FROM votes v"
                " LEFT JOIN merges m ON m.old_id = v.paper_id"
                f" WHERE v.subscriber_id IN ({placeholders(len(block))}) ORDER BY v.at, v.paper_id",
                block,
            )
            for subscriber_id, paper_id, opinion, at in rows:
                vote = Vote(PaperId(as_int(paper_id)), Opinion(str(opinion)), from_epoch(at))
                said.setdefault(SubscriberId(as_int(subscriber_id)), []).append(vote)
        return {subscriber_id: tuple(votes) for subscriber_id, votes in said.items()}

    def vote(self, subscriber_id: SubscriberId, votes: Sequence[Vote]) -> None:
        """Stores opinions; *more* and *less* of one paper replace each other, the rest stands beside them."""
        opposite = {Opinion.MORE: Opinion.LESS, Opinion.LESS: Opinion.MORE}
        with self._db.transaction():
            for vote in votes:
                if vote.opinion in opposite:
                    self.unvote(subscriber_id, vote.paper_id, opposite[vote.opinion])
            self._db.execute_many(
                "INSERT INTO votes (subscriber_id, paper_id, opinion, at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (subscriber_id, paper_id, opinion) DO NOTHING",
                ((subscriber_id, v.paper_id, v.opinion.value, to_epoch(v.at)) for v in votes),
            )

    def unvote(self, subscriber_id: SubscriberId, paper_id: PaperId, opinion: Opinion) -> None:
        """Takes an opinion back; also where it was given under the id of a paper merged into this one."""
        self._db.execute(
            "DELETE FROM votes WHERE subscriber_id = ? AND opinion = ?"
            " AND (paper_id = ? OR paper_id IN (SELECT old_id FROM merges WHERE paper_id = ?))",
            (subscriber_id, opinion.value, paper_id, paper_id),
        )

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _where(self, column: str, values: Sequence[Value]) -> Iterator[Subscriber]:
        for block in in_blocks(values):
            sql = (
                f"SELECT {SUBSCRIBER_COLUMNS} FROM subscribers WHERE {column} IN ({placeholders(len(block))})"
            )
            yield from map(read_subscriber, self._db.rows(sql, block))


def _epoch(at: datetime | None) -> int | None:
    return None if at is None else to_epoch(at)
