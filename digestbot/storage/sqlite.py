"""The embedded database: one file in WAL mode."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from digestbot.errors import StorageError
from digestbot.storage.database import Row, Value

BUSY_TIMEOUT_S = 60.0
# At most, of each connection; with 64 MiB a drop of 100,000 papers takes a seventh less time.
CACHE_KIB = 16 * 1024
_MEND = {  # primary result code -> what to do
    sqlite3.SQLITE_BUSY: "; another process has held it for a minute: stop that one, or try again",
    sqlite3.SQLITE_FULL: "; free some disk space, nothing is lost",
    sqlite3.SQLITE_IOERR: "; the disk is full or failing, or a file may grow no more: mend that, nothing is lost",
    sqlite3.SQLITE_CANTOPEN: "; see that it is a file, and it and its folder writable for this user",
    sqlite3.SQLITE_READONLY: "; make file and folder writable for this user",
    sqlite3.SQLITE_CORRUPT: "; restore a backup: `digestbot restore`",
    sqlite3.SQLITE_NOTADB: "; it is no SQLite database: move it away, or set DIGESTBOT_DATABASE",
}


def _mend(error: Exception) -> str:
    return _MEND.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "")


class _Undo(Exception):
    """Ends a rehearsal."""


class _Told:
    """Holds the connection for one statement; what the environment does to it (locked, full, damaged) is said in our
    words. A class, for a generator takes a microsecond more and there are six statements a mail."""

    def __init__(self, lock: threading.RLock, name: str) -> None:
        self._lock, self._name = lock, name

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error,
            sqlite3.IntegrityError | sqlite3.ProgrammingError,  # defects of ours
        ):
            raise StorageError(f"{self._name}: {error}{_mend(error)}") from error


class _Turnstile:
    """Lets forks of one process write one after the other, in the order of their coming, whichever of them dies. SQLite
    lets waiters sleep for a millisecond and more, though the other one is done after a tenth of that."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 for as long as the database is there

    def __enter__(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)


_OPEN: AbstractContextManager[None] = nullcontext()


def _make_private(path: Path) -> None:
    """Makes a file that nobody else can read: it will hold addresses. One that exists is never opened here.

    Closing it would drop all locks that this process has on it (POSIX), those of its other connections, too; the next
    process that closes the database would think itself the last one, and delete the WAL that is still written.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


class SqliteDatabase:
    """A `Database` on one SQLite file, or in memory (path None).

    guarded: a second connection, for reading only, is the last to close. It cannot checkpoint, so closing leaves the
    file as it is even where a killed process left a WAL behind.
    """

    dialect = "sqlite"

    def __init__(self, path: Path | None, *, guarded: bool = False) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._guard: sqlite3.Connection | None = None
        self._turnstile = _OPEN  # until there are forks
        self._told = _Told(self._lock, "the database in memory" if path is None else str(path))
        self._path = path
        self._connect()
        if guarded and path is not None:
            self._guard = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            self._guard.execute("SELECT count(*) FROM sqlite_master").fetchall()

    def _connect(self) -> None:
        path, target = self._path, ":memory:" if self._path is None else str(self._path)
        self._durable = True
        try:
            if path is not None:
                _make_private(path)
            connection = sqlite3.connect(
                target, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            self.execute("PRAGMA foreign_keys = on")
            if path is not None and self.row("PRAGMA journal_mode") != ("wal",):
                self.row("PRAGMA journal_mode = wal")
            self.execute("PRAGMA synchronous = full")
            self.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{target}: {error}{_mend(error)}") from error

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        with self._told:
            return int(self._connection.execute(sql, values).rowcount)

    def mark(self, sql: str, values: Sequence[Value] = ()) -> int:
        with self._lock:
            self._set_durable(False)
            with self._turn():
                return self.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with self._told:
            self._connection.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with self._told:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Value] = ()) -> Row | None:
        with self._told:
            found: list[Row] = self._connection.execute(sql, values).fetchall()
            return found[0] if found else None

    @contextmanager
    def transaction(self, *, durable: bool = True, alone: bool = True) -> Iterator[None]:
        with self._lock:
            self._set_durable(durable)
            with self._level("BEGIN IMMEDIATE"):
                yield

    def _set_durable(self, durable: bool) -> None:
        """What the next transaction is, if none is open."""
        if self._depth == 0 and durable != self._durable:
            self.execute(f"PRAGMA synchronous = {'full' if durable else 'normal'}")
            self._durable = durable

    def _turn(self) -> AbstractContextManager[None]:
        """To write; who is in a transaction has it."""
        return _OPEN if self._depth else self._turnstile

    @contextmanager
    def rehearsal(self, *, writing: bool) -> Iterator[None]:
        with self._lock, suppress(_Undo), self._level("BEGIN IMMEDIATE" if writing else "BEGIN"):
            yield
            raise _Undo

    @contextmanager
    def _level(self, begin: str) -> Iterator[None]:
        """One level of transactions: the outermost is a real one, those inside are savepoints."""
        name = f"level{self._depth}"
        with self._turn():
            self.execute(f"SAVEPOINT {name}" if self._depth else begin)
            self._depth += 1
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # an error such as a full disk may have ended it
                    self.execute(f"ROLLBACK TO {name}" if self._depth > 1 else "ROLLBACK")
                raise
            else:
                self.execute(f"RELEASE {name}" if self._depth > 1 else "COMMIT")
            finally:
                self._depth -= 1

    def has_table(self, name: str) -> bool:
        return self.row("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)) is not None

    def shape(self, table: str) -> tuple[list[str], list[str]]:
        import sqlite_utils  # with numpy, where that is there: a tenth of a second

        with self._told:
            found = sqlite_utils.Database(self._connection).table(table)
            return [column.name for column in found.columns], [] if found.use_rowid else list(found.pks)

    def skip_locked(self) -> str:
        return ""

    def search_papers(self, columns: str, words: Sequence[str], limit: int) -> list[Row]:
        """Through an FTS5 table that triggers keep (0002.sqlite.sql)."""
        wanted = " ".join('"' + word.replace('"', '""') + '"*' for word in words)
        return self.rows(
            f"SELECT {columns} FROM papers WHERE id IN (SELECT w.rowid FROM papers_words w"
            " JOIN papers p ON p.id = w.rowid WHERE papers_words MATCH ? AND p.first_seen IS NOT NULL"
            " ORDER BY w.rowid DESC LIMIT ?)",
            (wanted, limit),
        )

    def ddl(self, statement: str) -> str:
        return statement

    def suspend(self) -> None:
        """SQLite must not be carried over a fork: https://sqlite.org/howtocorrupt.html, 2.6."""
        with self._lock:
            assert self._depth == 0
            self._connection.close()
            if self._turnstile is _OPEN and self._path is not None:
                with suppress(OSError):  # they take longer without it, no more
                    self._turnstile = _Turnstile(self._path.parent)

    def resume(self) -> None:
        self._connect()

    def detach(self) -> None:
        """The copy is a temporary file that has no name and goes with its connection, whatever becomes of the process
        (https://sqlite.org/inmemorydb.html). It takes 2.5 ms a megabyte, and no more memory than the cache has."""
        self._told = _Told(self._lock, "a private copy of the database among the temporary files")
        with self._told:
            copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            copy.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._connection.backup(copy)
            self._connection.close()
            self._connection = copy

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            if self._guard is not None:
                self._guard.close()
