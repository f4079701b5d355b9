"""Brings a database to the current schema: `NNNN.sql`, each in a transaction of its own, forward only.

They are written in SQLite's words, which `Database.ddl` says in PostgreSQL's. What has no counterpart there is written
twice: `NNNN.sqlite.sql` and `NNNN.postgres.sql`.
"""

from __future__ import annotations

import re
import sqlite3
from importlib import resources

from digestbot.errors import StorageError
from digestbot.storage.database import Database


def steps(dialect: str) -> list[tuple[int, str]]:
    """(version, SQL script) of a dialect, in order."""
    found = []
    for file in resources.files(__package__).iterdir():
        match = re.fullmatch(rf"(\d{{4}})(\.{dialect})?\.sql", file.name)
        if match:
            found.append((int(match[1]), file.read_text(encoding="utf-8")))
    return sorted(found)


def schema_version(db: Database) -> int:
    """The version a database is at; 0: empty."""
    if not db.has_table("schema_version"):
        return 0
    row = db.row("SELECT max(version) FROM schema_version")
    return int(row[0] or 0) if row else 0


def migrate(db: Database) -> list[int]:
    """Runs what is missing and returns its versions. Raises StorageError for a schema newer than this program."""
    known = steps(db.dialect)
    at = schema_version(db)
    if at > known[-1][0]:
        raise StorageError(
            f"the database has schema {at}, this digestbot knows up to {known[-1][0]}: install a newer digestbot"
        )
    done = []
    for version, script in known:
        if version > at:
            _run(db, version, script)
            done.append(version)
    return done


def _run(db: Database, version: int, script: str) -> None:
    with db.transaction():
        if schema_version(db) >= version:  # another process was faster
            return
        for statement in _statements(script):
            db.execute(db.ddl(statement))
        if version == 1:
            db.execute(db.ddl("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)"))
        db.execute("INSERT INTO schema_version (version) VALUES (?)", (version,))


def _statements(script: str) -> list[str]:
    """The statements of a script, without comments (which may hold semicolons); a trigger holds some of its own."""
    found, begun = [], ""
    for part in re.sub(r"--[^\n]*", "", script).split(";")[:-1]:
        begun += part + ";"
        if sqlite3.complete_statement(begun):
            found.append(begun.strip())
            begun = ""
    return found
