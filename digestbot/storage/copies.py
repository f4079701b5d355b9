"""Whole copies of the embedded database: taken while it is in use, and looked at before they are trusted."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from digestbot.errors import StorageError
from digestbot.storage.database import Database
from digestbot.storage.migrations import schema_version, steps
from digestbot.storage.sqlite import BUSY_TIMEOUT_S

TABLES = ("schema_version", "papers", "subscribers", "slots", "outbox", "facts")


def copy_database(source: Path, target: Path, *, at_rest: bool = False) -> None:
    """Writes all of a database, as it is at one instant, to a file that is new or empty, and on to the disk.

    Others may write to `source` meanwhile. at_rest: nobody does; it is checked first, and nothing appears beside it.
    Raises StorageError.
    """
    options = "mode=ro&immutable=1" if at_rest and not _wal(source).exists() else "mode=ro"
    try:
        with closing(
            sqlite3.connect(
                f"{source.absolute().as_uri()}?{options}",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
            )
        ) as connection:
            if at_rest and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise StorageError(f"{source}: is damaged")
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StorageError(f"{source}: cannot be copied: {error}") from error
    for path in (target, target.parent):  # SQLite does not wait for the disk here
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_flaw(db: Database) -> str | None:
    """Why a database cannot be used by this digestbot; None: it can."""
    if not all(db.has_table(name) for name in TABLES):
        return "is no database of digestbot's"
    version, known = schema_version(db), steps(db.dialect)[-1][0]
    if version > known:
        return f"has schema {version}, this digestbot knows up to {known}: install a newer digestbot"
    return None


def damage(db: Database) -> str | None:
    """What SQLite's quick check finds first; None: all is well."""
    row = db.row("PRAGMA quick_check(1)")
    return None if row is None or row[0] == "ok" else f"is damaged: {row[0]!s}"


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
