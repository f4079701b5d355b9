"""What the stores ask of a database: portable SQL with `?` placeholders, transactions, and rehearsals.

The stores (papers.py, subscribers.py, outbox.py, ...) hold the SQL once for both dialects; sqlite.py and postgres.py hold
what differs: opening, locking, durability.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeVar

Value = str | int | float | bytes | None
Row = tuple[Value, ...]
T = TypeVar("T")

BLOCK = 1000  # rows or ids in one statement


class Database(Protocol):
    """Safe to use from several threads: what a thread does in a transaction is apart from what others do."""

    dialect: str  # sqlite or postgres: which migrations it takes

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Runs one statement; returns the number of rows it changed."""

    def mark(self, sql: str, values: Sequence[Value] = ()) -> int:
        """As execute(), in a transaction(durable=False) of its own where none is open; there are two a mail."""

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Runs one statement for each of the rows."""

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query (or of a statement with RETURNING)."""

    def row(self, sql: str, values: Sequence[Value] = ()) -> Row | None:
        """The first row, None if there is none."""

    def transaction(self, *, durable: bool = True, alone: bool = True) -> AbstractContextManager[None]:
        """A transaction that may read and then write; nested calls join the outer one.

        Commits at the end, rolls back on an exception. With durable=False the commit survives the death of this
        process but perhaps not a power cut (SQLite in WAL mode without fsync: 17 us instead of 136 us). No two
        transactions that are `alone` run at once, so what was read in one is true until its end. Those that are not
        (durable=False never is) hold only the rows they change: for statements that say themselves on what they
        depend. SQLite has one writer at a time in any case.
        """

    def rehearsal(self, *, writing: bool) -> AbstractContextManager[None]:
        """All that is done inside, transactions included, is rolled back at the end; readers outside see none of it.

        writing: something will be written. Others that are `alone` wait: on SQLite from the beginning, where it is not
        detached; on PostgreSQL from the first transaction inside that is.
        """

    def has_table(self, name: str) -> bool: ...

    def shape(self, table: str) -> tuple[list[str], list[str]]:
        """The columns of a table that statements fill, and those of its primary key."""

    def skip_locked(self) -> str:
        """What a claiming SELECT ends in, so that two claimers do not wait for each other ('' where not needed)."""

    def search_papers(self, columns: str, words: Sequence[str], limit: int) -> list[Row]:
        """The last `limit` papers, by id, that were in a drop and have words that begin with each of `words`.

        Looks into title, abstract, authors, arXiv id and DOI, without case; a word with signs in it (`10.1234/x`) is a
        phrase. Takes a fraction of a scan's time (at 100,000 papers 10 ms instead of 350), whatever the words.
        """

    def ddl(self, statement: str) -> str:
        """A CREATE or ALTER statement, written for SQLite, in this database's words."""

    def suspend(self) -> None:
        """Gives up the connection, so that this process can be forked; no transaction may be open."""

    def resume(self) -> None:
        """Connects again after suspend(), in this process or in a fork of it."""

    def detach(self) -> None:
        """Goes on in a private copy as it is now, where that can be had: nothing done from now on is ever seen, and
        nobody waits for it."""

    def close(self) -> None: ...


def take_ids(db: Database, name: str, count: int) -> range:
    """Takes the next `count` ids of a kind; ids are never used twice, and a rolled back transaction gives them back.

    Must run in the transaction that uses them. Starts at 1.
    """
    db.execute("INSERT INTO counters (name, value) VALUES (?, 0) ON CONFLICT (name) DO NOTHING", (name,))
    row = db.row("UPDATE counters SET value = value + ? WHERE name = ? RETURNING value", (count, name))
    assert row is not None
    last = int(row[0] or 0)
    return range(last - count + 1, last + 1)


def placeholders(count: int) -> str:
    """`?, ?, ?` for an IN list; for an empty one NULL, which nothing equals (PostgreSQL knows no empty list)."""
    return ", ".join("?" * count) or "NULL"


def in_blocks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in order, at most BLOCK at a time: what one statement takes."""
    return (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))


def as_int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def as_text(value: Value) -> str:
    assert isinstance(value, str)
    return value


def to_epoch(at: datetime) -> int:
    """Whole seconds since 1970 (UTC), as every `..._at` column holds them."""
    return int(at.timestamp())


def from_epoch(value: Value) -> datetime:
    assert isinstance(value, int)
    return datetime.fromtimestamp(value, UTC)
