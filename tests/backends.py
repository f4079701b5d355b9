"""The database that a test runs on. Modules whose tests are part of the storage's contract run each on SQLite files and
on a real PostgreSQL: `pytestmark = pytest.mark.usefixtures("backend")`; all others run on SQLite.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from digestbot.storage import Storage
from digestbot.storage.database import Database
from digestbot.storage.migrations import migrate
from digestbot.storage.postgres import PostgresDatabase
from digestbot.storage.sqlite import SqliteDatabase
from tests.postgres_server import create_database, running_server


class SqliteBackend:
    def url(self, folder: Path) -> str:
        """As DIGESTBOT_DATABASE; the same for the same folder, within a test."""
        return f"sqlite:///{folder / 'digestbot.db'}"

    def open(self, folder: Path) -> Database:
        return SqliteDatabase(folder / "digestbot.db")

    def open_fresh(self) -> Database:
        """A database that nobody else knows, without a schema."""
        return SqliteDatabase(None)


class PostgresBackend:
    """Databases on a server that is started when the first test asks, emptied and used again after each test."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._server_url = ""
        self._of_folder: dict[Path, str] = {}
        self._used: list[str] = []
        self._idle: list[str] = []

    def url(self, folder: Path) -> str:
        return self._of_folder.setdefault(folder, self._of_folder.get(folder) or self._take())

    def open(self, folder: Path) -> Database:
        return PostgresDatabase(self.url(folder))

    def open_fresh(self) -> Database:
        return PostgresDatabase(self._take())

    def reset(self) -> None:
        for url in self._used:
            db = PostgresDatabase(url)
            tables = db.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            for name in sorted(str(row[0]) for row in tables):
                if name != "schema_version":
                    db.execute(f"DELETE FROM {name}")
            db.close()
        self._idle += self._used
        self._used, self._of_folder = [], {}

    def stop(self) -> None:
        self._stack.close()

    def _take(self) -> str:
        if not self._server_url:
            given = os.environ.get("DIGESTBOT_TEST_POSTGRES")
            self._server_url = given or self._stack.enter_context(running_server()).url
        if not self._idle:
            self._idle.append(create_database(self._server_url))
            db = PostgresDatabase(self._idle[-1])
            migrate(db)
            db.close()
        self._used.append(self._idle.pop())
        return self._used[-1]


SQLITE, POSTGRES = SqliteBackend(), PostgresBackend()
_current: list[SqliteBackend | PostgresBackend] = [SQLITE]


def use(backend: SqliteBackend | PostgresBackend) -> None:
    _current[0] = backend


def current() -> SqliteBackend | PostgresBackend:
    return _current[0]


def open_storage(folder: Path) -> Storage:
    """The storage of a test's folder; several at once share their state."""
    storage = Storage(current().open(folder))
    storage.migrate()
    return storage
