"""A whole state from one database to another: table by table, in the order of their keys, verified row by row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

from digestbot.errors import StorageError, UsageError
from digestbot.storage.database import Database, Row, placeholders
from digestbot.storage.migrations import schema_version, steps

BATCH = 2000  # rows in one transaction: what is copied again after a kill
UNDER_WAY = "move under way"  # fact of a target that does not hold everything yet

Progress = Callable[[str, int], None]


def move(source: Database, target: Database, progress: Progress | None = None) -> dict[str, int]:
    """Copies everything, and compares it; returns the rows by table.

    Both have the current schema, and nobody else uses either. A move that was broken off goes on where it was. Raises
    UsageError where the target holds something else, StorageError where the copies differ.
    """
    if schema_version(source) != schema_version(target):
        raise UsageError("the two databases have different schemas: run `digestbot migrate` on both first")
    _begin(target)
    counts: dict[str, int] = {}
    for table in _tables(source):
        _copy(source, target, table)
        counts[table], there = _digest(source, table)
        if (counts[table], there) != _digest(target, table):
            raise StorageError(
                f"{table}: the copy differs; was one of the databases in use? Empty the target, try again"
            )
        if progress is not None:
            progress(table, counts[table])
    target.execute("DELETE FROM facts WHERE name = ?", (UNDER_WAY,))
    return counts


def _begin(target: Database) -> None:
    with target.transaction():
        if target.row("SELECT 1 FROM facts WHERE name = ?", (UNDER_WAY,)):
            return
        for table in _tables(target):
            if target.row(f"SELECT 1 FROM {table} LIMIT 1"):
                raise UsageError(f"the target is in use: its table {table} is not empty; name a new database")
        target.execute("INSERT INTO facts (name, value) VALUES (?, '')", (UNDER_WAY,))


def _tables(db: Database) -> list[str]:
    scripts = "".join(script for _, script in steps(db.dialect))
    return re.findall(r"CREATE TABLE (\w+)", scripts)


def _copy(source: Database, target: Database, table: str) -> None:
    names, keys = source.shape(table)
    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({placeholders(len(names))})"
    if not keys:  # not even an order to go on in: anew, as a whole
        with target.transaction():
            target.execute(f"DELETE FROM {table}")
            target.execute_many(insert, source.rows(f"SELECT {', '.join(names)} FROM {table}"))
        return
    last = target.row(
        f"SELECT {', '.join(keys)} FROM {table} WHERE {keys[0]} IS NOT NULL {_but_ours(table)}"
        f" ORDER BY {', '.join(f'{key} DESC' for key in keys)} LIMIT 1"
    )
    for rows in _batches(source, table, last):
        with target.transaction():
            target.execute_many(insert, rows)


def _batches(db: Database, table: str, after: Row | None = None) -> Iterator[list[Row]]:
    """All rows in the order of the key, from behind the key `after`."""
    names, keys = db.shape(table)
    columns, order = ", ".join(names), ", ".join(keys)
    places = [names.index(key) for key in keys]
    while True:
        behind = f"AND ({order}) > ({placeholders(len(keys))})" if after else ""
        rows = db.rows(
            f"SELECT {columns} FROM {table} WHERE {keys[0]} IS NOT NULL {_but_ours(table)} {behind}"
            f" ORDER BY {order} LIMIT {BATCH}",
            after or (),
        )
        if not rows:
            return
        yield rows
        after = tuple(rows[-1][place] for place in places)


def _but_ours(table: str) -> str:
    return f"AND name <> '{UNDER_WAY}'" if table == "facts" else ""


def _digest(db: Database, table: str) -> tuple[int, str]:
    """How many rows there are, and a hash of them all."""
    names, keys = db.shape(table)
    count, digest = 0, hashlib.blake2b(digest_size=16)
    if keys:
        for rows in _batches(db, table):
            count += len(rows)
            digest.update("\n".join(map(_said, rows)).encode("utf-8", "surrogatepass") + b"\n")
    else:
        lines = sorted(map(_said, db.rows(f"SELECT {', '.join(names)} FROM {table}")))
        count = len(lines)
        digest.update("\n".join(lines).encode("utf-8", "surrogatepass"))
    return count, digest.hexdigest()


def _said(row: Row) -> str:
    """A row as text, the same from both: PostgreSQL cannot hold NUL."""
    return repr(
        [
            value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
            for value in row
        ]
    )
